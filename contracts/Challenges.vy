# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Challenges
@license Apache-2.0
@notice A consumer who paid and cannot open for lack of valid fragments challenges the order, with a bond. Anyone meets the
        challenge by posting t fragments whose proofs hold; else the price goes back and the nodes that owed an answer lose a
        deposit. A node whose receipt names another fragment than the true one loses its stake. Cannot judge content.
@custom:spec spec/contracts.md, sections 5, 7 and 12
@custom:stop Nobody can stop it. Where the registry has removed the Exchange, challenges end without loss of deposits.
"""
from interfaces import IExchange
from interfaces import INodeRegistry
from interfaces import IReencryptionVerifier
from modules import authority
from modules import node_messages
from modules import orders
from modules import shares
from modules import signatures

initializes: authority

exports: (
    authority.domain_separator,
    authority.nonce_used,
)

interface ExchangeDoors:
    def open_challenge(
        order_id: bytes32, terms: orders.Terms, card: bytes32, table_hash: bytes32, progress_hash: bytes32
    ) -> uint256: nonpayable
    def close_challenge(
        order_id: bytes32, terms: orders.Terms, card: bytes32, table_hash: bytes32, progress_hash: bytes32, met: bool
    ): nonpayable


struct Challenge:
    challenger: address
    bond: uint256
    answer_by: uint64
    answered: uint16
    met: bool


event Challenged:
    order_id: indexed(bytes32)
    bond: uint256
    answer_by: uint256


event Answered:
    order_id: indexed(bytes32)
    slot: uint8
    account: address
    reward: uint256
    proof: Bytes[482]


event Failed:
    order_id: indexed(bytes32)


event Contradicted:
    order_id: indexed(bytes32)
    node_id: indexed(bytes32)


event Withdrawn:
    account: indexed(address)
    amount: uint256


CHALLENGE_TYPE: constant(bytes32) = keccak256("Challenge(bytes32 order,uint256 nonce,uint64 deadline)")
# What posting one fragment costs at most; a bond pays for it at twice the base fee.
ANSWER_GAS: constant(uint256) = 120_000
# slot(1), proof(482).
ENTRY: constant(uint256) = 483
PROOF: constant(uint256) = 482
MAX_ENTRIES: constant(uint256) = 8
OPEN: constant(uint256) = 1
MET: constant(uint256) = 2
FAILED: constant(uint256) = 3
LOW_232: constant(uint256) = 2**232 - 1

exchange: public(immutable(address))
registry: public(immutable(address))
verifier: public(immutable(address))
liveness_deposit: public(immutable(uint256))

# challenger(160), answer_by(32), answered(16), generation(8), count(8), threshold(8), state(8).
_words: HashMap[bytes32, uint256]
_bonds: HashMap[bytes32, uint256]
_contradicted: HashMap[bytes32, HashMap[bytes32, bool]]
_withdrawable: HashMap[address, uint256]


@deploy
def __init__(exchange_contract: address, verifier_contract: address, deposit: uint256):
    authority.__init__()
    assert staticcall IExchange(exchange_contract).challenges() == self, "challenges: exchange names another contract"
    assert verifier_contract.is_contract, "challenges: not a contract"
    exchange = exchange_contract
    registry = staticcall IExchange(exchange_contract).registry()
    verifier = verifier_contract
    liveness_deposit = deposit


@payable
@external
def challenge(
    order_id: bytes32,
    terms: orders.Terms,
    card: bytes32,
    table: Bytes[2550],
    progress_hash: bytes32,
    authority_: Bytes[1084],
):
    """
    @notice The consumer says that he cannot open for lack of valid fragments; the value of the call is the bond.
    """
    actor: address = authority._actor(authority_, abi_encode(CHALLENGE_TYPE, order_id))
    assert actor == terms.consumer, "challenges: not the consumer"
    answer_by: uint256 = extcall ExchangeDoors(exchange).open_challenge(
        order_id, terms, card, orders._table_hash(terms.pk_b_sign, terms.pk_b_x, table), progress_hash
    )
    assert msg.value >= self._bond_of(orders._threshold(table)), "challenges: bond is too small"
    self._words[order_id] = (
        convert(actor, uint256) | answer_by << 160 | orders._generation(table) << 208 | orders._threshold(table) << 224 | OPEN << 232
    )
    self._bonds[order_id] = msg.value
    log Challenged(order_id=order_id, bond=msg.value, answer_by=answer_by)


@external
def answer(
    order_id: bytes32,
    terms: orders.Terms,
    parts: shares.KeyParts,
    capsule: Bytes[98],
    table: Bytes[2550],
    current_table: bytes32,
    progress_hash: bytes32,
    proofs: Bytes[4096],
    account: address,
):
    """
    @notice Posts fragments of the challenged generation; each new one earns its part of the bond, and t of them meet it.
    @param current_table Zero when `table` is the present one, else the digest of the present one.
    @param proofs        Up to eight times slot(1), proof(482). A slot that was answered before is passed over.
    @param account       Who is rewarded; zero: the caller.
    """
    word: uint256 = self._words[order_id]
    assert word >> 232 == OPEN, "challenges: no open challenge"
    assert block.timestamp < word >> 160 & orders.LOW_32, "challenges: deadline has passed"
    assert orders._generation(table) == word >> 208 & 255, "challenges: another generation was challenged"
    card: bytes32 = shares._card(parts)
    table_hash: bytes32 = self._check_order(order_id, terms, card, table, current_table, progress_hash)
    count: uint256 = len(proofs) // ENTRY
    assert len(proofs) == count * ENTRY and len(capsule) == 98, "challenges: wrong length"
    receiver: address = account
    if receiver == empty(address):
        receiver = msg.sender
    threshold: uint256 = orders._threshold(table)
    bond: uint256 = self._bonds[order_id]
    given: uint256 = word >> 216 & 255
    before: uint256 = given
    bitmap: uint256 = word >> 192 & orders.LOW_16
    earned: uint256 = 0
    for i: uint256 in range(count, bound=MAX_ENTRIES):
        slot: uint256 = extract32(proofs, i * ENTRY, output_type=uint256) >> 248
        row: Bytes[157] = orders._row(table, slot)
        if given == threshold or bitmap >> slot & 1 == 1:
            continue
        proof: Bytes[482] = slice(proofs, i * ENTRY + 1, PROOF)
        assert self._verified(terms, parts, capsule, table, row, proof), "challenges: proof does not hold"
        bitmap |= 1 << slot
        given += 1
        # What the division leaves goes with the last one.
        reward: uint256 = bond // threshold
        if given == threshold:
            reward = bond - reward * (threshold - 1)
        earned += reward
        log Answered(order_id=order_id, slot=convert(slot, uint8), account=receiver, reward=reward, proof=proof)
    assert given != before, "challenges: nothing new"
    word = word & ~(orders.LOW_16 << 192 | 255 << 216) | bitmap << 192 | given << 216
    self._withdrawable[receiver] += earned
    if given != threshold:
        self._words[order_id] = word
    else:
        self._words[order_id] = word & LOW_232 | MET << 232
        extcall ExchangeDoors(exchange).close_challenge(order_id, terms, card, table_hash, progress_hash, True)


@external
def close(order_id: bytes32, terms: orders.Terms, card: bytes32, table: Bytes[2550], progress: Bytes[551]):
    """
    @notice Ends a challenge that was not met in time: price and what is left of the bond go back, and nodes that owed an
            answer lose the liveness deposit to the challenger.
    """
    word: uint256 = self._words[order_id]
    assert word >> 232 == OPEN, "challenges: no open challenge"
    assert block.timestamp >= word >> 160 & orders.LOW_32, "challenges: deadline is not reached"
    challenger: address = convert(word & (2**160 - 1), address)
    status: uint256 = self._status(order_id)
    bond: uint256 = self._bonds[order_id]
    self._words[order_id] = word & LOW_232 | FAILED << 232
    self._withdrawable[challenger] += bond - bond // (word >> 224 & 255) * (word >> 216 & 255)
    log Failed(order_id=order_id)
    extcall ExchangeDoors(exchange).close_challenge(
        order_id, terms, card, orders._table_hash(terms.pk_b_sign, terms.pk_b_x, table), keccak256(progress), False
    )
    if orders._generation(table) == word >> 208 & 255:
        owing: DynArray[bytes32, 16] = self._owing(table, progress, word >> 192 & orders.LOW_16, status)
        # A removed Exchange cannot take deposits; the price goes back all the same.
        active_at: uint256 = staticcall INodeRegistry(registry).exchange_active_at(exchange)
        if active_at != 0 and active_at <= block.timestamp:
            extcall INodeRegistry(registry).slash(exchange, owing, liveness_deposit, challenger)


@external
def contradict(
    order_id: bytes32,
    terms: orders.Terms,
    parts: shares.KeyParts,
    capsule: Bytes[98],
    table: Bytes[2550],
    current_table: bytes32,
    progress_hash: bytes32,
    old_row: Bytes[157],
    fetch: Bytes[64],
    receipt: Bytes[137],
    proof: Bytes[1024],
    beneficiary: address,
):
    """
    @notice Shows a node's receipt beside a proof of another fragment for the same slot: only one fragment has a proof, so
            the receipt is false. The node's stake goes in halves to the consumer and to `beneficiary`; once for each order.
    """
    self._check_order(order_id, terms, shares._card(parts), table, current_table, progress_hash)
    assert len(fetch) == 64 and len(receipt) == 137 and len(proof) == PROOF and len(capsule) == 98, "challenges: wrong length"
    slot: uint256 = extract32(receipt, 0, output_type=uint256) >> 248 & 127
    row: Bytes[157] = orders._row(table, slot)
    generation: uint256 = orders._generation(table)
    if len(old_row) != 0:
        assert staticcall IExchange(exchange).past(order_id, orders._row_hash(generation, slot, old_row)), "challenges: not a row of this order"
        row = old_row
    domain: bytes32 = staticcall IExchange(exchange).domain_separator()
    fetch_digest: bytes32 = node_messages._fetch_digest(domain, order_id, generation)
    assert terms.fetch_signer == signatures._recover(
        fetch_digest, extract32(fetch, 0, output_type=uint256), extract32(fetch, 32, output_type=uint256)
    ), "challenges: fetch is not the consumer's"
    node_messages._check_receipt(
        domain,
        order_id,
        generation,
        slot,
        extract32(row, 0),
        extract32(row, 32, output_type=uint256),
        extract32(row, 60),
        fetch_digest,
        extract32(receipt, 1),
        extract32(receipt, 33, output_type=uint256) >> 192,
        extract32(receipt, 41),
        extract32(receipt, 73, output_type=uint256),
        extract32(receipt, 105, output_type=uint256),
    )
    assert self._verified(terms, parts, capsule, table, row, slice(proof, 0, PROOF)), "challenges: proof does not hold"
    shown: bytes32 = keccak256(concat(extract32(row, 60), slice(proof, 0, 66)))
    assert shown != extract32(receipt, 1), "challenges: receipt is true"
    node_id: bytes32 = extract32(row, 0)
    assert not self._contradicted[order_id][node_id], "challenges: node was contradicted"
    self._contradicted[order_id][node_id] = True
    log Contradicted(order_id=order_id, node_id=node_id)
    # Half to the consumer: a node that reports itself must not get its stake out early.
    half: uint256 = (staticcall INodeRegistry(registry).node(node_id)).stake // 2
    extcall INodeRegistry(registry).slash(exchange, [node_id], half, beneficiary)
    extcall INodeRegistry(registry).slash(exchange, [node_id], max_value(uint256), terms.consumer)


@external
def withdraw(account: address):
    """
    @notice Pays rewards and returned bonds out to the account they belong to; anyone may call it.
    """
    amount: uint256 = self._withdrawable[account]
    assert amount != 0, "challenges: nothing to withdraw"
    self._withdrawable[account] = 0
    log Withdrawn(account=account, amount=amount)
    success: bool = raw_call(account, b"", value=amount, revert_on_failure=False)
    assert success, "challenges: transfer failed"


# Views


@view
@external
def bond_of(threshold: uint8) -> uint256:
    """
    @notice The least bond at the present base fee.
    """
    return self._bond_of(convert(threshold, uint256))


@view
@external
@reentrant
def challenge_of(order_id: bytes32) -> Challenge:
    """
    @notice The challenge of an order; challenger zero when there was none.
    """
    word: uint256 = self._words[order_id]
    return Challenge(
        challenger=convert(word & (2**160 - 1), address),
        bond=self._bonds[order_id],
        answer_by=convert(word >> 160 & orders.LOW_32, uint64),
        answered=convert(word >> 192 & orders.LOW_16, uint16),
        met=word >> 232 == MET,
    )


@view
@external
@reentrant
def withdrawable(account: address) -> uint256:
    """
    @notice What `account` can withdraw.
    """
    return self._withdrawable[account]


# Internal


@view
@internal
def _bond_of(threshold: uint256) -> uint256:
    return threshold * ANSWER_GAS * 2 * block.basefee


@view
@internal
def _status(order_id: bytes32) -> uint256:
    core: bytes32 = empty(bytes32)
    status: uint256 = 0
    core, status = staticcall IExchange(exchange).order(order_id)
    return status


@view
@internal
def _check_order(
    order_id: bytes32,
    terms: orders.Terms,
    card: bytes32,
    table: Bytes[2550],
    current_table: bytes32,
    progress_hash: bytes32,
) -> bytes32:
    """
    @notice Reverts unless these are a paid order's preimages.
    @return The digest of its present table.
    """
    table_hash: bytes32 = orders._table_hash(terms.pk_b_sign, terms.pk_b_x, table)
    if current_table != empty(bytes32):
        assert staticcall IExchange(exchange).past(order_id, table_hash), "challenges: not a table of this order"
        table_hash = current_table
    core: bytes32 = empty(bytes32)
    status: uint256 = 0
    core, status = staticcall IExchange(exchange).order(order_id)
    assert convert(core, uint256) == orders._core(orders._basis(terms, card), table_hash, progress_hash), "exchange: not this order"
    assert status & orders.MONEY != 0, "challenges: order is not paid"
    return table_hash


@view
@internal
def _verified(
    terms: orders.Terms,
    parts: shares.KeyParts,
    capsule: Bytes[98],
    table: Bytes[2550],
    row: Bytes[157],
    proof: Bytes[482],
) -> bool:
    assert keccak256(slice(capsule, 0, 66)) == parts.points, "challenges: not the asset's capsule"
    return staticcall IReencryptionVerifier(verifier).verify(
        capsule,
        orders._pk_b(parts.pk_a_sign, parts.pk_a_x),
        parts.signer,
        orders._pk_b(terms.pk_b_sign, terms.pk_b_x),
        extract32(row, 60),
        slice(row, 92, 33),
        slice(table, 5, 33),
        proof,
    )


@pure
@internal
def _owing(table: Bytes[2550], progress: Bytes[551], answered: uint256, status: uint256) -> DynArray[bytes32, 16]:
    """
    @notice The nodes that accepted and did not answer. After a revocation a node makes no fragment any more, so that only
            those with a recorded receipt still owe the one they made.
    """
    accepted: uint256 = convert(slice(progress, 0, 2), uint256)
    recorded: uint256 = (len(progress) - orders.PROGRESS_HEAD) // 32
    owing: DynArray[bytes32, 16] = []
    for slot: uint256 in range(16):
        if accepted >> slot & 1 == 0 or answered >> slot & 1 == 1:
            continue
        node_id: bytes32 = extract32(orders._row(table, slot), 0)
        owes: bool = status & orders.SERVING_STOPPED == 0
        for i: uint256 in range(1, recorded, bound=16):
            if extract32(progress, orders.PROGRESS_HEAD + 32 * i) == node_id:
                owes = True
        if owes:
            owing.append(node_id)
    return owing
