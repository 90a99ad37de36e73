"""A node's story: register, or renew with the same or new keys; what a TEE node's evidence binds while doing so.

Source: protocol §2, spec/attestation.md §3 and §10. Promises: a new key is a new epoch of the same node_id; the evidence is verified here
before money is spent on it, and what the registry holds afterwards is compared with what was sent; repeating after a crash is safe.
Does not promise: that anybody accepts the node; that is each provider's policy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from asset_bridge.attestation import evidence as envelope
from asset_bridge.attestation.binding import NO_CONFIGURATION, REGISTRATION_NONCE, Binding
from asset_bridge.attestation.claims import Claims
from asset_bridge.attestation.configuration import ChainConfiguration
from asset_bridge.attestation.evidence import CONFIGURATION_AUX
from asset_bridge.attestation.verify import Collateral, VerifierSet, verify
from asset_bridge.attesters import Attester
from asset_bridge.chain.ids import node_id as node_id_of
from asset_bridge.chain.keys import address_bytes
from asset_bridge.chain.records import ZERO32, At, Node, NodeKind, Sent, Vendor
from asset_bridge.errors import InputError, UnavailableError
from asset_bridge.trade.evidence import VENDOR_NAMES
from asset_bridge.trade.ports import ChainAccount, ChainReader

MAX_TEE_LIFETIME_SECONDS = 24 * 3600  # tee.md §6.3: evidence is shown again every day
_SHORT_LIVED_CERTIFICATES = frozenset({"nitro"})  # leaves of three hours; the registration outlives them


@dataclass(frozen=True, slots=True)
class NodePlan:
    """What to register. Light and storage nodes leave the evidence fields as they are. `expires_at` is Unix seconds."""

    kind: NodeKind
    salt: bytes
    endpoint_digest: bytes
    endpoint_length: int
    signing_address: str
    expires_at: int
    stake_wei: int
    vendor: Vendor = Vendor.NONE
    measurement_id: bytes = ZERO32
    platform_id: bytes = ZERO32
    evidence_digest: bytes = ZERO32


@dataclass(frozen=True, slots=True)
class Registered:
    """The node's id, its new epoch and the transaction."""

    node_id: bytes
    epoch: int
    sent: Sent


@dataclass(frozen=True, slots=True)
class EndpointDocument:
    """Digest (as in its CID) and length of the signed endpoint document, which lies on the storage nodes."""

    digest: bytes
    length: int


def next_epoch(reader: ChainReader, node_id: bytes, signing_address: str) -> int:
    """The epoch that announcing this key now gives: 1 for a new node, the same number while the key stays, else one more."""
    node = _registered(reader, node_id)
    if node is None:
        return 1
    return node.current.epoch + (node.current.signing_address != signing_address)


def announce(account: ChainAccount, plan: NodePlan) -> Registered:
    """Register the node, or renew it where it exists; a key that is not the registered one begins a new epoch.

    Raises:
        UnavailableError(trade.epoch-taken): another process of this operator renewed the node at the same time.
    """
    node_id = node_id_of(account.address, plan.salt)
    if _registered(account.reader, node_id) is None:
        node_id, sent = account.register_node(
            salt=plan.salt,
            kind=plan.kind,
            endpoint_digest=plan.endpoint_digest,
            endpoint_length=plan.endpoint_length,
            signing_address=plan.signing_address,
            vendor=plan.vendor,
            measurement_id=plan.measurement_id,
            platform_id=plan.platform_id,
            evidence_digest=plan.evidence_digest,
            expires_at=plan.expires_at,
            stake_wei=plan.stake_wei,
        )
    else:
        sent = account.renew_node(
            node_id,
            endpoint_digest=plan.endpoint_digest,
            endpoint_length=plan.endpoint_length,
            signing_address=plan.signing_address,
            vendor=plan.vendor,
            measurement_id=plan.measurement_id,
            platform_id=plan.platform_id,
            evidence_digest=plan.evidence_digest,
            expires_at=plan.expires_at,
        )
    current = account.reader.node(node_id).current
    if (current.signing_address, current.evidence_digest) != (plan.signing_address, plan.evidence_digest):
        raise UnavailableError(
            "trade.epoch-taken",
            "another process of this operator renewed the same node at the same time",
            hint="run one process per node; then start again",
            actor="operator",
        )
    return Registered(node_id, current.epoch, sent)


def _registered(reader: ChainReader, node_id: bytes) -> Node | None:
    try:
        return reader.node(node_id)
    except InputError as error:
        if error.code != "chain.not-found":
            raise
        return None


@dataclass(frozen=True, slots=True)
class TeeRegistration:
    """What a TEE node needs to register: its keys' address, its attester, and with what it checks its own evidence first."""

    attester: Attester
    verifiers: VerifierSet
    collateral: Collateral
    configuration: ChainConfiguration | None
    signing_address: str
    salt: bytes
    endpoint: EndpointDocument
    stake_wei: int
    lifetime_seconds: int = MAX_TEE_LIFETIME_SECONDS


def announce_tee(
    account: ChainAccount, registration: TeeRegistration, clock: Callable[[], float]
) -> tuple[Registered, Claims]:
    """Collect evidence for the coming epoch, verify it, and register.

    Raises:
        EvidenceRefused: this node's own evidence does not verify with the verifiers that it was given.
        UnavailableError(trade.epoch-taken): the epoch that the evidence binds was taken meanwhile; start again.
    """
    reader, now = account.reader, int(clock())
    node_id = node_id_of(account.address, registration.salt)
    binding = tee_binding(
        reader,
        node_id=node_id,
        operator=account.address,
        signing_address=registration.signing_address,
        epoch=next_epoch(reader, node_id, registration.signing_address),
        nonce=REGISTRATION_NONCE,
        configuration=registration.configuration,
    )
    raw = registration.attester.collect(binding, configuration_aux(registration.configuration))
    claims = verify(envelope.parse(raw), registration.verifiers, now=now, collateral=registration.collateral)
    registered = announce(account, tee_plan(registration, claims, now))
    if registered.epoch != binding.epoch:
        raise UnavailableError(
            "trade.epoch-taken",
            "the registry's epoch is not the one that the evidence binds",
            hint="start the node again",
            actor="operator",
        )
    return registered, claims


def tee_plan(registration: TeeRegistration, claims: Claims, now: int) -> NodePlan:
    """The registry's fields of verified evidence; the registration ends with the certificates at the latest."""
    lifetime = min(registration.lifetime_seconds, MAX_TEE_LIFETIME_SECONDS)
    ends = [now + lifetime]
    if claims.report.not_after and claims.vendor not in _SHORT_LIVED_CERTIFICATES:
        ends.append(claims.report.not_after)
    return NodePlan(
        kind=NodeKind.TEE,
        salt=registration.salt,
        endpoint_digest=registration.endpoint.digest,
        endpoint_length=registration.endpoint.length,
        signing_address=registration.signing_address,
        expires_at=min(ends),
        stake_wei=registration.stake_wei,
        vendor=vendor_of(claims.vendor),
        measurement_id=claims.measurement_id,
        platform_id=claims.platform_id,
        evidence_digest=claims.evidence_digest,
    )


def tee_binding(
    reader: ChainReader,
    *,
    node_id: bytes,
    operator: str,
    signing_address: str,
    epoch: int,
    nonce: bytes,
    configuration: ChainConfiguration | None,
) -> Binding:
    """What the node's evidence binds now, at the newest finalized block."""
    return Binding(
        signing_address=address_bytes(signing_address),
        node_id=node_id,
        nonce=nonce,
        chain_id=reader.chain_id,
        registry=address_bytes(reader.registry),
        block_hash=reader.block(At.FINAL).hash,
        epoch=epoch,
        operator=address_bytes(operator),
        configuration_digest=configuration.digest() if configuration else NO_CONFIGURATION,
    )


def configuration_aux(configuration: ChainConfiguration | None) -> dict[str, bytes]:
    """The aux items that let a provider read the configuration whose digest is bound."""
    return {CONFIGURATION_AUX: configuration.encode()} if configuration else {}


def vendor_of(name: str) -> Vendor:
    """The registry's number of a vendor; InputError(trade.vendor) for one that the registry does not know (SGX)."""
    for vendor, known in VENDOR_NAMES.items():
        if known and known == name:
            return vendor
    raise InputError(
        "trade.vendor", f"the registry has no vendor {name!r}; such evidence can be verified, not registered"
    )
