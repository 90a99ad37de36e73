# pragma version 0.4.3
"""
@title Token for tests
@license Apache-2.0
@notice ERC-20 with ERC-2612 permit; can be told to keep a fee of each transfer, to answer False, or to call someone in it.
"""

DOMAIN_TYPE: constant(bytes32) = keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
PERMIT_TYPE: constant(bytes32) = keccak256(
    "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
)

name: public(constant(String[5])) = "Token"
symbol: public(constant(String[3])) = "TST"
decimals: public(constant(uint8)) = 6

balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])
nonces: public(HashMap[address, uint256])
fee: public(uint256)
answer: public(bool)
target: public(address)
data: public(Bytes[2048])
answered: public(bool)
reason: public(Bytes[64])


@deploy
def __init__():
    self.answer = True


@external
def mint(receiver: address, amount: uint256):
    self.balanceOf[receiver] += amount


@external
def behave(fee: uint256, answer: bool):
    self.fee = fee
    self.answer = answer


@external
def call_back(target: address, data: Bytes[2048]):
    self.target = target
    self.data = data


@external
def approve(spender: address, amount: uint256) -> bool:
    self.allowance[msg.sender][spender] = amount
    return True


@external
def transfer(receiver: address, amount: uint256) -> bool:
    self._move(msg.sender, receiver, amount)
    return self.answer


@external
def transferFrom(owner: address, receiver: address, amount: uint256) -> bool:
    self.allowance[owner][msg.sender] -= amount
    self._move(owner, receiver, amount)
    return self.answer


@external
def permit(owner: address, spender: address, amount: uint256, deadline: uint256, v: uint8, r: bytes32, s: bytes32):
    assert block.timestamp <= deadline, "token: permit has expired"
    digest: bytes32 = keccak256(
        concat(
            x"1901",
            self._separator(),
            keccak256(abi_encode(PERMIT_TYPE, owner, spender, amount, self.nonces[owner], deadline)),
        )
    )
    assert ecrecover(digest, v, r, s) == owner, "token: permit is not the owner's"
    self.nonces[owner] += 1
    self.allowance[owner][spender] = amount


@external
@view
def DOMAIN_SEPARATOR() -> bytes32:
    return self._separator()


@internal
@view
def _separator() -> bytes32:
    return keccak256(abi_encode(DOMAIN_TYPE, keccak256(name), keccak256("1"), chain.id, self))


@internal
def _move(owner: address, receiver: address, amount: uint256):
    self.balanceOf[owner] -= amount
    self.balanceOf[receiver] += amount - self.fee
    if self.target != empty(address):
        self.answered, self.reason = raw_call(self.target, self.data, max_outsize=64, revert_on_failure=False)
