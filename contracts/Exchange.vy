# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Exchange
@license Apache-2.0
@notice The life of a request: approval, payment into escrow, recorded delivery, payout or refund. Holds the money of paid
        orders and what was credited. Knows no key and no plaintext, and cannot tell good content from bad.
@custom:spec spec/contracts.md, sections 4, 5, 7 and 8
@custom:stop The governor of the AssetLedger closes it to new requests. Nothing stops refunds, settlement and claims.
"""
from interfaces import IAssetLedger
from interfaces import INodeRegistry
from modules import authority
from modules import deliveries
from modules import events
from modules import node_messages
from modules import order_book
from modules import orders
from modules import payout
from modules import periods
from modules import purse
from modules import verbs

initializes: authority
initializes: deliveries[authority := authority, order_book := order_book]
initializes: order_book
initializes: payout
initializes: purse

exports: (
    authority.domain_separator,
    authority.nonce_used,
    order_book.order,
    order_book.past,
    payout.fees,
    purse.balance_of,
    purse.open_balance,
)


MIN_MARGIN_SECONDS: constant(uint256) = 3_600
MIN_GRACE_SECONDS: constant(uint256) = 86_400

ledger: public(immutable(address))
registry: public(immutable(address))
grants: public(immutable(address))
challenges: public(immutable(address))
development: public(immutable(bool))
margin_seconds: public(immutable(uint256))
grace_seconds: public(immutable(uint256))


@deploy
def __init__(
    asset_ledger: address,
    node_registry: address,
    grants_contract: address,
    challenges_contract: address,
    is_development: bool,
    fee_table: payout.Fees,
    margin: uint256,
    grace: uint256,
):
    authority.__init__()
    payout.__init__(fee_table)
    assert asset_ledger.is_contract and node_registry.is_contract, "exchange: not a contract"
    assert not is_development or chain.id == 31337 or chain.id == 1337, "exchange: not a development chain"
    assert is_development or (
        margin >= MIN_MARGIN_SECONDS and grace >= MIN_GRACE_SECONDS
    ), "exchange: margin or grace is too short"
    ledger = asset_ledger
    registry = node_registry
    grants = grants_contract
    challenges = challenges_contract
    development = is_development
    margin_seconds = margin
    grace_seconds = grace


# Request to payment


@external
def request(
    asset_id: bytes32,
    provider: address,
    offer: IAssetLedger.Offer,
    fetch_signer: address,
    pk_b_sign: uint8,
    pk_b_x: bytes32,
    hybrid_key: bytes32,
    form: bytes32,
    form_length: uint64,
    order_nonce: bytes32,
    authority_: Bytes[1084],
) -> bytes32:
    """
    @notice Opens an order at exactly the present offer of an asset.
    """
    consumer: address = authority._claimed(authority_)
    assert pk_b_sign == 2 or pk_b_sign == 3, "exchange: malformed receiving key"
    assert fetch_signer != empty(address), "exchange: fetch signer is zero"
    order_id: bytes32 = keccak256(
        abi_encode(
            "asset-bridge/order/1",
            chain.id,
            self,
            asset_id,
            consumer,
            orders._pk_b(pk_b_sign, pk_b_x),
            hybrid_key,
            form,
            offer.terms,
            offer.token,
            offer.price,
            order_nonce,
        )
    )
    authority._actor(
        authority_, abi_encode(verbs.REQUEST_TYPE, order_id, fetch_signer, offer.periods, offer.card, form_length)
    )
    assert order_book._words[order_id] == 0, "exchange: order exists"
    assert staticcall IAssetLedger(ledger).quote(asset_id, provider, keccak256(abi_encode(offer)), offer.token)
    terms: orders.Terms = orders.Terms(
        asset_id=asset_id,
        provider=provider,
        consumer=consumer,
        fetch_signer=fetch_signer,
        token=offer.token,
        price=offer.price,
        periods=offer.periods,
        pk_b_sign=pk_b_sign,
        pk_b_x=pk_b_x,
    )
    approve_by: uint256 = block.timestamp + periods._seconds(offer.periods, periods.APPROVE)
    core: uint256 = orders._core(orders._basis(terms, offer.card), empty(bytes32), empty(bytes32))
    order_book._words[order_id] = core | orders._moved(0, orders.REQUESTED, approve_by)
    log events.Requested(
        order_id=order_id,
        provider=provider,
        consumer=consumer,
        asset_id=asset_id,
        offer=offer,
        fetch_signer=fetch_signer,
        pk_b_sign=pk_b_sign,
        pk_b_x=pk_b_x,
        hybrid_key=hybrid_key,
        form=form,
        form_length=form_length,
        order_nonce=order_nonce,
    )
    return order_id


@external
def cancel(order_id: bytes32, terms: orders.Terms, card: bytes32, table_hash: bytes32, authority_: Bytes[1084]):
    """
    @notice The consumer withdraws an order that is not paid.
    """
    status: uint256 = order_book._read(order_id, terms, card, table_hash, empty(bytes32), 1 << orders.REQUESTED | 1 << orders.APPROVED)
    self._only_consumer(terms, authority._actor(authority_, abi_encode(verbs.CANCEL_TYPE, order_id)))
    order_book._set_status(order_id, orders._moved(status, orders.CANCELLED, 0))
    log events.Cancelled(order_id=order_id)


@external
def expire(order_id: bytes32):
    """
    @notice Ends an order that was not approved or not paid in time; anyone may call it.
    """
    status: uint256 = order_book._words[order_id] & orders.LOW_64
    orders._in_state(status, 1 << orders.REQUESTED | 1 << orders.APPROVED)
    assert block.timestamp >= orders._deadline(status), "exchange: deadline is not reached"
    order_book._set_status(order_id, orders._moved(status, orders.EXPIRED, 0))
    log events.Expired(order_id=order_id)


@payable
@external
def pay(
    order_id: bytes32,
    terms: orders.Terms,
    card: bytes32,
    table: Bytes[2550],
    accepts: Bytes[1040],
    permit: Bytes[160],
    authority_: Bytes[1084],
):
    """
    @notice Puts the price into escrow, with the Accept of at least t nodes; those and no others owe the delivery.
    """
    table_hash: bytes32 = orders._table_hash(terms.pk_b_sign, terms.pk_b_x, table)
    basis: bytes32 = orders._basis(terms, card)
    status: uint256 = order_book._read_basis(order_id, basis, table_hash, empty(bytes32), 1 << orders.APPROVED)
    orders._before_deadline(status)
    self._only_consumer(
        terms, authority._actor(authority_, abi_encode(verbs.PAY_TYPE, order_id, terms.token, terms.price, table_hash))
    )
    bitmap: uint256 = 0
    nodes: DynArray[bytes32, 16] = []
    epochs: uint256 = 0
    bitmap, nodes, epochs = node_messages._take_accepts(authority._domain(), order_id, table, accepts)
    deliver_by: uint256 = unsafe_add(block.timestamp, periods._seconds(terms.periods, periods.DELIVER))
    ends_at: uint256 = unsafe_add(block.timestamp, periods._seconds(terms.periods, periods.ACCESS))
    progress: Bytes[7] = concat(
        convert(convert(bitmap, uint16), bytes2), convert(convert(ends_at, uint40), bytes5)
    )
    order_book._words[order_id] = (
        orders._core(basis, table_hash, keccak256(progress))
        | orders._moved(status, orders.PAID, deliver_by)
        | orders.MONEY
    )
    log events.Paid(order_id=order_id, payer=msg.sender, accepted=convert(bitmap, uint16))
    until: uint256 = periods._busy_until(deliver_by, True, terms.periods, grace_seconds, development)
    extcall IAssetLedger(ledger).hold(terms.asset_id, until)
    extcall INodeRegistry(registry).hold(nodes, epochs, until)
    purse._take(terms.token, terms.consumer, terms.price, msg.value, permit)


# Delivery and the way out


@external
def record_delivery(
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
):
    """
    @notice Records that t nodes of one generation re-encrypted for a Fetch of the consumer; anyone may call it, once.
    @param current_table Zero when `table` is the present one, else the digest of the present one.
    @param old_rows      For each receipt whose slot has bit 7 set: the row that stood there before a reseal.
    @param recorder      The account that gets the recorder's fee; zero: the caller.
    """
    deliveries._record(grace_seconds, order_id, terms, card, table, current_table, progress, fetch, receipts, old_rows, recorder)


@external
def accept_receipts(
    order_id: bytes32,
    terms: orders.Terms,
    key_commitment: bytes32,
    credits: Bytes[288],
    table: Bytes[2550],
    current_table: bytes32,
    progress: Bytes[7],
    fetch: Bytes[64],
    receipts: Bytes[2192],
    old_rows: Bytes[2512],
    recorder: bytes32,
    authority_: Bytes[1084],
):
    """
    @notice `record_delivery` and the consumer's acceptance in one call: the price is divided at once.
    """
    self._only_consumer(terms, authority._actor(authority_, abi_encode(verbs.ACCEPT_DELIVERY_TYPE, order_id)))
    card: bytes32 = keccak256(concat(key_commitment, keccak256(credits)))
    delivery: Bytes[551] = deliveries._record(
        grace_seconds, order_id, terms, card, table, current_table, progress, fetch, receipts, old_rows, recorder
    )
    self._settle(order_id, terms, credits, delivery, True)


@external
def settle(
    order_id: bytes32,
    terms: orders.Terms,
    key_commitment: bytes32,
    credits: Bytes[288],
    table_hash: bytes32,
    progress: Bytes[551],
    claim_for: bytes32,
    authority_: Bytes[1084],
):
    """
    @notice Divides the price of a delivered order: at once when the consumer accepts, else when the windows are over.
    """
    card: bytes32 = keccak256(concat(key_commitment, keccak256(credits)))
    status: uint256 = order_book._read(order_id, terms, card, table_hash, keccak256(progress), 1 << orders.DELIVERED)
    self._no_open_challenge(status)
    accepted: bool = block.timestamp < orders._deadline(status)
    actor: address = authority._actor(authority_, abi_encode(verbs.ACCEPT_DELIVERY_TYPE, order_id))
    if accepted:
        self._only_consumer(terms, actor)
    self._settle(order_id, terms, credits, progress, accepted)
    if claim_for != empty(bytes32):
        self._claim(terms.token, claim_for, msg.sender)


@external
def agree_refund(
    order_id: bytes32,
    terms: orders.Terms,
    card: bytes32,
    table_hash: bytes32,
    progress_hash: bytes32,
    provider_authority: Bytes[1084],
    consumer_authority: Bytes[1084],
):
    """
    @notice Provider and consumer agree that the price goes back.
    """
    status: uint256 = order_book._read(order_id, terms, card, table_hash, progress_hash, 1 << orders.PAID | 1 << orders.DELIVERED | 1 << orders.REVOKED)
    self._no_open_challenge(status)
    head: Bytes[640] = abi_encode(verbs.AGREE_REFUND_TYPE, order_id)
    self._only_provider(terms.provider, authority._actor(provider_authority, head))
    self._only_consumer(terms, authority._actor(consumer_authority, head))
    self._refund(order_id, terms, status, True)


@external
def refund(order_id: bytes32, terms: orders.Terms, card: bytes32, table_hash: bytes32, progress_hash: bytes32, claim_now: bool):
    """
    @notice Gives the price back when no delivery was recorded in time; anyone may call it.
    """
    status: uint256 = order_book._read(order_id, terms, card, table_hash, progress_hash, 1 << orders.PAID | 1 << orders.REVOKED)
    assert block.timestamp >= orders._deadline(status) + grace_seconds, "exchange: deadline is not reached"
    self._refund(order_id, terms, status, False)
    if claim_now:
        self._claim(terms.token, convert(terms.consumer, bytes32), msg.sender)


@external
def claim(token: address, account: bytes32, authority_: Bytes[1084]):
    """
    @notice Pays the whole balance of an account to its payee.
    """
    self._claim(token, account, authority._actor(authority_, abi_encode(verbs.CLAIM_TYPE, account, token)))


# Grants and Challenges


@external
def set_order(
    order_id: bytes32,
    basis: bytes32,
    table_hash: bytes32,
    new_table_hash: bytes32,
    progress_hash: bytes32,
    new_progress_hash: bytes32,
    status: uint256,
    replaced: bytes32,
):
    """
    @notice Grants sets table, progress and status of an order, and remembers what it replaced.
    """
    assert msg.sender == grants, "exchange: not the grants contract"
    core: uint256 = orders._core(basis, table_hash, progress_hash)
    assert order_book._words[order_id] & ~orders.LOW_64 == core, "exchange: not this order"
    order_book._words[order_id] = orders._core(basis, new_table_hash, new_progress_hash) | status
    if replaced != empty(bytes32):
        order_book._past[order_id][replaced] = True


@external
def open_challenge(
    order_id: bytes32, terms: orders.Terms, card: bytes32, table_hash: bytes32, progress_hash: bytes32
) -> uint256:
    """
    @notice Holds settlement until the challenge is closed; once an order, inside its window.
    """
    self._only_challenges()
    status: uint256 = order_book._read(order_id, terms, card, table_hash, progress_hash, 1 << orders.DELIVERED)
    orders._before_deadline(status)
    assert status & orders.CHALLENGED == 0, "exchange: order was challenged"
    answer_by: uint256 = block.timestamp + periods._seconds(terms.periods, periods.ANSWER)
    order_book._set_status(
        order_id,
        orders._moved(status | orders.CHALLENGED, orders.DELIVERED, max(orders._deadline(status), answer_by)),
    )
    log events.ChallengeOpened(order_id=order_id, answer_by=answer_by)
    return answer_by


@external
def close_challenge(
    order_id: bytes32, terms: orders.Terms, card: bytes32, table_hash: bytes32, progress_hash: bytes32, met: bool
):
    """
    @notice Ends a challenge: met, the window goes on; unmet, the price goes back.
    """
    self._only_challenges()
    status: uint256 = order_book._read(order_id, terms, card, table_hash, progress_hash, 1 << orders.DELIVERED)
    assert status & (orders.CHALLENGED | orders.ANSWERED) == orders.CHALLENGED, "exchange: no open challenge"
    log events.ChallengeClosed(order_id=order_id, met=met)
    if met:
        order_book._set_status(order_id, status | orders.ANSWERED)
    else:
        self._refund(order_id, terms, status, False)


# Internal


@view
@internal
def _no_open_challenge(status: uint256):
    assert status & (orders.CHALLENGED | orders.ANSWERED) != orders.CHALLENGED, "exchange: challenge is open"


@view
@internal
def _only_provider(provider: address, actor: address):
    assert actor == staticcall IAssetLedger(ledger).owner_of(provider), "exchange: not the provider"


@view
@internal
def _only_consumer(terms: orders.Terms, actor: address):
    assert actor == terms.consumer, "exchange: not the consumer"


@view
@internal
def _only_challenges():
    assert msg.sender == challenges, "exchange: not the challenges contract"


@internal
def _refund(order_id: bytes32, terms: orders.Terms, status: uint256, agreed: bool):
    assert status & orders.MONEY != 0, "exchange: order is not paid"
    order_book._set_status(order_id, orders._moved(status, orders.REFUNDED, 0))
    purse._credit(terms.token, convert(terms.consumer, bytes32), terms.price)
    log events.Refunded(order_id=order_id, amount=terms.price, agreed=agreed)


@internal
def _settle(order_id: bytes32, terms: orders.Terms, credits: Bytes[288], progress: Bytes[551], accepted: bool):
    """
    @notice Ends a delivered order and credits the parts of its price, which together never pass it; the provider gets what is left.
    @param credits  Light node and storage nodes of the listing's receipt.
    @param progress Accepted, end of access, recorder and the nodes of the recorded receipts.
    """
    order_book._set_status(order_id, orders._moved(order_book._words[order_id] & orders.LOW_64, orders.SETTLED, 0))
    log events.Settled(order_id=order_id, accepted=accepted)
    left: uint256 = terms.price
    tee_each: uint256 = 0
    storage_each: uint256 = 0
    recorder_part: uint256 = 0
    light_part: uint256 = 0
    tee_each, recorder_part, light_part, storage_each = payout._parts(
        terms.price, unsafe_sub(len(progress), orders.PROGRESS_HEAD) // 32 - 1, len(credits) // 32 - 1
    )
    part: uint256 = recorder_part
    at: uint256 = orders.PROGRESS_HEAD
    for i: uint256 in range(17):
        if at == len(progress):
            break
        left = unsafe_sub(left, part)
        purse._credit(terms.token, extract32(progress, at), part)
        part = tee_each
        at = unsafe_add(at, 32)
    part = light_part
    at = 0
    for i: uint256 in range(9):
        if at == len(credits):
            break
        left = unsafe_sub(left, part)
        purse._credit(terms.token, extract32(credits, at), part)
        part = storage_each
        at = unsafe_add(at, 32)
    purse._credit(terms.token, convert(terms.provider, bytes32), left)


@internal
def _claim(token: address, account: bytes32, actor: address):
    payee: address = empty(address)
    if convert(account, uint256) >> 160 == 0:
        # An address; a node_id is a digest, which does not begin with twelve zeros.
        owner: address = convert(convert(account, uint160), address)
        payee = staticcall IAssetLedger(ledger).payee_of(owner)
        assert actor == staticcall IAssetLedger(ledger).owner_of(owner), "exchange: not the account's owner"
    else:
        payee = staticcall INodeRegistry(registry).operator_of(account)
        assert actor == payee, "exchange: not the node's operator"
    purse._pay_out(token, account, payee)
