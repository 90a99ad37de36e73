# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Asset ledger
@license Apache-2.0
@notice Which sealed asset belongs to which provider, at what price and terms it can be requested. Holds no money, no key
        and nothing readable: header, capsule and package are sealed, description and terms are digests.
@custom:spec spec/contracts.md, sections 1, 3 and 5
@custom:stop A provider retires an asset; the governor closes an Exchange to new requests. Nothing removes a record.
"""
from interfaces import IAssetLedger
from interfaces import INodeRegistry
from modules import authority
from modules import governed
from modules import periods
from modules import profiles
from modules import signatures

initializes: authority
initializes: governed
initializes: profiles[authority := authority, governed := governed]

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
    profiles.change_seconds,
    profiles.set_profile,
    profiles.propose_change,
    profiles.cancel_change,
    profiles.apply_change,
    profiles.account,
    profiles.owner_of,
    profiles.payee_of,
)

struct OfferTerms:
    price: uint256
    token: address
    terms: bytes32
    periods: uint256


event TokenListed:
    token: indexed(address)
    active_at: uint256


event TokenRemoved:
    token: indexed(address)


event ExchangeClosed:
    exchange: indexed(address)


event Listed:
    asset_id: indexed(bytes32)
    provider: indexed(address)
    header: Bytes[128]
    capsule: Bytes[98]
    package: Bytes[256]
    keys: Bytes[229]
    pq_commit: bytes32
    body_digest: bytes32
    body_length: uint64
    description: bytes32
    offer: IAssetLedger.Offer
    supersedes: bytes32
    storage: Bytes[368]


event BodySaved:
    asset_id: indexed(bytes32)
    body: Bytes[24576]


event OfferSet:
    asset_id: indexed(bytes32)
    offer: IAssetLedger.Offer


event Retired:
    asset_id: indexed(bytes32)


LISTED: constant(uint256) = 1
RETIRED: constant(uint256) = 2
LOW_8: constant(uint256) = 2**8 - 1
LOW_32: constant(uint256) = 2**32 - 1
LOW_40: constant(uint256) = 2**40 - 1
MAX_BODY_LENGTH: constant(uint64) = 2**48
MIN_REPLICAS: constant(uint256) = 2

LIST_TYPE: constant(bytes32) = keccak256(
    "List(bytes32 asset,bytes32 offer,bytes32 description,bytes32 supersedes,uint256 nonce,uint64 deadline)"
)
SET_OFFER_TYPE: constant(bytes32) = keccak256("SetOffer(bytes32 asset,bytes32 offer,uint256 nonce,uint64 deadline)")
RETIRE_TYPE: constant(bytes32) = keccak256("Retire(bytes32 asset,uint256 nonce,uint64 deadline)")
STORAGE_RECEIPT_TYPE: constant(bytes32) = keccak256(
    "StorageReceipt(bytes32 body,uint64 length,bytes32[] nodes,uint64 blockNumber,bytes32 light,uint64 epoch)"
)

registry: public(immutable(address))
minimum_periods: public(immutable(uint256))

token_active_at: public(HashMap[address, uint256])
key_commitment: public(HashMap[address, HashMap[bytes32, bytes32]])
# An asset is one word: state(8), busy_until(32), and above them the first 216 bits of the digest of provider and offer.
_assets: HashMap[bytes32, uint256]


@deploy
def __init__(
    first_governor: address,
    is_development: bool,
    node_registry: address,
    addition_delay_seconds: uint256,
    change_delay_seconds: uint256,
    least_periods: uint256,
    tokens: DynArray[address, 8],
):
    authority.__init__()
    governed.__init__(first_governor, is_development, addition_delay_seconds)
    profiles.__init__(change_delay_seconds)
    if not is_development:
        periods._check_minimum(least_periods)
    assert node_registry.is_contract, "ledger: registry is not a contract"
    registry = node_registry
    minimum_periods = least_periods
    for token: address in tokens:
        self._list_token(token, block.timestamp)


# Providers


@external
def list_asset(
    provider: address,
    header: Bytes[128],
    capsule: Bytes[98],
    package: Bytes[256],
    keys: Bytes[229],
    pq_commit: bytes32,
    body_digest: bytes32,
    body_length: uint64,
    description: bytes32,
    offer_terms: OfferTerms,
    supersedes: bytes32,
    storage: Bytes[368],
    authority_: Bytes[1084],
) -> bytes32:
    """
    @notice Lists a sealed asset with its first offer and the light node's receipt for its stored body.
    @param keys    pk_A(33), W(33), proof of W(98), kfrag signer(33), y of the signer(32).
    @param storage light node(32), epoch(8), block(8), signature(64), storage nodes(32 each, ascending).
    """
    return self._list(
        provider,
        header,
        capsule,
        package,
        keys,
        pq_commit,
        body_digest,
        body_length,
        description,
        offer_terms,
        supersedes,
        storage,
        authority_,
    )


@external
def list_with_body(
    provider: address,
    header: Bytes[128],
    capsule: Bytes[98],
    package: Bytes[256],
    keys: Bytes[229],
    pq_commit: bytes32,
    body_digest: bytes32,
    body_length: uint64,
    description: bytes32,
    offer_terms: OfferTerms,
    supersedes: bytes32,
    storage: Bytes[368],
    body: Bytes[24576],
    authority_: Bytes[1084],
) -> bytes32:
    """
    @notice As `list_asset`, and keeps the sealed body itself on chain for ever.
    """
    # A function of its own: room for a body of this size in memory costs every listing 20,000 gas, also without one.
    assert len(body) == convert(body_length, uint256) and sha256(body) == body_digest, "ledger: body does not match"
    asset_id: bytes32 = self._list(
        provider,
        header,
        capsule,
        package,
        keys,
        pq_commit,
        body_digest,
        body_length,
        description,
        offer_terms,
        supersedes,
        storage,
        authority_,
    )
    log BodySaved(asset_id=asset_id, body=body)
    return asset_id


@external
def set_offer(
    asset_id: bytes32, provider: address, old: IAssetLedger.Offer, new: IAssetLedger.Offer, authority_: Bytes[1084]
):
    """
    @notice Changes price, token, terms and periods for future requests; the card stays.
    """
    new_hash: bytes32 = keccak256(abi_encode(new))
    profiles._only_owner(provider, authority._actor(authority_, abi_encode(SET_OFFER_TYPE, asset_id, new_hash)))
    word: uint256 = self._listed(asset_id, provider, keccak256(abi_encode(old)))
    assert new.card == old.card, "ledger: card cannot change"
    self._check_offer(new.token, new.periods)
    self._assets[asset_id] = self._binding(provider, new_hash) | word & LOW_40
    log OfferSet(asset_id=asset_id, offer=new)


@external
def retire(asset_id: bytes32, provider: address, offer_hash: bytes32, authority_: Bytes[1084]):
    """
    @notice Ends new requests for ever, once the windows of every paid order are over.
    """
    profiles._only_owner(provider, authority._actor(authority_, abi_encode(RETIRE_TYPE, asset_id)))
    word: uint256 = self._listed(asset_id, provider, offer_hash)
    assert word >> 8 & LOW_32 <= block.timestamp, "ledger: asset is busy"
    self._assets[asset_id] = word ^ LISTED ^ RETIRED
    log Retired(asset_id=asset_id)


# Exchanges


@view
@external
@reentrant
def quote(asset_id: bytes32, provider: address, offer_hash: bytes32, token: address) -> bool:
    """
    @notice Reverts unless the calling Exchange may open an order of this provider's asset at exactly this offer.
    """
    assert governed._check_exchange(msg.sender) & governed.CLOSED == 0, "ledger: exchange is closed"
    self._listed(asset_id, provider, offer_hash)
    self._check_token(token)
    return True


@external
def hold(asset_id: bytes32, until: uint256):
    """
    @notice Keeps an asset from being retired until the last window of a paid order is over.
    """
    governed._check_exchange(msg.sender)
    word: uint256 = self._assets[asset_id]
    if word >> 8 & LOW_32 < until:
        assert until <= LOW_32, "ledger: time is too large"
        self._assets[asset_id] = word & ~(LOW_32 << 8) | until << 8


# Governor


@external
def list_token(token: address):
    """
    @notice Allows a token for prices. Only plain ERC-20: no fee on transfer, no rebasing, no callback.
    """
    governed._only_governor()
    self._list_token(token, governed._active_at())


@external
def remove_token(token: address):
    """
    @notice Refuses a token for new offers and requests; running orders end in it.
    """
    governed._only_governor()
    self.token_active_at[token] = 0
    log TokenRemoved(token=token)


@external
def close_exchange(exchange: address):
    """
    @notice Ends new requests at an Exchange for ever; every order that it has can still end.
    """
    governed._only_governor()
    assert governed._exchanges[exchange] != 0, "governor: not a listed exchange"
    governed._exchanges[exchange] |= governed.CLOSED
    log ExchangeClosed(exchange=exchange)


# Views


@view
@external
@reentrant
def asset(asset_id: bytes32) -> (bytes32, uint8, uint64):
    """
    @notice Digest of provider and offer (its low 40 bits zero), state (1 listed, 2 retired) and busy_until of an asset.
    """
    word: uint256 = self._assets[asset_id]
    return (
        convert(word & ~LOW_40, bytes32),
        convert(word & LOW_8, uint8),
        convert(word >> 8 & LOW_32, uint64),
    )


@view
@external
@reentrant
def exchange_closed(exchange: address) -> bool:
    """
    @notice Whether an Exchange takes no new requests.
    """
    return governed._exchanges[exchange] & governed.CLOSED != 0


# Internal


@pure
@internal
def _binding(provider: address, offer_hash: bytes32) -> uint256:
    return convert(keccak256(abi_encode(provider, offer_hash)), uint256) & ~LOW_40


@view
@internal
def _listed(asset_id: bytes32, provider: address, offer_hash: bytes32) -> uint256:
    """
    @notice The word of a listed asset; reverts unless provider and offer are its present ones.
    """
    word: uint256 = self._assets[asset_id]
    assert word & LOW_8 == LISTED, "ledger: not listed"
    assert word & ~LOW_40 == self._binding(provider, offer_hash), "ledger: not the present offer"
    return word


@internal
def _list(
    provider: address,
    header: Bytes[128],
    capsule: Bytes[98],
    package: Bytes[256],
    keys: Bytes[229],
    pq_commit: bytes32,
    body_digest: bytes32,
    body_length: uint64,
    description: bytes32,
    offer_terms: OfferTerms,
    supersedes: bytes32,
    storage: Bytes[368],
    authority_: Bytes[1084],
) -> bytes32:
    assert len(header) == 128 and len(capsule) == 98 and len(keys) == 229 and len(package) != 0, "ledger: wrong length"
    assert body_length != 0 and body_length <= MAX_BODY_LENGTH, "ledger: body length is out of range"
    asset_id: bytes32 = keccak256(
        abi_encode(
            "asset-bridge/asset/1",
            chain.id,
            self,
            provider,
            keccak256(header),
            keccak256(capsule),
            keccak256(package),
            slice(keys, 0, 33),
            slice(keys, 33, 33),
            slice(keys, 164, 33),
            pq_commit,
            body_digest,
            convert(body_length, uint256),
        )
    )
    credits: bytes32 = self._check_storage(storage, body_digest, body_length)
    commitment: bytes32 = self._commitment(slice(capsule, 0, 66), keys)
    offer: IAssetLedger.Offer = self._offer(offer_terms, keccak256(concat(commitment, credits)))
    offer_hash: bytes32 = keccak256(abi_encode(offer))
    profiles._only_owner(
        provider, authority._actor(authority_, abi_encode(LIST_TYPE, asset_id, offer_hash, description, supersedes))
    )
    assert profiles._has_profile(provider), "ledger: no profile"
    pk_a_hash: bytes32 = keccak256(slice(keys, 0, 33))
    assert self.key_commitment[provider][pk_a_hash] == empty(bytes32), "ledger: delegating key is used"
    self.key_commitment[provider][pk_a_hash] = commitment
    self._assets[asset_id] = self._binding(provider, offer_hash) | LISTED
    log Listed(
        asset_id=asset_id,
        provider=provider,
        header=header,
        capsule=capsule,
        package=package,
        keys=keys,
        pq_commit=pq_commit,
        body_digest=body_digest,
        body_length=body_length,
        description=description,
        offer=offer,
        supersedes=supersedes,
        storage=storage,
    )
    return asset_id


@view
@internal
def _offer(terms: OfferTerms, card: bytes32) -> IAssetLedger.Offer:
    self._check_offer(terms.token, terms.periods)
    return IAssetLedger.Offer(price=terms.price, token=terms.token, terms=terms.terms, periods=terms.periods, card=card)


@view
@internal
def _check_offer(token: address, packed: uint256):
    periods._check(packed, minimum_periods)
    self._check_token(token)


@view
@internal
def _check_token(token: address):
    if token != empty(address):
        assert governed._is_active(self.token_active_at[token]), "ledger: token is not allowed"


@internal
def _list_token(token: address, active_at: uint256):
    assert token != empty(address) and self.token_active_at[token] == 0, "ledger: token is zero or listed"
    self.token_active_at[token] = active_at
    log TokenListed(token=token, active_at=active_at)


@pure
@internal
def _commitment(points: Bytes[66], keys: Bytes[229]) -> bytes32:
    """
    @notice What a proof of re-encryption and a kfrag's signature are checked against: E, V, pk_A and the signer's address.
    """
    signer: Bytes[64] = slice(keys, 165, 64)
    # Prefix 02 or 03 tells the parity of y: the listed key and the address are then of the same point.
    assert convert(slice(keys, 164, 1), uint256) == 2 + (convert(slice(keys, 228, 1), uint256) & 1), "ledger: signer's y does not match"
    return keccak256(concat(keccak256(points), slice(keys, 0, 33), slice(keccak256(signer), 12, 20)))


@view
@internal
def _check_storage(storage: Bytes[368], body_digest: bytes32, body_length: uint64) -> bytes32:
    """
    @notice Verifies the StorageReceipt of a live light node.
    @return Digest of light node and storage nodes, who share in the fee.
    """
    assert len(storage) >= 112 + 32 * MIN_REPLICAS and (len(storage) - 112) % 32 == 0, "ledger: too few replicas"
    light: bytes32 = extract32(storage, 0)
    epoch: uint64 = convert(slice(storage, 32, 8), uint64)
    nodes: Bytes[368] = slice(storage, 112, len(storage) - 112)
    last: uint256 = 0
    for i: uint256 in range(len(nodes) // 32, bound=8):
        node: uint256 = extract32(nodes, 32 * i, output_type=uint256)
        assert node > last, "ledger: storage nodes are not ascending"
        last = node
    digest: bytes32 = authority._digest(
        keccak256(
            abi_encode(
                STORAGE_RECEIPT_TYPE,
                body_digest,
                body_length,
                keccak256(nodes),
                convert(slice(storage, 40, 8), uint256),
                light,
                epoch,
            )
        )
    )
    signer: address = signatures._recover(
        digest, extract32(storage, 48, output_type=uint256), extract32(storage, 80, output_type=uint256)
    )
    assert signer == staticcall INodeRegistry(registry).light_key(light, epoch), "ledger: receipt is not the light node's"
    return keccak256(concat(light, nodes))
