# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Grants
@license Apache-2.0
@notice What a provider says about access to an order: approve, deny, revoke, seal a share again, replace all shares; and
        the nodes' word that a key is gone. Holds no money; the state of the order stays in the Exchange.
@custom:spec spec/contracts.md, sections 4, 5 and 7
@custom:stop The provider revokes. Nothing here can touch what was paid or delivered.
"""
from interfaces import IAssetLedger
from interfaces import IExchange
from interfaces import INodeRegistry
from modules import authority
from modules import node_messages
from modules import orders
from modules import periods
from modules import shares

initializes: authority

exports: (
    authority.domain_separator,
    authority.nonce_used,
)

event Approved:
    order_id: indexed(bytes32)
    table: Bytes[2550]
    sealed_shares: Bytes[3408]
    sealed_kpq: Bytes[1280]
    reply: bytes32
    reply_length: uint64


event Denied:
    order_id: indexed(bytes32)
    reply: bytes32
    reply_length: uint64


event Revoked:
    order_id: indexed(bytes32)
    state: uint8


event Resealed:
    order_id: indexed(bytes32)
    slot: uint8
    row: Bytes[157]
    sealed_share: Bytes[149]
    accept: Bytes[64]


event Regenerated:
    order_id: indexed(bytes32)
    table: Bytes[2550]
    sealed_shares: Bytes[3408]
    accepts: Bytes[1040]


event DestroyedRecorded:
    order_id: indexed(bytes32)
    generation: uint32
    slot: uint8
    node_id: indexed(bytes32)
    epoch: uint64
    reason: uint8
    signature: Bytes[64]


APPROVE_TYPE: constant(bytes32) = keccak256(
    "Approve(bytes32 order,uint32 generation,uint8 threshold,bytes precursor,bytes shares,bytes sealedShares,bytes sealedKpq,bytes32 reply,uint64 replyLength,uint256 nonce,uint64 deadline)"
)
DENY_TYPE: constant(bytes32) = keccak256(
    "Deny(bytes32 order,bytes32 reply,uint64 replyLength,uint256 nonce,uint64 deadline)"
)
REVOKE_TYPE: constant(bytes32) = keccak256("Revoke(bytes32 order,uint256 nonce,uint64 deadline)")
RESEAL_TYPE: constant(bytes32) = keccak256(
    "Reseal(bytes32 order,bytes32 table,uint8 slot,bytes replacement,bytes sealedShare,uint256 nonce,uint64 deadline)"
)
REGENERATE_TYPE: constant(bytes32) = keccak256(
    "Regenerate(bytes32 order,uint32 generation,uint8 threshold,bytes precursor,bytes shares,bytes sealedShares,uint256 nonce,uint64 deadline)"
)

exchange: public(immutable(address))
ledger: public(immutable(address))
registry: public(immutable(address))
_DEVELOPMENT: immutable(bool)
_GRACE: immutable(uint256)


@deploy
def __init__(exchange_: address):
    authority.__init__()
    assert staticcall IExchange(exchange_).grants() == self, "grants: exchange names another contract"
    exchange = exchange_
    ledger = staticcall IExchange(exchange_).ledger()
    registry = staticcall IExchange(exchange_).registry()
    _DEVELOPMENT = staticcall IExchange(exchange_).development()
    _GRACE = staticcall IExchange(exchange_).grace_seconds()


@external
def approve(
    order_id: bytes32,
    terms: orders.Terms,
    parts: shares.KeyParts,
    threshold: uint8,
    precursor: Bytes[33],
    shares_: Bytes[2192],
    sealed_shares: Bytes[3408],
    sealed_kpq: Bytes[1280],
    reply: bytes32,
    reply_length: uint64,
    authority_: Bytes[1084],
):
    """
    @notice The provider's shares for this order, each sealed to the key that a TEE node made for it.
    """
    status: uint256 = self._status(order_id)
    orders._in_state(status, 1 << orders.REQUESTED)
    orders._before_deadline(status)
    head: Bytes[640] = b""
    if len(authority_) != 0:
        head = abi_encode(
            APPROVE_TYPE,
            order_id,
            convert(1, uint256),
            threshold,
            keccak256(precursor),
            keccak256(shares_),
            keccak256(sealed_shares),
            keccak256(sealed_kpq),
            reply,
            reply_length,
        )
    self._only_provider(terms, authority._actor(authority_, head))
    table: Bytes[2550] = shares._table(
        registry, parts, terms, 1, threshold, precursor, shares_, sealed_shares
    )
    pay_by: uint256 = block.timestamp + periods._seconds(terms.periods, periods.PAY)
    self._set(
        order_id,
        orders._basis(terms, shares._card(parts)),
        empty(bytes32),
        orders._table_hash(terms.pk_b_sign, terms.pk_b_x, table),
        empty(bytes32),
        orders._moved(status, orders.APPROVED, pay_by) | 1 << orders.GENERATION,
    )
    log Approved(
        order_id=order_id,
        table=table,
        sealed_shares=sealed_shares,
        sealed_kpq=sealed_kpq,
        reply=reply,
        reply_length=reply_length,
    )


@external
def deny(
    order_id: bytes32,
    terms: orders.Terms,
    card: bytes32,
    reply: bytes32,
    reply_length: uint64,
    authority_: Bytes[1084],
):
    """
    @notice The provider's refusal.
    """
    status: uint256 = self._status(order_id)
    orders._in_state(status, 1 << orders.REQUESTED)
    orders._before_deadline(status)
    self._only_provider(terms, authority._actor(authority_, abi_encode(DENY_TYPE, order_id, reply, reply_length)))
    self._set(
        order_id,
        orders._basis(terms, card),
        empty(bytes32),
        empty(bytes32),
        empty(bytes32),
        orders._moved(status, orders.DENIED, 0),
    )
    log Denied(order_id=order_id, reply=reply, reply_length=reply_length)


@external
def revoke(
    order_id: bytes32,
    terms: orders.Terms,
    card: bytes32,
    table_hash: bytes32,
    progress_hash: bytes32,
    authority_: Bytes[1084],
):
    """
    @notice No further re-encryption for this order. What was delivered stays paid, what was not is refunded after GRACE.
    """
    status: uint256 = self._status(order_id)
    self._only_provider(terms, authority._actor(authority_, abi_encode(REVOKE_TYPE, order_id)))
    state: uint256 = status & orders.LOW_4
    if state == orders.PAID:
        status = orders._moved(status, orders.REVOKED, min(orders._deadline(status), block.timestamp))
    elif state == orders.APPROVED:
        status = orders._moved(status, orders.REVOKED, 0)
    else:
        orders._in_state(status, 1 << orders.DELIVERED | 1 << orders.SETTLED)
        assert status & orders.SERVING_STOPPED == 0, "grants: serving has stopped"
        status |= orders.SERVING_STOPPED
    self._set(
        order_id, orders._basis(terms, card), table_hash, table_hash, progress_hash, status
    )
    log Revoked(order_id=order_id, state=convert(status & orders.LOW_4, uint8))


@external
def reseal(
    order_id: bytes32,
    terms: orders.Terms,
    card: bytes32,
    table: Bytes[2550],
    progress: Bytes[551],
    slot: uint8,
    replacement: Bytes[72],
    sealed_share: Bytes[149],
    accept: Bytes[64],
    authority_: Bytes[1084],
):
    """
    @notice The same share to a new order key in the same slot; from now on that node owes in the old one's place.
    """
    table_hash: bytes32 = orders._table_hash(terms.pk_b_sign, terms.pk_b_x, table)
    status: uint256 = self._status(order_id)
    self._is_served(status, progress)
    head: Bytes[640] = abi_encode(
        RESEAL_TYPE, order_id, table_hash, slot, keccak256(replacement), keccak256(sealed_share)
    )
    self._only_provider(terms, authority._actor(authority_, head))
    assert len(replacement) == 72 and len(sealed_share) == 149 and len(accept) == 64, "grants: wrong length"
    assert extract32(sealed_share, 0, output_type=uint256) >> 216 > block.timestamp, "grants: order key has expired"
    at: uint256 = convert(slot, uint256)
    generation: uint256 = orders._generation(table)
    old_row: Bytes[157] = orders._row(table, at)
    row: Bytes[157] = concat(
        slice(replacement, 0, 40),
        convert(self._signer_for(table, at, replacement), bytes20),
        slice(old_row, 60, 65),
        slice(replacement, 40, 32),
    )
    node_messages._check_accept(
        staticcall IExchange(exchange).domain_separator(),
        order_id,
        generation,
        at,
        row,
        extract32(accept, 0, output_type=uint256),
        extract32(accept, 32, output_type=uint256),
    )
    status &= ~(1 << (orders.DESTROYED + at))
    replaced: bytes32 = empty(bytes32)
    new_progress: Bytes[551] = progress
    if status & orders.MONEY != 0:
        replaced = orders._row_hash(generation, at, old_row)
        new_progress = self._with_accepted(progress, convert(slice(progress, 0, 2), uint256) | 1 << at)
        self._hold([extract32(row, 0)], convert(node_messages._row_epoch(row), uint256), status, terms.periods)
    new_table: Bytes[2550] = orders._with_row(table, at, row)
    extcall IExchange(exchange).set_order(
        order_id,
        orders._basis(terms, card),
        table_hash,
        orders._table_hash(terms.pk_b_sign, terms.pk_b_x, new_table),
        self._progress_hash(progress),
        self._progress_hash(new_progress),
        status,
        replaced,
    )
    log Resealed(order_id=order_id, slot=slot, row=row, sealed_share=sealed_share, accept=accept)


@external
def regenerate(
    order_id: bytes32,
    terms: orders.Terms,
    parts: shares.KeyParts,
    table_hash: bytes32,
    progress: Bytes[551],
    threshold: uint8,
    precursor: Bytes[33],
    shares_: Bytes[2192],
    sealed_shares: Bytes[3408],
    accepts: Bytes[1040],
    authority_: Bytes[1084],
    consent: Bytes[1084],
):
    """
    @notice Replaces all shares by a new generation: freely before payment, afterwards with the consumer's consent and the
            Accept of at least t of the new nodes.
    """
    status: uint256 = self._status(order_id)
    self._is_served(status, progress)
    generation: uint256 = (status >> orders.GENERATION & orders.LOW_7) + 1
    assert generation <= orders.LOW_7, "grants: too many generations"
    head: Bytes[640] = abi_encode(
        REGENERATE_TYPE,
        order_id,
        generation,
        threshold,
        keccak256(precursor),
        keccak256(shares_),
        keccak256(sealed_shares),
    )
    self._only_provider(terms, authority._actor(authority_, head))
    table: Bytes[2550] = shares._table(
        registry, parts, terms, generation, threshold, precursor, shares_, sealed_shares
    )
    status = (
        status & ~(orders.LOW_7 << orders.GENERATION | orders.LOW_16 << orders.DESTROYED)
        | generation << orders.GENERATION
    )
    new_progress: Bytes[551] = progress
    bitmap: uint256 = 0
    nodes: DynArray[bytes32, 16] = []
    epochs: uint256 = 0
    replaced: bytes32 = empty(bytes32)
    if status & orders.MONEY != 0:
        assert authority._actor(consent, head) == terms.consumer, "grants: not the consumer"
        replaced = table_hash
        bitmap, nodes, epochs = node_messages._take_accepts(
            staticcall IExchange(exchange).domain_separator(), order_id, table, accepts
        )
        new_progress = self._with_accepted(progress, bitmap)
        self._hold(nodes, epochs, status, terms.periods)
    else:
        assert len(accepts) == 0 and len(consent) == 0, "grants: order is not paid"
    extcall IExchange(exchange).set_order(
        order_id,
        orders._basis(terms, shares._card(parts)),
        table_hash,
        orders._table_hash(terms.pk_b_sign, terms.pk_b_x, table),
        self._progress_hash(progress),
        self._progress_hash(new_progress),
        status,
        replaced,
    )
    log Regenerated(order_id=order_id, table=table, sealed_shares=sealed_shares, accepts=accepts)


@external
def record_destroyed(
    order_id: bytes32,
    terms: orders.Terms,
    card: bytes32,
    table: Bytes[2550],
    current_table: bytes32,
    progress_hash: bytes32,
    slot: uint8,
    old_row: Bytes[157],
    reason: uint8,
    signature: Bytes[64],
):
    """
    @notice Records a node's word that the order's private key no longer exists in it; anyone may call it.
    @param current_table Zero when `table` is the present one, else the digest of the present one.
    @param old_row       Empty, or the row that stood in the slot before a reseal.
    """
    table_hash: bytes32 = orders._table_hash(terms.pk_b_sign, terms.pk_b_x, table)
    if current_table != empty(bytes32):
        assert staticcall IExchange(exchange).past(order_id, table_hash), "exchange: not a table of this order"
        table_hash = current_table
    status: uint256 = self._status(order_id)
    at: uint256 = convert(slot, uint256)
    generation: uint256 = orders._generation(table)
    row: Bytes[157] = orders._row(table, at)
    if len(old_row) != 0:
        row = old_row
        assert staticcall IExchange(exchange).past(order_id, orders._row_hash(generation, at, row)), "exchange: not a row of this order"
    elif current_table == empty(bytes32):
        assert status >> (orders.DESTROYED + at) & 1 == 0, "grants: destruction is recorded"
        status |= 1 << (orders.DESTROYED + at)
    assert len(signature) == 64, "grants: wrong length"
    node_messages._check_destroyed(
        staticcall IExchange(exchange).domain_separator(), order_id, generation, at, row, reason, signature
    )
    # Also proves that the preimages are the order's own, where nothing changes.
    self._set(
        order_id, orders._basis(terms, card), table_hash, table_hash, progress_hash, status
    )
    log DestroyedRecorded(
        order_id=order_id,
        generation=convert(generation, uint32),
        slot=slot,
        node_id=extract32(row, 0),
        epoch=node_messages._row_epoch(row),
        reason=reason,
        signature=signature,
    )


@view
@internal
def _status(order_id: bytes32) -> uint256:
    """
    @notice The status of an order; whether the preimages are its own is checked when it is set.
    """
    core: bytes32 = empty(bytes32)
    status: uint256 = 0
    core, status = staticcall IExchange(exchange).order(order_id)
    return status


@internal
def _set(
    order_id: bytes32, basis: bytes32, table_hash: bytes32, new_table_hash: bytes32, progress_hash: bytes32, status: uint256
):
    extcall IExchange(exchange).set_order(
        order_id, basis, table_hash, new_table_hash, progress_hash, progress_hash, status, empty(bytes32)
    )


@view
@internal
def _only_provider(terms: orders.Terms, actor: address):
    assert actor == staticcall IAssetLedger(ledger).owner_of(terms.provider), "grants: not the provider"


@view
@internal
def _is_served(status: uint256, progress: Bytes[551]):
    """
    @notice Reverts unless shares of this order may still be sealed again.
    """
    orders._in_state(
        status, 1 << orders.APPROVED | 1 << orders.PAID | 1 << orders.DELIVERED | 1 << orders.SETTLED
    )
    if status & orders.MONEY == 0:
        orders._before_deadline(status)
    else:
        assert status & orders.SERVING_STOPPED == 0, "grants: serving has stopped"
        assert block.timestamp < orders._ends_at(progress), "grants: access has ended"


@internal
def _hold(nodes: DynArray[bytes32, 16], epochs: uint256, status: uint256, packed: uint256):
    until: uint256 = periods._busy_until(
        orders._deadline(status), status & orders.LOW_4 == orders.PAID, packed, _GRACE, _DEVELOPMENT
    )
    extcall INodeRegistry(registry).hold_for(exchange, nodes, epochs, until)


@pure
@internal
def _progress_hash(progress: Bytes[551]) -> bytes32:
    if len(progress) == 0:
        return empty(bytes32)
    return keccak256(progress)


@pure
@internal
def _with_accepted(progress: Bytes[551], accepted: uint256) -> Bytes[551]:
    return convert(
        concat(convert(convert(accepted, uint16), bytes2), slice(progress, 2, len(progress) - 2)), Bytes[551]
    )


@view
@internal
def _signer_for(table: Bytes[2550], slot: uint256, replacement: Bytes[72]) -> address:
    """
    @notice The signing key of a live node, whose operator holds no other slot of the table.
    """
    node_id: bytes32 = extract32(replacement, 0)
    epoch: uint256 = extract32(replacement, 32, output_type=uint256) >> 192
    assert epoch <= orders.LOW_16, "registry: not the current epoch"
    signers: DynArray[uint256, 16] = staticcall INodeRegistry(registry).tee_slots([node_id], epoch)
    operator: address = staticcall INodeRegistry(registry).operator_of(node_id)
    for i: uint256 in range((len(table) - orders.TABLE_HEAD) // orders.ROW, bound=16):
        if i != slot:
            other: bytes32 = extract32(table, orders.TABLE_HEAD + orders.ROW * i)
            assert staticcall INodeRegistry(registry).operator_of(other) != operator, "grants: slots are not distinct"
    return convert(signers[0], address)
