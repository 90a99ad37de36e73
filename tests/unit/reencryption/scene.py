"""One trade of re-encryption, fixed, for the tests of this room."""

from __future__ import annotations

from functools import cache

from asset_bridge import reencryption as pre
from tools.vectors.reencryption import Trade, fixed, source

__all__ = ["Trade", "fixed", "half", "keys", "opened", "source", "trade"]


@cache
def trade(label: str = "2 of 3", threshold: int = 2, shares: int = 3) -> Trade:
    """The trade of the golden files, or another."""
    return Trade(label, threshold, shares)


def keys(of: Trade) -> dict[str, pre.hashes.Point]:
    """pk_a, pk_b and signer as arguments."""
    return {"pk_a": of.pk_a, "pk_b": of.pk_b, "signer": of.signer}


def half(of: Trade) -> pre.HalfKey:
    """The consumer's half."""
    return pre.half_open(of.receiving, of.kfrags[0].x_a)


def opened(of: Trade, cfrags: list[pre.VerifiedCapsuleFrag], **changes: object) -> bytes:
    """The package, with arguments changed by name."""
    arguments: dict[str, object] = {
        "pk_a": of.pk_a,
        "capsule": of.capsule,
        "cfrags": cfrags,
        "threshold": of.threshold,
        "sealed": of.sealed,
    }
    return pre.open_package(half(of), **{**arguments, **changes})  # type: ignore[arg-type]
