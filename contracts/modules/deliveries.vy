# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Recorded deliveries
@license Apache-2.0
@notice Verifies a Fetch and the receipts of t nodes, and moves the order to delivered. Moves no money and cannot tell good
        content from bad.
@custom:spec spec/contracts.md, sections 4, 5 and 7
"""
from modules import authority
from modules import events
from modules import node_messages
from modules import order_book
from modules import orders
from modules import periods
from modules import signatures

uses: authority
uses: order_book


@internal
def _record(
    grace_seconds: uint256,
    order_id: bytes32,
    terms: orders.Terms,
    card: bytes32,
    table: Bytes[2550],
    current_table: bytes32,
    progress: Bytes[7],
    fetch: Bytes[64],
    receipts: Bytes[2192],
    old_rows: Bytes[2512],
    recorder: bytes32,
) -> Bytes[551]:
    """
    @notice Verifies a Fetch and receipts of at least t slots, and moves the order to delivered.
    @return Its progress, with recorder and the node of each receipt added.
    """
    table_hash: bytes32 = orders._table_hash(terms.pk_b_sign, terms.pk_b_x, table)
    if current_table != empty(bytes32):
        assert order_book._past[order_id][table_hash], "exchange: not a table of this order"
        table_hash = current_table
    basis: bytes32 = orders._basis(terms, card)
    status: uint256 = order_book._read_basis(order_id, basis, table_hash, keccak256(progress), 1 << orders.PAID | 1 << orders.REVOKED)
    assert status & orders.MONEY != 0, "exchange: order is not paid"
    assert block.timestamp < orders._deadline(status) + grace_seconds, "exchange: deadline has passed"
    domain: bytes32 = authority._domain()
    generation: uint256 = orders._generation(table)
    fetch_digest: bytes32 = node_messages._fetch_digest(domain, order_id, generation)
    assert len(fetch) == 64, "exchange: wrong length"
    assert terms.fetch_signer == signatures._recover(
        fetch_digest, extract32(fetch, 0, output_type=uint256), extract32(fetch, 32, output_type=uint256)
    ), "exchange: fetch is not the consumer's"
    account: bytes32 = recorder
    if account == empty(bytes32):
        account = convert(msg.sender, bytes32)
    delivery: Bytes[551] = concat(progress, account)
    # Receipts and rows are read in place. No sum here passes 2,550.
    size: uint256 = len(receipts)
    assert size % node_messages.RECEIPT == 0, "exchange: wrong length"
    assert size // node_messages.RECEIPT >= orders._threshold(table), "exchange: too few receipts"
    bitmap: uint256 = 0
    old_used: uint256 = 0
    at: uint256 = 0
    for i: uint256 in range(16):
        if at == size:
            break
        slot: uint256 = extract32(receipts, at, output_type=uint256) >> 248
        is_old: bool = slot >= 128
        slot &= 127
        start: uint256 = unsafe_add(orders.TABLE_HEAD, unsafe_mul(orders.ROW, slot))
        assert start < len(table), "exchange: no such slot"
        node_id: bytes32 = empty(bytes32)
        epoch_and_signer: uint256 = 0
        kfrag: bytes32 = empty(bytes32)
        if is_old:
            # Bit 7: the slot was resealed since, and its row of then is brought along.
            row: Bytes[157] = slice(old_rows, old_used, orders.ROW)
            old_used = unsafe_add(old_used, orders.ROW)
            assert order_book._past[order_id][orders._row_hash(generation, slot, row)], "exchange: not a row of this order"
            node_id = extract32(row, 0)
            epoch_and_signer = extract32(row, 32, output_type=uint256)
            kfrag = extract32(row, 60)
        else:
            node_id = extract32(table, start)
            epoch_and_signer = extract32(table, unsafe_add(start, 32), output_type=uint256)
            kfrag = extract32(table, unsafe_add(start, 60))
        assert bitmap >> slot == 0, "exchange: slots are not ascending"
        bitmap |= 1 << slot
        node_messages._check_receipt(
            domain,
            order_id,
            generation,
            slot,
            node_id,
            epoch_and_signer,
            kfrag,
            fetch_digest,
            extract32(receipts, unsafe_add(at, 1)),
            extract32(receipts, unsafe_add(at, 33), output_type=uint256) >> 192,
            extract32(receipts, unsafe_add(at, 41)),
            extract32(receipts, unsafe_add(at, 73), output_type=uint256),
            extract32(receipts, unsafe_add(at, 105), output_type=uint256),
        )
        delivery = convert(concat(delivery, node_id), Bytes[551])
        at = unsafe_add(at, node_messages.RECEIPT)
    assert old_used == len(old_rows), "exchange: wrong length"
    if status & orders.LOW_4 == orders.REVOKED:
        status |= orders.SERVING_STOPPED
    window_end: uint256 = block.timestamp + periods._seconds(terms.periods, periods.WINDOW)
    order_book._words[order_id] = (
        orders._core(basis, table_hash, keccak256(delivery))
        | orders._moved(status, orders.DELIVERED, window_end)
    )
    log events.Delivered(
        order_id=order_id,
        generation=convert(generation, uint32),
        recorder=account,
        fetch=fetch,
        receipts=receipts,
        old_rows=old_rows,
    )
    return delivery
