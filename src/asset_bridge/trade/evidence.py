"""A provider's story before it seals a share: challenge, verify, appraise; then take the key that the node made for the order.

Source: protocol §4.2, spec/attestation.md §5 and §7. Promises: each challenge has a nonce of its own; a node that does not answer, answers
with junk or is refused becomes `Rejected` with its codes, never an exception, so that one bad node does not stop the others; an `OrderKey`
is returned only after its signature by the node's registered key was checked.
Does not promise: which nodes to take; that is `attestation.choose`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from asset_bridge.attestation import evidence as envelope
from asset_bridge.attestation.appraise import Accepted, Appraisal, Expected, Rejected, appraise
from asset_bridge.attestation.policy import Policy
from asset_bridge.attestation.refusal import EvidenceRefused, Refusal
from asset_bridge.attestation.verify import Collateral, VerifierSet, verify
from asset_bridge.chain.keys import address_bytes
from asset_bridge.chain.messages import Domain, order_key_digest, recover
from asset_bridge.chain.records import Node, Vendor
from asset_bridge.errors import BridgeError, TamperedError
from asset_bridge.keys.kem import SharePublicKey
from asset_bridge.trade.ports import ChainReader, RandBytes, TeeNode

VENDOR_NAMES: dict[Vendor, str] = {
    Vendor.NONE: "",
    Vendor.TDX: "tdx",
    Vendor.SEV_SNP: "sev-snp",
    Vendor.NITRO: "nitro",
    Vendor.AZURE: "azure",
    Vendor.TPM: "tpm",
    Vendor.SIMULATED: "simulated",
}
ORDER_KEY_BYTES = 145
MAX_ORDER_KEY_SECONDS = 24 * 3600  # protocol §4.2
MIN_ORDER_KEY_SECONDS = 120  # an approval must still find it unexpired
_SKEW_SECONDS = 300
_CHALLENGES_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Examiner:
    """With what a provider examines nodes: its policy, the verifiers and collateral it trusts, its randomness and clock."""

    reader: ChainReader
    policy: Policy
    verifiers: VerifierSet
    collateral: Collateral
    randbytes: RandBytes
    clock: Callable[[], float]


@dataclass(frozen=True, slots=True)
class OrderKey:
    """A TEE node's X25519 key for one order, signed by its attested key (EIP-712 `OrderKey`)."""

    node_id: bytes
    epoch: int
    kem_key: bytes
    expires_at: int
    signature: bytes

    def encode(self) -> bytes:
        """node_id(32) ‖ epoch(8) ‖ KEM key(32) ‖ expires(8) ‖ signature(65)."""
        return b"".join(
            (
                self.node_id,
                self.epoch.to_bytes(8, "big"),
                self.kem_key,
                self.expires_at.to_bytes(8, "big"),
                self.signature,
            )
        )

    @classmethod
    def parse(cls, data: bytes) -> OrderKey:
        """The 145 bytes, unverified. TamperedError(trade.order-key)."""
        if len(data) != ORDER_KEY_BYTES:
            raise _bad_order_key(f"it has {len(data)} bytes instead of {ORDER_KEY_BYTES}")
        epoch, expires_at = int.from_bytes(data[32:40], "big"), int.from_bytes(data[72:80], "big")
        return cls(data[:32], epoch, data[40:72], expires_at, data[80:])

    @property
    def kem_key_digest(self) -> bytes:
        """SHA-256 of the KEM key: how the chain names it."""
        return SharePublicKey.from_bytes(self.kem_key).digest()


def challenge(tee: TeeNode, node: Node, examiner: Examiner) -> Appraisal:
    """Ask one node for evidence with a fresh nonce and judge it.

    Raises:
        InputError(attestation.policy-chain): the policy is for another chain; nothing else leaves as an exception of the node's.
    """
    nonce, asked_at = examiner.randbytes(32), int(examiner.clock())
    operator = address_bytes(node.operator)
    try:
        raw = tee.evidence(nonce)
    except BridgeError as error:
        return Rejected(node.node_id, operator, (Refusal.NO_ANSWER,), error.code)
    now = int(examiner.clock())
    try:
        claims = verify(envelope.parse(raw), examiner.verifiers, now=now, collateral=examiner.collateral)
    except EvidenceRefused as refused:
        return Rejected(node.node_id, operator, (refused.refusal,), refused.message)
    return appraise(examiner.policy, claims, _expected(node, examiner.reader, nonce, asked_at), now=now)


def challenge_all(nodes: Sequence[tuple[TeeNode, Node]], examiner: Examiner) -> list[Appraisal]:
    """Challenge several nodes, some at a time; the verdicts in the order of `nodes`."""
    with ThreadPoolExecutor(max_workers=_CHALLENGES_AT_ONCE) as pool:
        return list(pool.map(lambda pair: challenge(pair[0], pair[1], examiner), nodes))


def take_order_key(
    tee: TeeNode, accepted: Accepted, node: Node, order_id: bytes, *, reader: ChainReader, now: int
) -> OrderKey:
    """The node's key for this order; `accepted` is the verdict that allows to ask.

    Raises:
        TamperedError(trade.order-key): it is not this node's, expires too soon or too late, or the attested key did not sign it.
        BridgeError: what the node answered (tee.…), or that it is down.
    """
    found = OrderKey.parse(tee.order_key(order_id))
    if (found.node_id, found.epoch) != (node.node_id, node.current.epoch) or accepted.node_id != node.node_id:
        raise _bad_order_key("it names another node or epoch")
    if not now + MIN_ORDER_KEY_SECONDS <= found.expires_at <= now + MAX_ORDER_KEY_SECONDS + _SKEW_SECONDS:
        raise _bad_order_key("it expires too soon or later than in 24 hours")
    domain = Domain(reader.chain_id, reader.exchange)
    digest = order_key_digest(domain, order_id, found.node_id, found.epoch, found.kem_key_digest, found.expires_at)
    try:
        signer = recover(digest, found.signature)
    except TamperedError:
        raise _bad_order_key("its signature is malformed") from None
    bound = accepted.claims.binding.signing_address
    if signer != node.current.signing_address or address_bytes(signer) != bound:
        raise _bad_order_key("the node's attested key did not sign it")
    return found


def _expected(node: Node, reader: ChainReader, nonce: bytes, asked_at: int) -> Expected:
    return Expected(
        node_id=node.node_id,
        operator=address_bytes(node.operator),
        signing_address=address_bytes(node.current.signing_address),
        epoch=node.current.epoch,
        chain_id=reader.chain_id,
        registry=address_bytes(reader.registry),
        nonce=nonce,
        vendor=VENDOR_NAMES[node.current.vendor],
        measurement_id=node.current.measurement_id,
        platform_id=node.current.platform_id,
        live=node.live,
        expires_at=node.current.expires_at,
        asked_at=asked_at,
    )


def _bad_order_key(why: str) -> TamperedError:
    return TamperedError(
        "trade.order-key",
        f"the key that the node made for this order is not usable: {why}",
        hint="choose another node, or ask this one again",
        actor="tee node",
    )
