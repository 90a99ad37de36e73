# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Payout
@license Apache-2.0
@notice Divides the price of a settled order by the fee table. The provider gets what rounding leaves, so that the parts
        add up to the price, to the wei.
@custom:spec spec/contracts.md, section 8
"""
from modules import orders

struct Fees:
    tee: uint256
    recorder: uint256
    light: uint256
    storage_nodes: uint256


BASIS_POINTS: constant(uint256) = 10_000
_TEE: immutable(uint256)
_RECORDER: immutable(uint256)
_LIGHT: immutable(uint256)
_STORAGE: immutable(uint256)


@deploy
def __init__(table: Fees):
    assert table.tee + table.recorder + table.light + table.storage_nodes <= BASIS_POINTS, "exchange: fees are too high"
    _TEE = table.tee
    _RECORDER = table.recorder
    _LIGHT = table.light
    _STORAGE = table.storage_nodes


@view
@external
@reentrant
def fees() -> Fees:
    """
    @notice The fee table, in basis points of the price.
    """
    return Fees(tee=_TEE, recorder=_RECORDER, light=_LIGHT, storage_nodes=_STORAGE)


@view
@internal
def _split(
    terms: orders.Terms, credits: Bytes[288], progress: Bytes[551]
) -> (DynArray[bytes32, 27], DynArray[uint256, 27]):
    """
    @notice Who gets what of the price; equal accounts are merged.
    @param credits  Light node and storage nodes of the listing's receipt.
    @param progress Accepted, end of access, recorder and the nodes of the recorded receipts.
    """
    served: uint256 = (len(progress) - orders.PROGRESS_HEAD) // 32 - 1
    stored: uint256 = len(credits) // 32 - 1
    accounts: DynArray[bytes32, 27] = [convert(terms.provider, bytes32)]
    amounts: DynArray[uint256, 27] = [terms.price]
    tee_each: uint256 = terms.price * _TEE // BASIS_POINTS // served
    storage_each: uint256 = terms.price * _STORAGE // BASIS_POINTS // stored
    for i: uint256 in range(2 + served + stored, bound=26):
        account: bytes32 = empty(bytes32)
        amount: uint256 = tee_each
        if i <= served:
            account = extract32(progress, orders.PROGRESS_HEAD + 32 * i)
            if i == 0:
                amount = terms.price * _RECORDER // BASIS_POINTS
        else:
            account = extract32(credits, 32 * (i - served - 1))
            amount = storage_each
            if i == served + 1:
                amount = terms.price * _LIGHT // BASIS_POINTS
        if amount != 0:
            amounts[0] -= amount
            known: bool = False
            for j: uint256 in range(len(accounts), bound=27):
                if accounts[j] == account:
                    amounts[j] += amount
                    known = True
                    break
            if not known:
                accounts.append(account)
                amounts.append(amount)
    return accounts, amounts
