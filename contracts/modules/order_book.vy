# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Order book
@license Apache-2.0
@notice An order in two words: a digest of all that was agreed and one packed word of state. Callers bring the preimages,
        which the events carry. Decides nothing: who may change a word, and when, is the Exchange's.
@custom:spec spec/contracts.md, section 4
"""
from modules import orders

struct Words:
    core: bytes32
    status: uint256


_words: HashMap[bytes32, Words]
_past: HashMap[bytes32, HashMap[bytes32, bool]]


@view
@external
@reentrant
def order(order_id: bytes32) -> (bytes32, uint256):
    """
    @notice The two words of an order: core digest and packed status; zero when there is none.
    """
    return self._words[order_id].core, self._words[order_id].status


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
    order_id: bytes32, terms: orders.Terms, card: bytes32, table_hash: bytes32, delivery_hash: bytes32
) -> uint256:
    """
    @notice The status of an order; reverts unless the preimages are its own.
    """
    core: bytes32 = orders._core(orders._basis(terms, card), table_hash, delivery_hash)
    assert self._words[order_id].core == core, "exchange: not this order"
    return self._words[order_id].status
