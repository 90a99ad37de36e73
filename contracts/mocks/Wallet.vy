# pragma version 0.4.3
"""
@title Contract account for tests
@license Apache-2.0
@notice Signs by ERC-1271 for one key; refuses money when told so; calls back into a contract when it is paid.
"""

key: public(address)
refuses: public(bool)
target: public(address)
data: public(Bytes[2048])
answered: public(bool)
answer: public(Bytes[64])


@deploy
def __init__(key_: address):
    self.key = key_


@external
def behave(refuses: bool, target: address, data: Bytes[2048]):
    self.refuses = refuses
    self.target = target
    self.data = data


@view
@external
def isValidSignature(digest: bytes32, signature: Bytes[65]) -> bytes4:
    if len(signature) == 65:
        r: uint256 = extract32(signature, 0, output_type=uint256)
        s: uint256 = extract32(signature, 32, output_type=uint256)
        if ecrecover(digest, convert(slice(signature, 64, 1), uint256), r, s) == self.key:
            return 0x1626ba7e
    return 0xffffffff


@payable
@external
def __default__():
    assert not self.refuses, "wallet: refuses"
    if self.target != empty(address):
        self.answered, self.answer = raw_call(self.target, self.data, max_outsize=64, revert_on_failure=False)
