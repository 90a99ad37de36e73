# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Purse
@license Apache-2.0
@notice Money in by exact amount, money out by pull. A balance is stored as amount + 1, so that a later credit finds a slot
        that is not zero. Does not decide who is owed what.
@custom:spec spec/contracts.md, sections 4 and 8
@custom:stop Nobody can stop a payout.
"""
from interfaces import IERC20Permit

event BalanceOpened:
    token: indexed(address)
    account: indexed(bytes32)


event Claimed:
    token: indexed(address)
    account: indexed(bytes32)
    payee: address
    amount: uint256


_balances: HashMap[address, HashMap[bytes32, uint256]]


@external
def open_balance(token: address, account: bytes32):
    """
    @notice Prepares a balance, so that the first credit costs no more than the later ones.
    """
    assert self._balances[token][account] == 0, "exchange: balance is open"
    self._balances[token][account] = 1
    log BalanceOpened(token=token, account=account)


@view
@external
def balance_of(token: address, account: bytes32) -> uint256:
    """
    @notice What `account` can claim.
    """
    stored: uint256 = self._balances[token][account]
    if stored == 0:
        return 0
    return stored - 1


@internal
def _credit(token: address, account: bytes32, amount: uint256):
    if amount != 0:
        self._balances[token][account] = max(self._balances[token][account], 1) + amount


@internal
def _pay_out(token: address, account: bytes32, payee: address):
    """
    @notice Sends the whole balance of `account` to `payee`.
    """
    stored: uint256 = self._balances[token][account]
    assert stored > 1, "exchange: nothing to claim"
    self._balances[token][account] = 1
    log Claimed(token=token, account=account, payee=payee, amount=stored - 1)
    success: bool = True
    if token == empty(address):
        # No return data is read: a payee cannot answer with a bomb.
        success = raw_call(payee, b"", value=stored - 1, revert_on_failure=False)
    else:
        success = extcall IERC20Permit(token).transfer(payee, stored - 1, default_return_value=True)
    assert success, "exchange: transfer failed"


@internal
def _take(token: address, owner: address, amount: uint256, value_sent: uint256, permit: Bytes[160]):
    """
    @notice Takes exactly `amount`: the value of the call, or tokens of `owner`.
    """
    if token == empty(address):
        assert value_sent == amount and len(permit) == 0, "exchange: value is not the price"
        return
    assert value_sent == 0, "exchange: price is in a token"
    if len(permit) != 0:
        assert len(permit) == 160, "exchange: wrong length"
        # A permit that someone else submitted first has had its effect; the transfer decides.
        permitted: bool = raw_call(
            token,
            concat(
                method_id("permit(address,address,uint256,uint256,uint8,bytes32,bytes32)"),
                abi_encode(owner, self),
                permit,
            ),
            revert_on_failure=False,
        )
    before: uint256 = staticcall IERC20Permit(token).balanceOf(self)
    success: bool = extcall IERC20Permit(token).transferFrom(owner, self, amount, default_return_value=True)
    assert success and staticcall IERC20Permit(token).balanceOf(self) == before + amount, "exchange: token did not arrive"
