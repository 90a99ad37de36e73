# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Layout of an order
@license Apache-2.0
@notice What an order's digests are taken over, where the fields of its status word stand, and the checks of a state.
        Keeps nothing.
@custom:spec spec/contracts.md, section 4
"""

struct Terms:
    asset_id: bytes32
    provider: address
    consumer: address
    fetch_signer: address
    token: address
    price: uint256
    periods: uint256
    pk_b_sign: uint8
    pk_b_x: bytes32


REQUESTED: constant(uint256) = 1
APPROVED: constant(uint256) = 2
DENIED: constant(uint256) = 3
CANCELLED: constant(uint256) = 4
EXPIRED: constant(uint256) = 5
PAID: constant(uint256) = 6
DELIVERED: constant(uint256) = 7
REVOKED: constant(uint256) = 8
REFUNDED: constant(uint256) = 9
SETTLED: constant(uint256) = 10

# An order is one word: state(4), flags(5), generation(7), destroyed slots(16), deadline(32), and above them the first 192
# bits of its digest. Two orders with one digest cost 2^96 trials.
CHALLENGED: constant(uint256) = 1 << 4
ANSWERED: constant(uint256) = 2 << 4
SERVING_STOPPED: constant(uint256) = 4 << 4
MONEY: constant(uint256) = 16 << 4
GENERATION: constant(uint256) = 9
DESTROYED: constant(uint256) = 16
DEADLINE: constant(uint256) = 32

LOW_4: constant(uint256) = 2**4 - 1
LOW_7: constant(uint256) = 2**7 - 1
LOW_16: constant(uint256) = 2**16 - 1
LOW_32: constant(uint256) = 2**32 - 1
LOW_64: constant(uint256) = 2**64 - 1
LOW_160: constant(uint256) = 2**160 - 1

# accepted(2), ends_at(5) stand before recorder and nodes.
PROGRESS_HEAD: constant(uint256) = 7
# threshold(1), generation(4), X_A(33) stand before the rows.
TABLE_HEAD: constant(uint256) = 38
ROW: constant(uint256) = 157


@pure
@internal
def _basis(terms: Terms, card: bytes32) -> bytes32:
    return keccak256(abi_encode(terms, card))


@pure
@internal
def _core(basis: bytes32, table_hash: bytes32, progress_hash: bytes32) -> uint256:
    """
    @notice The upper 192 bits of an order's word.
    """
    return convert(keccak256(concat(basis, table_hash, progress_hash)), uint256) & ~LOW_64


@pure
@internal
def _pk_b(sign: uint8, x: bytes32) -> Bytes[33]:
    return concat(convert(sign, bytes1), x)


@pure
@internal
def _table_hash(pk_b_sign: uint8, pk_b_x: bytes32, table: Bytes[2550]) -> bytes32:
    return keccak256(concat(convert(pk_b_sign, bytes1), pk_b_x, table))


@pure
@internal
def _row_hash(generation: uint256, slot: uint256, row: Bytes[157]) -> bytes32:
    """
    @notice Under what a row that was replaced after payment is remembered.
    """
    return keccak256(concat(convert(convert(generation << 8 | slot, uint40), bytes5), row))


@pure
@internal
def _deadline(status: uint256) -> uint256:
    return status >> DEADLINE & LOW_32


@pure
@internal
def _moved(status: uint256, state: uint256, deadline: uint256) -> uint256:
    """
    @notice The status in another state with another deadline, all else as it was.
    """
    assert deadline <= LOW_32, "exchange: time is too large"
    return status & ~(LOW_4 | LOW_32 << DEADLINE) | state | deadline << DEADLINE


@pure
@internal
def _with_row(table: Bytes[2550], slot: uint256, row: Bytes[157]) -> Bytes[2550]:
    start: uint256 = TABLE_HEAD + ROW * slot
    return convert(
        concat(slice(table, 0, start), row, slice(table, start + ROW, len(table) - start - ROW)), Bytes[2550]
    )


@view
@internal
def _in_state(status: uint256, states: uint256):
    assert states >> (status & LOW_4) & 1 == 1, "exchange: wrong state"


@view
@internal
def _before_deadline(status: uint256):
    assert block.timestamp < self._deadline(status), "exchange: deadline has passed"


@pure
@internal
def _ends_at(progress: Bytes[551]) -> uint256:
    return convert(slice(progress, 2, 5), uint256)


@pure
@internal
def _threshold(table: Bytes[2550]) -> uint256:
    return extract32(table, 0, output_type=uint256) >> 248


@pure
@internal
def _generation(table: Bytes[2550]) -> uint256:
    return extract32(table, 0, output_type=uint256) >> 216 & LOW_32


@pure
@internal
def _row(table: Bytes[2550], slot: uint256) -> Bytes[157]:
    assert TABLE_HEAD + ROW * slot < len(table), "exchange: no such slot"
    return slice(table, TABLE_HEAD + ROW * slot, ROW)
