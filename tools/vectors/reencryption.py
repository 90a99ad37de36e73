"""Write spec/vectors/reencryption: whole trades, pre-payment sets and refusals, all from fixed inputs.

Run: python tools/vectors/reencryption.py [FOLDER]
     python tools/vectors/reencryption.py --from-library   (once: library.json, bytes that umbral-pre 0.11.0 made)
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from asset_bridge import reencryption as pre
from asset_bridge.keys import derivation
from asset_bridge.keys.secp256k1 import SecretScalar
from asset_bridge.keys.signing import sign_digest
from asset_bridge.reencryption import library_form

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "spec" / "vectors" / "reencryption"
THRESHOLDS = ((1, 1), (2, 3), (5, 8), (10, 16))
CHAIN_ID = 31337


def fixed(label: str, length_bytes: int = 32) -> bytes:
    """Fixed bytes that look random."""
    return hashlib.shake_256(b"asset-bridge vectors: " + label.encode()).digest(length_bytes)


def source(label: str) -> Callable[[int], bytes]:
    """A fixed source of randomness: each call gives other bytes."""
    calls = iter(range(1000))
    return lambda length_bytes: fixed(f"{label} {next(calls)}", length_bytes)


class Trade:
    """One asset, one order, fixed by `label`."""

    def __init__(self, label: str, threshold: int, shares: int) -> None:
        self.threshold = threshold
        self.container_id = fixed(f"{label} container", 16)
        self.order_id = fixed(f"{label} order")
        self.seed, self.tweak = fixed(f"{label} seed"), fixed(f"{label} tweak")
        self.keys = derivation.asset_keys(self.seed, self.tweak, self.container_id)
        self.pk_a, self.signer = self.keys.delegating.public_key(), self.keys.signer.public_key()
        self.receiving = derivation.receiving_key(
            fixed(f"{label} consumer"),
            fixed(f"{label} nonce"),
            CHAIN_ID,
            fixed("exchange", 20),
            fixed(f"{label} asset"),
        )
        self.pk_b = self.receiving.public_key()
        self.context = pre.ListingContext(CHAIN_ID, fixed("ledger", 20), fixed("provider", 20), self.container_id)
        self.w, self.w_proof = pre.prove_commitment(self.keys.delegating, self.context)
        self.package = fixed(f"{label} package", 160)
        self.capsule, self.sealed = pre.encrypt_package(self.pk_a, self.package, source(label))
        self.randomness = self.share_randomness(label, threshold, shares)
        self.kfrags = pre.generate_shares(self.keys.delegating, self.pk_b, self.keys.signer, threshold, self.randomness)
        self.cfrags = [pre.reencrypt(self.capsule, kfrag) for kfrag in self.kfrags]

    def share_randomness(self, label: str, threshold: int, shares: int) -> derivation.ShareRandomness:
        """K15; for threshold 1, which the derivation refuses, fixed values."""
        if threshold > 1:
            return derivation.share_randomness(
                self.seed, self.tweak, self.container_id, self.order_id, 1, threshold, shares
            )
        precursor = SecretScalar.from_wide(fixed(f"{label} precursor", 48))
        return derivation.ShareRandomness(precursor, (), tuple(fixed(f"{label} id {i}") for i in range(shares)))

    def pre_payment(self) -> dict[str, Any]:
        """The arguments of the pre-payment check for the honest set."""
        return {
            "capsule": self.capsule.to_bytes(),
            "pk_a": self.pk_a.to_bytes(),
            "signer": self.signer.to_bytes(),
            "w": self.w.to_bytes(),
            "proof": self.w_proof,
            "context": self.context,
            "slots": [kfrag.published() for kfrag in self.kfrags],
            "threshold": self.threshold,
            "receiving": self.receiving,
        }


def resigned(trade: Trade, kfrags: list[pre.VerifiedKeyFrag]) -> list[pre.PublishedShare]:
    """Shares of another secret, signed by the listing's signer as if they were this asset's."""
    return [
        replace(
            kfrag.published(),
            receiver_signature=sign_digest(
                trade.keys.signer,
                pre.receiver_digest(kfrag.kfrag_id, kfrag.u1, kfrag.x_a, trade.pk_a, trade.pk_b),
            ),
        )
        for kfrag in kfrags
    ]


def with_coefficients(trade: Trade, secret: SecretScalar, *coefficients: SecretScalar) -> list[pre.VerifiedKeyFrag]:
    """As many shares as the trade has, of `secret`, by a polynomial with these coefficients."""
    chosen = derivation.ShareRandomness(trade.randomness.precursor, coefficients, trade.randomness.ids)
    return pre.generate_shares(secret, trade.pk_b, trade.keys.signer, len(coefficients) + 1, chosen)


def pre_payment_cases() -> dict[str, tuple[str, dict[str, Any]]]:
    """Name → (expected outcome, arguments)."""
    two, five, other = Trade("2 of 3", 2, 3), Trade("5 of 8", 5, 8), Trade("another asset", 2, 3)
    honest, garbage_key = two.pre_payment(), SecretScalar.from_wide(fixed("garbage", 48))
    garbage = resigned(two, with_coefficients(two, garbage_key, *two.randomness.coefficients))
    of_other = resigned(two, with_coefficients(two, other.keys.delegating, *two.randomness.coefficients))
    constant = resigned(two, with_coefficients(two, two.keys.delegating))
    low = resigned(five, with_coefficients(five, five.keys.delegating, *five.randomness.coefficients[:3]))
    high = resigned(two, with_coefficients(two, two.keys.delegating, *five.randomness.coefficients[:2]))
    slots = honest["slots"]
    twice = [slots[0], replace(slots[1], kfrag_id=slots[0].kfrag_id), slots[2]]
    swapped = [slots[0], replace(slots[1], receiver_signature=slots[2].receiver_signature), slots[2]]
    mixed = [*slots[:2], Trade("other X_A", 2, 3).kfrags[2].published()]
    flipped = bytearray(honest["capsule"])
    flipped[97] ^= 1
    return {
        "honest-2-of-3": ("accepted", honest),
        "honest-5-of-8": ("accepted", five.pre_payment()),
        "honest-10-of-16": ("accepted", Trade("10 of 16", 10, 16).pre_payment()),
        "garbage-secret": ("reencryption.garbage-shares", {**honest, "slots": garbage}),
        "garbage-one-further-slot": ("reencryption.garbage-shares", {**honest, "slots": [*slots[:2], garbage[2]]}),
        "garbage-first-slot": ("reencryption.garbage-shares", {**honest, "slots": [garbage[0], *slots[1:]]}),
        "shares-of-another-asset": ("reencryption.garbage-shares", {**honest, "slots": of_other}),
        "set-of-another-asset": (
            "reencryption.receiver-signature",
            {**other.pre_payment(), "receiving": two.receiving},
        ),
        "threshold-1-set": ("reencryption.duplicate-share", {**honest, "slots": constant}),
        "threshold-4-set-sold-as-5": ("reencryption.low-degree", {**five.pre_payment(), "slots": low}),
        "threshold-3-set-sold-as-2": ("reencryption.garbage-shares", {**honest, "slots": high}),
        "same-id-twice": ("reencryption.duplicate-share", {**honest, "slots": twice}),
        "signature-of-another-slot": ("reencryption.receiver-signature", {**honest, "slots": swapped}),
        "two-precursors": ("reencryption.precursor", {**honest, "slots": mixed}),
        "capsule-changed": ("reencryption.capsule", {**honest, "capsule": bytes(flipped)}),
        "capsule-of-another-asset": ("accepted", {**honest, "capsule": other.capsule.to_bytes()}),
        "w-of-another-asset": ("reencryption.w-proof", {**honest, "w": other.w.to_bytes(), "proof": other.w_proof}),
        "proof-for-another-provider": (
            "reencryption.w-proof",
            {**honest, "context": replace(two.context, provider=fixed("stranger", 20))},
        ),
        "signer-not-a-point": ("reencryption.listing-key", {**honest, "signer": bytes(33)}),
        "threshold-above-slots": ("reencryption.threshold", {**honest, "threshold": 4}),
        "threshold-one": ("reencryption.threshold", {**honest, "threshold": 1}),
    }


def plain(value: Any) -> Any:
    """JSON of the arguments."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, pre.ListingContext):
        return {
            "chain_id": value.chain_id,
            **{n: getattr(value, n).hex() for n in ("ledger", "provider", "container_id")},
        }
    if isinstance(value, pre.PublishedShare):
        return [
            value.kfrag_id.hex(),
            value.u1.to_bytes().hex(),
            value.x_a.to_bytes().hex(),
            value.receiver_signature.hex(),
        ]
    if isinstance(value, SecretScalar):
        return value.to_secret_bytes().hex()
    return [plain(item) for item in value] if isinstance(value, list) else value


def trade_json(threshold: int, shares: int) -> dict[str, Any]:
    """Every object of one trade."""
    trade = Trade(f"{threshold} of {shares}", threshold, shares)
    half = pre.half_open(trade.receiving, trade.kfrags[0].x_a)
    return {
        "threshold": threshold,
        "delegating": plain(trade.keys.delegating),
        "signer": plain(trade.keys.signer),
        "receiving": plain(trade.receiving),
        "context": plain(trade.context),
        "w": trade.w.to_bytes().hex(),
        "w_proof": trade.w_proof.hex(),
        "capsule": trade.capsule.to_bytes().hex(),
        "package": trade.package.hex(),
        "sealed": trade.sealed.hex(),
        "precursor_secret": plain(trade.randomness.precursor),
        "coefficients": [plain(value) for value in trade.randomness.coefficients],
        "rk": [plain(kfrag.rk) for kfrag in trade.kfrags],
        "slots": [plain(kfrag.published()) for kfrag in trade.kfrags],
        "cfrags": [cfrag.to_bytes().hex() for cfrag in trade.cfrags],
        "half_key": half.to_secret_bytes().hex(),
        "library_kfrags": [library_form.kfrag_to_library(k, trade.keys.signer).hex() for k in trade.kfrags],
    }


def build() -> dict[str, str]:
    """File name → content."""
    cases = {
        name: {"expect": expect, **{key: plain(value) for key, value in arguments.items()}}
        for name, (expect, arguments) in pre_payment_cases().items()
    }
    return {
        "trades.json": json.dumps([trade_json(*pair) for pair in THRESHOLDS], indent=1) + "\n",
        "pre-payment.json": json.dumps(cases, indent=1) + "\n",
    }


def from_library() -> str:
    """Bytes that umbral-pre made, for platforms where it has no wheel. Differs on every run: made once."""
    import umbral_pre as umbral

    cases = []
    for threshold, shares in THRESHOLDS:
        a, s, b = (fixed(f"library {threshold} {name}") for name in ("delegating", "signer", "receiving"))
        secrets = [umbral.SecretKey.from_be_bytes(value) for value in (a, s, b)]
        signer = umbral.Signer(secrets[1])
        package = fixed(f"library {threshold} package", 160)
        capsule, sealed = umbral.encrypt(secrets[0].public_key(), package)
        kfrags = umbral.generate_kfrags(secrets[0], secrets[2].public_key(), signer, threshold, shares, True, True)
        cfrags = [umbral.reencrypt(capsule, kfrag) for kfrag in kfrags]
        cases.append(
            {
                "threshold": threshold,
                "delegating": a.hex(),
                "signer": s.hex(),
                "receiving": b.hex(),
                "package": package.hex(),
                "sealed": sealed.hex(),
                "capsule": bytes(capsule).hex(),
                "kfrags": [bytes(kfrag).hex() for kfrag in kfrags],
                "cfrags": [bytes(cfrag).hex() for cfrag in cfrags],
            }
        )
    return json.dumps(cases, indent=1) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--from-library"]:
        (FOLDER / "library.json").write_text(from_library())
    else:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in build().items():
            (folder / name).write_text(text)
