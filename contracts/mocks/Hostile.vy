# pragma version 0.4.3
"""
@title Hostile payee for tests
@license Apache-2.0
@notice Answers a payment with a bomb of revert data, or by using up all gas that it was given.
"""

burns: public(bool)
asleep: public(bool)


@deploy
def __init__(burns: bool):
    self.burns = burns


@external
def sleep():
    self.asleep = True


@external
def call(target: address, data: Bytes[4096]):
    raw_call(target, data)


@payable
@external
def __default__():
    if self.asleep:
        return
    if self.burns:
        spent: uint256 = 0
        for i: uint256 in range(10**9):
            spent = unsafe_add(spent, i)
        return
    # 480,000 bytes: whoever copies them pays for the memory.
    raw_revert(abi_encode(empty(uint256[15000])))
