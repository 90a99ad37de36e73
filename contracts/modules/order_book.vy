# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Order book
@license Apache-2.0
@notice An order in one word: its state, and a digest of all that was agreed. Callers bring the preimages, which the events
        carry. Decides nothing: who may change a word, and when, is the Exchange's.
@custom:spec spec/contracts.md, section 4
"""
from modules import orders

_words: HashMap[bytes32, uint256]
_past: HashMap[bytes32, HashMap[bytes32, bool]]


@view
@external
@reentrant
def order(order_id: bytes32) -> (bytes32, uint256):
    """
    @notice The digest of an order (its low 64 bits zero) and its status (64 bits); zero when there is none.
    """
    word: uint256 = self._words[order_id]
    return convert(word & ~orders.LOW_64, bytes32), word & orders.LOW_64


@view
@external
@reentrant
def past(order_id: bytes32, digest: bytes32) -> bool:
    """
    @notice Whether a paid order had this table (last of an earlier generation) or this row (replaced by `reseal`).
    """
    return self._past[order_id][digest]


@view
@internal
def _read(
    order_id: bytes32,
    terms: orders.Terms,
    card: bytes32,
    table_hash: bytes32,
    progress_hash: bytes32,
    states: uint256,
) -> uint256:
    """
    @notice The status of an order; reverts unless the preimages are its own and it is in one of `states` (a bitmap).
    """
    return self._read_basis(order_id, orders._basis(terms, card), table_hash, progress_hash, states)


@view
@internal
def _read_basis(
    order_id: bytes32, basis: bytes32, table_hash: bytes32, progress_hash: bytes32, states: uint256
) -> uint256:
    """
    @notice As `_read`, for callers that need the basis again.
    """
    word: uint256 = self._words[order_id]
    assert word & ~orders.LOW_64 == orders._core(basis, table_hash, progress_hash), "exchange: not this order"
    orders._in_state(word, states)
    return word & orders.LOW_64


@internal
def _set_status(order_id: bytes32, status: uint256):
    """
    @notice Another status for an order that was read.
    """
    self._words[order_id] = self._words[order_id] & ~orders.LOW_64 | status
