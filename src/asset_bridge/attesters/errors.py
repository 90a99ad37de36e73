"""The two ways in which a device fails its node (spec/attestation.md §11)."""

from __future__ import annotations

from asset_bridge.errors import BridgeError, TamperedError, UnavailableError


def unavailable(reason: str, sentence: str) -> BridgeError:
    """The device is not there, not for us, or busy: who operates the node can act."""
    hint = "docs/explain/tee.md says what each attester needs"
    if reason == "permission":
        return UnavailableError("attesters.permission", sentence, hint="start the node as root", actor="operator")
    if reason == "busy":
        return UnavailableError("attesters.busy", sentence, hint=hint, actor="operator")
    return UnavailableError("attesters.device", sentence, hint=hint, actor="operator")


def broken(sentence: str) -> BridgeError:
    """The device did not keep its contract; whatever it said is thrown away."""
    return TamperedError(
        "attesters.contract",
        sentence,
        hint="nothing was signed; look at the machine before another try",
        actor="operator",
    )
