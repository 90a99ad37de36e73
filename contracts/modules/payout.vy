# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Payout
@license Apache-2.0
@notice Divides the price of a settled order by the fee table. The provider gets what rounding leaves, so that the parts
        add up to the price, to the wei.
@custom:spec spec/contracts.md, section 8
"""
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
def _parts(price: uint256, served: uint256, stored: uint256) -> (uint256, uint256, uint256, uint256):
    """
    @notice What each TEE node, the recorder, the light node and each storage node gets, rounded down.
    """
    return (
        price * _TEE // BASIS_POINTS // served,
        price * _RECORDER // BASIS_POINTS,
        price * _LIGHT // BASIS_POINTS,
        price * _STORAGE // BASIS_POINTS // stored,
    )
