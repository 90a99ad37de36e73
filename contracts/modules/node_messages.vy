# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title What nodes sign about an order
@license Apache-2.0
@notice Checks Accept, Fetch, Receipt and Destroyed against the signing addresses in the rows of a table. A row is node(32),
        epoch(8), signing address(20), kfrag id(32), U1(33), digest of the KEM key(32). `domain` is the Exchange's.
@custom:spec spec/contracts.md, sections 2 and 4
"""
from modules import orders
from modules import signatures

ACCEPT_TYPE: constant(bytes32) = keccak256(
    "Accept(bytes32 order,uint32 generation,uint8 slot,bytes32 kfrag,bytes32 kemKey,bytes32 node,uint64 epoch)"
)
FETCH_TYPE: constant(bytes32) = keccak256("Fetch(bytes32 order,uint32 generation)")
RECEIPT_TYPE: constant(bytes32) = keccak256(
    "Receipt(bytes32 order,uint32 generation,uint8 slot,bytes32 kfrag,bytes32 cfrag,bytes32 fetch,uint64 blockNumber,bytes32 blockHash,bytes32 node,uint64 epoch)"
)
DESTROYED_TYPE: constant(bytes32) = keccak256(
    "Destroyed(bytes32 order,uint32 generation,uint8 slot,bytes32 kemKey,bytes32 node,uint64 epoch,uint8 reason)"
)
RECEIPT: constant(uint256) = 137
ACCEPT: constant(uint256) = 65


@pure
@internal
def _signer(domain: bytes32, struct_hash: bytes32, r: uint256, v_and_s: uint256) -> address:
    return signatures._recover(keccak256(concat(x"1901", domain, struct_hash)), r, v_and_s)


@pure
@internal
def _row_signer(row: Bytes[157]) -> address:
    return convert(extract32(row, 40, output_type=uint256) >> 96, address)


@pure
@internal
def _row_epoch(row: Bytes[157]) -> uint64:
    return convert(extract32(row, 32, output_type=uint256) >> 192, uint64)


@pure
@internal
def _fetch_digest(domain: bytes32, order_id: bytes32, generation: uint256) -> bytes32:
    return keccak256(concat(x"1901", domain, keccak256(abi_encode(FETCH_TYPE, order_id, generation))))


@pure
@internal
def _check_accept(
    domain: bytes32, order_id: bytes32, generation: uint256, slot: uint256, row: Bytes[157], r: uint256, v_and_s: uint256
):
    struct_hash: bytes32 = keccak256(
        abi_encode(
            ACCEPT_TYPE,
            order_id,
            generation,
            slot,
            extract32(row, 60),
            extract32(row, 125),
            extract32(row, 0),
            self._row_epoch(row),
        )
    )
    assert self._signer(domain, struct_hash, r, v_and_s) == self._row_signer(row), "exchange: accept is not the node's"


@pure
@internal
def _take_accepts(
    domain: bytes32, order_id: bytes32, table: Bytes[2550], accepts: Bytes[1040]
) -> (uint256, DynArray[bytes32, 16], DynArray[uint64, 16]):
    """
    @notice Verifies Accept signatures of at least t slots.
    @return Bitmap of the slots, their nodes and epochs.
    """
    count: uint256 = len(accepts) // ACCEPT
    assert len(accepts) == count * ACCEPT, "exchange: wrong length"
    assert count >= orders._threshold(table), "exchange: too few accepts"
    bitmap: uint256 = 0
    nodes: DynArray[bytes32, 16] = []
    epochs: DynArray[uint64, 16] = []
    for i: uint256 in range(count, bound=16):
        slot: uint256 = extract32(accepts, i * ACCEPT, output_type=uint256) >> 248
        row: Bytes[157] = orders._row(table, slot)
        assert bitmap >> slot == 0, "exchange: slots are not ascending"
        bitmap |= 1 << slot
        self._check_accept(
            domain,
            order_id,
            orders._generation(table),
            slot,
            row,
            extract32(accepts, i * ACCEPT + 1, output_type=uint256),
            extract32(accepts, i * ACCEPT + 33, output_type=uint256),
        )
        nodes.append(extract32(row, 0))
        epochs.append(self._row_epoch(row))
    return bitmap, nodes, epochs


@pure
@internal
def _check_receipt(
    domain: bytes32, order_id: bytes32, generation: uint256, slot: uint256, row: Bytes[157], fetch: bytes32, receipt: Bytes[137]
):
    struct_hash: bytes32 = keccak256(
        abi_encode(
            RECEIPT_TYPE,
            order_id,
            generation,
            slot,
            extract32(row, 60),
            extract32(receipt, 1),
            fetch,
            extract32(receipt, 33, output_type=uint256) >> 192,
            extract32(receipt, 41),
            extract32(row, 0),
            self._row_epoch(row),
        )
    )
    assert self._signer(
        domain,
        struct_hash,
        extract32(receipt, 73, output_type=uint256),
        extract32(receipt, 105, output_type=uint256),
    ) == self._row_signer(row), "exchange: receipt is not the node's"


@pure
@internal
def _check_destroyed(
    domain: bytes32, order_id: bytes32, generation: uint256, slot: uint256, row: Bytes[157], reason: uint8, signature: Bytes[64]
):
    struct_hash: bytes32 = keccak256(
        abi_encode(
            DESTROYED_TYPE,
            order_id,
            generation,
            slot,
            extract32(row, 125),
            extract32(row, 0),
            self._row_epoch(row),
            reason,
        )
    )
    assert self._signer(
        domain,
        struct_hash,
        extract32(signature, 0, output_type=uint256),
        extract32(signature, 32, output_type=uint256),
    ) == self._row_signer(row), "exchange: word is not the node's"
