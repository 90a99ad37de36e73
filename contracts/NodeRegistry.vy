# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Node registry
@license Apache-2.0
@notice Light, TEE and storage nodes: operator, endpoint, epochs with signing key and evidence digest, and stake. Holds
        stakes and nothing of an order. Does not judge evidence: whoever relies on a node verifies it off chain.
@custom:spec spec/contracts.md, section 5
@custom:stop The governor removes a measurement or a vendor at once; an operator withdraws a node when its windows are over.
"""
from interfaces import IExchange
from modules import authority
from modules import governed
from modules import measurements
from modules import node_events

initializes: authority
initializes: governed
initializes: measurements[governed := governed]

exports: (
    authority.domain_separator,
    authority.nonce_used,
    governed.governor,
    governed.pending_governor,
    governed.development,
    governed.delay_seconds,
    governed.exchange_active_at,
    governed.propose_governor,
    governed.accept_governor,
    governed.list_exchange,
    measurements.vendor_active_at,
    measurements.measurement_active_at,
    measurements.list_vendor,
    measurements.remove_vendor,
    measurements.list_measurement,
    measurements.remove_measurement,
)

struct MeasurementEntry:
    vendor: uint8
    measurement: bytes32


struct Epoch:
    endpoint: bytes32
    endpoint_length: uint64
    signing_key: address
    vendor: uint8
    measurement: bytes32
    platform: bytes32
    evidence: bytes32
    expires_at: uint64


struct NodeView:
    operator: address
    kind: uint8
    epoch: uint64
    signing_key: address
    vendor: uint8
    measurement: bytes32
    expires_at: uint64
    busy_until: uint64
    stake: uint256
    withdrawn: bool
    live: bool


# `live`: signing key(160), epoch(14), class(10), tag(8), expires_at(32), busy_until(32): all that `approve` and `pay` read of
# a node is one word. The tag is the operator's low byte: where two differ, so do the operators. Class 1,023: a light node.
# `owner`: operator(160), kind(8), vendor(8), withdrawn(1).
struct NodeWords:
    live: uint256
    owner: uint256
    stake: uint256
    measurement: bytes32


LIGHT: constant(uint8) = 1
TEE: constant(uint8) = 2
STORAGE: constant(uint8) = 3
MAX_NODES: constant(uint256) = 16

REGISTER_TYPE: constant(bytes32) = keccak256("Register(bytes32 node,uint8 kind,bytes32 epoch,uint256 nonce,uint64 deadline)")
RENEW_TYPE: constant(bytes32) = keccak256("Renew(bytes32 node,uint64 number,bytes32 epoch,uint256 nonce,uint64 deadline)")

LOW_8: constant(uint256) = 2**8 - 1
LOW_10: constant(uint256) = 2**10 - 1
LOW_14: constant(uint256) = 2**14 - 1
LOW_16: constant(uint256) = 2**16 - 1
EPOCH_AT: constant(uint256) = 160
CLASS_AT: constant(uint256) = 174
TAG_AT: constant(uint256) = 184
EXPIRES_AT: constant(uint256) = 192
BUSY_AT: constant(uint256) = 224
LIGHT_CLASS: constant(uint256) = LOW_10
LOW_32: constant(uint256) = 2**32 - 1
LOW_160: constant(uint256) = 2**160 - 1
LOW_224: constant(uint256) = 2**224 - 1
WITHDRAWN: constant(uint256) = 1 << 176

minimum_stake: public(immutable(uint256))

claimable: public(HashMap[address, uint256])
_nodes: HashMap[bytes32, NodeWords]
_past_keys: HashMap[bytes32, HashMap[uint256, address]]


@deploy
def __init__(
    first_governor: address,
    is_development: bool,
    least_stake: uint256,
    addition_delay_seconds: uint256,
    vendors: DynArray[uint8, 16],
    entries: DynArray[MeasurementEntry, 16],
):
    authority.__init__()
    governed.__init__(first_governor, is_development, addition_delay_seconds)
    minimum_stake = least_stake
    for vendor: uint8 in vendors:
        measurements._list_vendor(vendor, block.timestamp)
    for entry: MeasurementEntry in entries:
        measurements._list_measurement(entry.vendor, entry.measurement, block.timestamp)


# Operators


@external
@payable
def register(salt: bytes32, kind: uint8, epoch: Epoch, authority_: Bytes[1084]) -> bytes32:
    """
    @notice Registers a node with its stake and first epoch; the acting account becomes its operator.
    @return node_id, the digest of operator and salt.
    """
    operator: address = authority._claimed(authority_)
    node_id: bytes32 = keccak256(abi_encode(operator, salt))
    authority._actor(
        authority_, abi_encode(REGISTER_TYPE, node_id, convert(kind, uint256), keccak256(abi_encode(epoch)))
    )
    assert kind >= LIGHT and kind <= STORAGE, "registry: unknown kind"
    assert self._nodes[node_id].owner == 0, "registry: node exists"
    assert msg.value >= minimum_stake, "registry: stake is too small"
    self._nodes[node_id].owner = convert(operator, uint256) | convert(kind, uint256) << 160
    self._nodes[node_id].stake = msg.value
    log node_events.NodeRegistered(node_id=node_id, operator=operator, kind=kind, salt=salt, stake=msg.value)
    self._start_epoch(node_id, kind, 1, epoch)
    return node_id


@external
def renew(node_id: bytes32, epoch: Epoch, authority_: Bytes[1084]):
    """
    @notice Fresh evidence, endpoint and expiry. The signing key of the current epoch keeps its number, so that the slots
            given to it live on; another key starts the next epoch, and the key of the one before stays readable.
    """
    words: NodeWords = self._nodes[node_id]
    past: uint256 = words.live >> EPOCH_AT & LOW_14
    number: uint256 = past
    if words.live & LOW_160 != convert(epoch.signing_key, uint256):
        number += 1
    self._only_operator(words.owner, authority._actor(authority_, abi_encode(RENEW_TYPE, node_id, number, keccak256(abi_encode(epoch)))))
    assert words.stake >= minimum_stake, "registry: stake is too small"
    if number != past:
        self._past_keys[node_id][past] = convert(words.live & LOW_160, address)
    self._start_epoch(node_id, convert(words.owner >> 160 & 255, uint8), number, epoch)


@external
def refresh(node_id: bytes32):
    """
    @notice Takes up a measurement that was listed after the node's epoch began.
    """
    words: NodeWords = self._nodes[node_id]
    assert words.owner >> 160 & 255 == convert(TEE, uint256), "registry: not a tee node"
    group: uint256 = measurements._class_of[convert(words.owner >> 168 & 255, uint8)][words.measurement]
    self._nodes[node_id].live = words.live & ~(LOW_10 << CLASS_AT) | group << CLASS_AT
    log node_events.Refreshed(node_id=node_id, epoch=convert(words.live >> EPOCH_AT & LOW_14, uint64))


@external
@payable
def add_stake(node_id: bytes32):
    """
    @notice Adds the value to a node's stake.
    """
    owner: uint256 = self._nodes[node_id].owner
    assert owner != 0 and owner & WITHDRAWN == 0, "registry: no such node"
    self._nodes[node_id].stake += msg.value
    log node_events.StakeAdded(node_id=node_id, amount=msg.value)


@external
def withdraw(node_id: bytes32):
    """
    @notice Ends a node for ever and pays its stake to the operator, once every window that it guarantees is over.
    """
    words: NodeWords = self._nodes[node_id]
    self._only_operator(words.owner, msg.sender)
    assert words.live >> BUSY_AT <= block.timestamp, "registry: node is busy"
    # Expiry zero: a withdrawn node is never live again.
    self._nodes[node_id].live = words.live & ~(LOW_32 << EXPIRES_AT)
    self._nodes[node_id].owner = words.owner | WITHDRAWN
    self._nodes[node_id].stake = 0
    log node_events.NodeWithdrawn(node_id=node_id, amount=words.stake)
    self._send(convert(words.owner & LOW_160, address), words.stake)


@external
def collect(beneficiary: address):
    """
    @notice Pays slashed stake out to the account it was given to.
    """
    amount: uint256 = self.claimable[beneficiary]
    assert amount != 0, "registry: nothing to collect"
    self.claimable[beneficiary] = 0
    log node_events.Collected(beneficiary=beneficiary, amount=amount)
    self._send(beneficiary, amount)


# Exchanges


@external
def hold(nodes: DynArray[bytes32, MAX_NODES], epochs: uint256, until: uint256):
    """
    @notice Keeps the stakes of live TEE nodes, at these epochs, until the last window that an order gives them is over.
    @param epochs 16 bits each, the first one lowest.
    """
    governed._check_exchange(msg.sender)
    self._hold(nodes, epochs, until)


@external
def hold_for(
    exchange: address, nodes: DynArray[bytes32, MAX_NODES], epochs: uint256, until: uint256
):
    """
    @notice As `hold`, for the Grants contract of a listed Exchange.
    """
    governed._check_exchange(exchange)
    assert msg.sender == staticcall IExchange(exchange).grants(), "registry: not the exchange's grants contract"
    self._hold(nodes, epochs, until)


@external
def slash(exchange: address, nodes: DynArray[bytes32, MAX_NODES], amount_each: uint256, beneficiary: address):
    """
    @notice For the Challenges contract of a listed Exchange: takes up to `amount_each` from each node's stake. A node left
            with too little is not live until it renews.
    """
    governed._check_exchange(exchange)
    assert msg.sender == staticcall IExchange(exchange).challenges(), "registry: not the exchange's challenges contract"
    for node_id: bytes32 in nodes:
        stake: uint256 = self._nodes[node_id].stake
        amount: uint256 = min(stake, amount_each)
        self._nodes[node_id].stake = stake - amount
        if stake - amount < minimum_stake:
            self._nodes[node_id].live &= ~(LOW_32 << EXPIRES_AT)
        self.claimable[beneficiary] += amount
        log node_events.Slashed(node_id=node_id, exchange=exchange, beneficiary=beneficiary, amount=amount)


@view
@external
@reentrant
def tee_slots(nodes: DynArray[bytes32, MAX_NODES], epochs: uint256) -> DynArray[uint256, MAX_NODES]:
    """
    @notice Signing addresses of live TEE nodes of distinct operators; reverts unless each is live at its epoch.
    @param epochs 16 bits each, the first one lowest.
    """
    signers: DynArray[uint256, MAX_NODES] = []
    seen: uint256 = 0
    ahead: uint256 = epochs
    checked: uint256 = 0
    for node_id: bytes32 in nodes:
        live: uint256 = self._nodes[node_id].live
        group: uint256 = live >> CLASS_AT & LOW_10
        assert live >> EPOCH_AT & LOW_14 == ahead & LOW_16, "registry: not the current epoch"
        assert live >> EXPIRES_AT & LOW_32 > block.timestamp, "registry: epoch has expired"
        if group != checked or group == 0:
            assert measurements._class_is_active(group), "registry: measurement is not listed"
            checked = group
        bit: uint256 = 1 << (live >> TAG_AT & LOW_8)
        if seen & bit != 0:
            self._check_operator(nodes, len(signers))
        seen |= bit
        signers.append(live & LOW_160)
        ahead >>= 16
    return signers


@view
@external
@reentrant
def light_key(node_id: bytes32, epoch: uint64) -> address:
    """
    @notice The signing key of a live light node; reverts unless it is live at `epoch`.
    """
    live: uint256 = self._nodes[node_id].live
    assert live >> CLASS_AT & LOW_10 == LIGHT_CLASS, "registry: not a light node"
    assert live >> EXPIRES_AT & LOW_32 > block.timestamp, "registry: epoch has expired"
    assert live >> EPOCH_AT & LOW_14 == convert(epoch, uint256), "registry: not the current epoch"
    return convert(live & LOW_160, address)


# Governor


@external
def remove_exchange(exchange: address):
    """
    @notice Removes an Exchange at once: it can neither hold nor slash.
    """
    governed._only_governor()
    governed._exchanges[exchange] = 0
    log node_events.ExchangeRemoved(exchange=exchange)


# Views


@view
@external
@reentrant
def node(node_id: bytes32) -> NodeView:
    """
    @notice All that is stored of a node; operator zero when there is none.
    """
    words: NodeWords = self._nodes[node_id]
    return NodeView(
        operator=convert(words.owner & LOW_160, address),
        kind=convert(words.owner >> 160 & 255, uint8),
        epoch=convert(words.live >> EPOCH_AT & LOW_14, uint64),
        signing_key=convert(words.live & LOW_160, address),
        vendor=convert(words.owner >> 168 & 255, uint8),
        measurement=words.measurement,
        expires_at=convert(words.live >> EXPIRES_AT & LOW_32, uint64),
        busy_until=convert(words.live >> BUSY_AT, uint64),
        stake=words.stake,
        withdrawn=words.owner & WITHDRAWN != 0,
        live=self._is_live(words),
    )


@view
@external
@reentrant
def is_live(node_id: bytes32) -> bool:
    """
    @notice Whether the node's epoch has not expired and, for a TEE node, its vendor and measurement are listed.
    """
    return self._is_live(self._nodes[node_id])


@view
@external
@reentrant
def operator_of(node_id: bytes32) -> address:
    """
    @notice The operator of a node, zero when there is none; a withdrawn node keeps its operator.
    """
    return convert(self._nodes[node_id].owner & LOW_160, address)


@view
@external
@reentrant
def signing_key(node_id: bytes32, epoch: uint64) -> address:
    """
    @notice The signing key of any epoch that the node has had, zero when there was none.
    """
    live: uint256 = self._nodes[node_id].live
    if live >> EPOCH_AT & LOW_14 == convert(epoch, uint256):
        return convert(live & LOW_160, address)
    return self._past_keys[node_id][convert(epoch, uint256)]


# Internal


@internal
def _hold(nodes: DynArray[bytes32, MAX_NODES], epochs: uint256, until: uint256):
    ahead: uint256 = epochs
    checked: uint256 = 0
    for node_id: bytes32 in nodes:
        live: uint256 = self._nodes[node_id].live
        group: uint256 = live >> CLASS_AT & LOW_10
        assert live >> EPOCH_AT & LOW_14 == ahead & LOW_16, "registry: not the current epoch"
        assert live >> EXPIRES_AT & LOW_32 > block.timestamp, "registry: epoch has expired"
        if group != checked or group == 0:
            assert measurements._class_is_active(group), "registry: measurement is not listed"
            checked = group
        if live >> BUSY_AT < until:
            assert until <= LOW_32, "registry: time is too large"
            self._nodes[node_id].live = live & LOW_224 | until << BUSY_AT
        ahead >>= 16


@view
@internal
def _check_operator(nodes: DynArray[bytes32, MAX_NODES], last: uint256):
    """
    @notice Reverts if a node before `last` has its operator: asked where two tags are equal.
    """
    operator: uint256 = self._nodes[nodes[last]].owner & LOW_160
    for i: uint256 in range(last, bound=MAX_NODES):
        assert self._nodes[nodes[i]].owner & LOW_160 != operator, "registry: operators are not distinct"


@internal
def _start_epoch(node_id: bytes32, kind: uint8, number: uint256, epoch: Epoch):
    assert epoch.signing_key != empty(address), "registry: signing key is zero"
    assert number <= LOW_14, "registry: too many epochs"
    expires_at: uint256 = convert(epoch.expires_at, uint256)
    assert expires_at > block.timestamp and expires_at <= LOW_32, "registry: expiry is out of range"
    group: uint256 = 0
    if kind == TEE:
        measurements._check_vendor(epoch.vendor)
        group = measurements._class_of[epoch.vendor][epoch.measurement]
    else:
        assert epoch.vendor == 0 and epoch.measurement == empty(bytes32), "registry: only tee nodes have evidence"
        if kind == LIGHT:
            group = LIGHT_CLASS
    busy_until: uint256 = self._nodes[node_id].live >> BUSY_AT
    owner: uint256 = self._nodes[node_id].owner
    self._nodes[node_id].live = (
        convert(epoch.signing_key, uint256)
        | number << EPOCH_AT
        | group << CLASS_AT
        | (owner & LOW_8) << TAG_AT
        | expires_at << EXPIRES_AT
        | busy_until << BUSY_AT
    )
    self._nodes[node_id].owner = owner & ~(255 << 168) | convert(epoch.vendor, uint256) << 168
    self._nodes[node_id].measurement = epoch.measurement
    log node_events.EpochStarted(
        node_id=node_id,
        epoch=convert(number, uint64),
        endpoint=epoch.endpoint,
        endpoint_length=epoch.endpoint_length,
        signing_key=epoch.signing_key,
        vendor=epoch.vendor,
        measurement=epoch.measurement,
        platform=epoch.platform,
        evidence=epoch.evidence,
        expires_at=epoch.expires_at,
    )


@view
@internal
def _is_live(words: NodeWords) -> bool:
    if words.live >> EXPIRES_AT & LOW_32 <= block.timestamp:
        return False
    return words.owner >> 160 & 255 != convert(TEE, uint256) or measurements._class_is_active(words.live >> CLASS_AT & LOW_10)


@view
@internal
def _only_operator(owner: uint256, account: address):
    assert owner & LOW_160 == convert(account, uint256) and owner != 0, "registry: not the operator"
    assert owner & WITHDRAWN == 0, "registry: node is withdrawn"


@internal
def _send(receiver: address, amount: uint256):
    success: bool = raw_call(receiver, b"", value=amount, revert_on_failure=False)
    assert success, "registry: transfer failed"
