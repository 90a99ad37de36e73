"""The closed list of reasons why evidence is refused.

Source: spec/attestation.md §5. Promises: whatever bytes come in, the steps of this room end in a value or in an error of this list;
any other exception is a bug. The texts are for people, the codes are for programs.
"""

from __future__ import annotations

from enum import StrEnum

from asset_bridge.errors import RefusedError


class Refusal(StrEnum):
    """Why evidence, or the node behind it, is refused. Closed: a new member is a new version of the spec."""

    FORMAT = "format"
    SIZE = "size"
    SIGNATURE = "signature"
    CHAIN = "chain"
    ROOT = "root"
    REVOKED = "revoked"
    CRL_MISSING = "crl-missing"
    COLLATERAL_EXPIRED = "collateral-expired"
    COLLATERAL_MISMATCH = "collateral-mismatch"
    DEBUG = "debug"
    MIGRATABLE = "migratable"
    VMPL = "vmpl"
    TCB_STATUS = "tcb-status"
    TCB_FLOOR = "tcb-floor"
    PRODUCT = "product"
    BINDING = "binding"
    NONCE = "nonce"
    STALE = "stale"
    MEASUREMENT = "measurement"
    EVENT_LOG = "event-log"
    PLATFORM = "platform"
    VENDOR = "vendor"
    SIMULATED = "simulated"
    BOOT_ONLY = "boot-only"
    EXPIRED = "expired"
    NOT_REGISTERED = "not-registered"
    OPERATOR = "operator"
    CHAIN_VIEW = "chain-view"
    NO_ANSWER = "no-answer"


EXPLAINED: dict[Refusal, str] = {
    Refusal.FORMAT: "its evidence is not well-formed",
    Refusal.SIZE: "its evidence is larger than 64 KiB",
    Refusal.SIGNATURE: "the signature of its evidence does not verify",
    Refusal.CHAIN: "the certificates of its evidence do not form a chain",
    Refusal.ROOT: "its evidence does not lead to a root that is known here",
    Refusal.REVOKED: "a certificate of its evidence is revoked",
    Refusal.CRL_MISSING: "the revocation list that its evidence needs is missing",
    Refusal.COLLATERAL_EXPIRED: "the vendor's collateral is not valid at this time",
    Refusal.COLLATERAL_MISMATCH: "the vendor's collateral belongs to another platform or kind",
    Refusal.DEBUG: "it runs in debug mode, where its memory can be read",
    Refusal.MIGRATABLE: "its memory may be migrated to another machine",
    Refusal.VMPL: "it does not run at the most privileged level of its VM",
    Refusal.TCB_STATUS: "the vendor's verdict on its platform is not one that the policy allows",
    Refusal.TCB_FLOOR: "its platform is older than the policy's floor",
    Refusal.PRODUCT: "its processor is not a product that the policy names",
    Refusal.BINDING: "its evidence does not bind this node's key, chain, registry and epoch",
    Refusal.NONCE: "its evidence answers another challenge: a replay",
    Refusal.STALE: "its evidence is too old",
    Refusal.MEASUREMENT: "it runs code whose measurement the policy does not list",
    Refusal.EVENT_LOG: "its event log does not lead to its measurements",
    Refusal.PLATFORM: "it runs on a platform that the policy does not list",
    Refusal.VENDOR: "its kind of evidence is not one that the policy accepts",
    Refusal.SIMULATED: "its evidence is simulated, and this policy or chain does not allow that",
    Refusal.BOOT_ONLY: "its evidence proves how it booted, not that its memory is secret",
    Refusal.EXPIRED: "its certificate or its registration is not valid at this time",
    Refusal.NOT_REGISTERED: "the registry does not hold it as live with this evidence",
    Refusal.OPERATOR: "its operator is not one that the policy names",
    Refusal.CHAIN_VIEW: "its view of the chain is its operator's word, not attested as the policy asks",
    Refusal.NO_ANSWER: "it did not answer the challenge",
}


class EvidenceRefused(RefusedError):
    """Evidence that a named check refused. `refusal` says which; `code` is "attestation." and the same word."""

    def __init__(self, refusal: Refusal, detail: str = "", *, actor: str = "tee node") -> None:
        sentence = f"the node is refused: {EXPLAINED[refusal]}"
        super().__init__(
            f"attestation.{refusal.value}",
            f"{sentence} ({detail})" if detail else sentence,
            hint="choose another node; `asset-bridge node list tee` shows every node and its verdict",
            actor=actor,
        )
        self.refusal = refusal
