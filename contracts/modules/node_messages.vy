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
) -> (uint256, DynArray[bytes32, 16], uint256):
    """
    @notice Verifies Accept signatures of at least t slots.
    @return Bitmap of the slots, their nodes, and their epochs (16 bits each, the first one lowest).
    """
    # Rows are read in place: a copy of each would cost more than its signature's check. No sum here passes 2,550.
    size: uint256 = len(accepts)
    assert size % ACCEPT == 0, "exchange: wrong length"
    generation: uint256 = orders._generation(table)
    assert size // ACCEPT >= orders._threshold(table), "exchange: too few accepts"
    bitmap: uint256 = 0
    nodes: DynArray[bytes32, 16] = []
    epochs: uint256 = 0
    at: uint256 = 0
    place: uint256 = 0
    for i: uint256 in range(16):
        if at == size:
            break
        slot: uint256 = extract32(accepts, at, output_type=uint256) >> 248
        row: uint256 = unsafe_add(orders.TABLE_HEAD, unsafe_mul(orders.ROW, slot))
        assert row < len(table), "exchange: no such slot"
        assert bitmap >> slot == 0, "exchange: slots are not ascending"
        bitmap |= 1 << slot
        node_id: bytes32 = extract32(table, row)
        epoch_and_signer: uint256 = extract32(table, unsafe_add(row, 32), output_type=uint256)
        epoch: uint256 = epoch_and_signer >> 192
        struct_hash: bytes32 = keccak256(
            abi_encode(
                ACCEPT_TYPE,
                order_id,
                generation,
                slot,
                extract32(table, unsafe_add(row, 60)),
                extract32(table, unsafe_add(row, 125)),
                node_id,
                epoch,
            )
        )
        assert convert(
            self._signer(
                domain,
                struct_hash,
                extract32(accepts, unsafe_add(at, 1), output_type=uint256),
                extract32(accepts, unsafe_add(at, 33), output_type=uint256),
            ),
            uint256,
        ) == epoch_and_signer >> 32 & orders.LOW_160, "exchange: accept is not the node's"
        nodes.append(node_id)
        epochs |= epoch << place
        at = unsafe_add(at, ACCEPT)
        place = unsafe_add(place, 16)
    return bitmap, nodes, epochs


@pure
@internal
def _check_receipt(
    domain: bytes32,
    order_id: bytes32,
    generation: uint256,
    slot: uint256,
    node_id: bytes32,
    epoch_and_signer: uint256,
    kfrag: bytes32,
    fetch: bytes32,
    cfrag: bytes32,
    block_number: uint256,
    block_hash: bytes32,
    r: uint256,
    v_and_s: uint256,
):
    """
    @notice Verifies a receipt against what its row says: node, epoch(64) and signing address(160) above 32 bits that do not
            count, kfrag id.
    """
    struct_hash: bytes32 = keccak256(
        abi_encode(
            RECEIPT_TYPE,
            order_id,
            generation,
            slot,
            kfrag,
            cfrag,
            fetch,
            block_number,
            block_hash,
            node_id,
            epoch_and_signer >> 192,
        )
    )
    assert convert(self._signer(domain, struct_hash, r, v_and_s), uint256) == epoch_and_signer >> 32 & orders.LOW_160, "exchange: receipt is not the node's"


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
