"""Write spec/vectors/keys: derivations, signatures, the file key, key encodings, from fixed inputs.

Envelopes are random (the library draws), so envelopes.json holds sealed values made once; a test opens them.
Run: python tools/vectors/keys.py [FOLDER]
     python tools/vectors/keys.py --seal-once   (envelopes.json)
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from asset_bridge.keys import derivation, file_key, hpke, kem, recovery
from asset_bridge.keys.secp256k1 import SecretScalar
from asset_bridge.keys.signing import sign_digest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "spec" / "vectors" / "keys"


def fixed(label: str, length_bytes: int = 32) -> bytes:
    """Fixed bytes that look random."""
    return hashlib.shake_256(b"asset-bridge key vectors: " + label.encode()).digest(length_bytes)


SEED, TWEAK, CONTAINER = fixed("seed"), fixed("tweak"), fixed("container", 16)
ORDER, NONCE, ASSET = fixed("order"), fixed("nonce"), fixed("asset")
EXCHANGE, CONSUMER = fixed("exchange", 20), fixed("consumer", 20)
CHAIN_ID = 31337
K_PQ = fixed("K_pq")


def share_context() -> dict[str, Any]:
    """The fields that a sealed share is bound to."""
    x_a, u1 = (SecretScalar.from_bytes(fixed(name)).public_key().to_bytes() for name in ("x", "u1"))
    return {
        "order_id": ORDER,
        "generation": 1,
        "slot": 2,
        "kfrag_id": fixed("kfrag"),
        "u1": u1,
        "x_a": x_a,
        "node_id": fixed("node"),
        "epoch": 3,
    }


def form_context() -> dict[str, Any]:
    """The fields that a form is bound to."""
    return {
        "chain_id": CHAIN_ID,
        "exchange": EXCHANGE,
        "asset_id": ASSET,
        "consumer": CONSUMER,
        "order_nonce": NONCE,
    }


def derivations() -> dict[str, Any]:
    """Every derivation once, and the shares of three thresholds."""
    keys = derivation.asset_keys(SEED, TWEAK, CONTAINER)
    shares = {}
    for generation, threshold, count in ((1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 16, 16)):
        made = derivation.share_randomness(SEED, TWEAK, CONTAINER, ORDER, generation, threshold, count)
        shares[f"{generation}/{threshold}/{count}"] = {
            "precursor": made.precursor.to_secret_bytes().hex(),
            "coefficients": [value.to_secret_bytes().hex() for value in made.coefficients],
            "ids": [value.hex() for value in made.ids],
        }
    consumer = (SEED, NONCE, CHAIN_ID, EXCHANGE, ASSET)
    form, hybrid = derivation.form_key(SEED, 0), derivation.consumer_hybrid_key(*consumer)
    receiving = derivation.receiving_key(*consumer)
    return {
        "seed": SEED.hex(),
        "tweak": TWEAK.hex(),
        "container_id": CONTAINER.hex(),
        "order_id": ORDER.hex(),
        "order_nonce": NONCE.hex(),
        "chain_id": CHAIN_ID,
        "exchange": EXCHANGE.hex(),
        "asset_id": ASSET.hex(),
        "delegating": keys.delegating.to_secret_bytes().hex(),
        "pk_a": keys.delegating.public_key().to_bytes().hex(),
        "signer": keys.signer.to_secret_bytes().hex(),
        "k_pq": keys.k_pq.hex(),
        "shares": shares,
        "form_seed": form.to_secret_bytes().hex(),
        "form_public_sha256": form.public_key().digest().hex(),
        "form_seed_counter_1": derivation.form_key(SEED, 1).to_secret_bytes().hex(),
        "receiving": receiving.to_secret_bytes().hex(),
        "pk_b": receiving.public_key().to_bytes().hex(),
        "hybrid_seed": hybrid.to_secret_bytes().hex(),
        "hybrid_public": hybrid.public_key().to_bytes().hex(),
    }


def signatures() -> list[dict[str, str]]:
    """Deterministic signatures, v included."""
    cases = []
    for number in range(8):
        secret, digest = SecretScalar.from_wide(fixed(f"signer {number}", 48)), fixed(f"digest {number}")
        cases.append(
            {
                "secret": secret.to_secret_bytes().hex(),
                "public": secret.public_key().to_bytes().hex(),
                "digest": digest.hex(),
                "signature": sign_digest(secret, digest).hex(),
            }
        )
    return cases


def recovery_sets() -> list[dict[str, Any]]:
    """Recovery shares of one secret, in bytes and as text."""
    sets = []
    for threshold, shares in ((2, 3), (3, 5), (16, 16)):
        calls = iter(range(100))
        drawn = [fixed(f"recovery {threshold} {number}", 8 if number == 0 else 48) for number in range(threshold)]
        made = recovery.split(
            fixed("recovery secret"), threshold, shares, lambda _, drawn=drawn, calls=calls: drawn[next(calls)]
        )
        sets.append(
            {
                "secret": fixed("recovery secret").hex(),
                "threshold": threshold,
                "randomness": [value.hex() for value in drawn],
                "shares": [share.to_bytes().hex() for share in made],
                "text": [share.to_text() for share in made],
            }
        )
    return sets


def build() -> dict[str, str]:
    """File name → content."""
    k_pre = fixed("K_pre")
    keys = {
        "container_id": CONTAINER.hex(),
        "k_pre": k_pre.hex(),
        "k_pq": K_PQ.hex(),
        "file_key": file_key.file_key(k_pre, K_PQ, CONTAINER).hex(),
        "pq_commit": file_key.pq_commit(K_PQ, CONTAINER).hex(),
    }
    return {
        "derivation.json": json.dumps(derivations(), indent=1) + "\n",
        "signatures.json": json.dumps(signatures(), indent=1) + "\n",
        "file-key.json": json.dumps(keys, indent=1) + "\n",
        "recovery.json": json.dumps(recovery_sets(), indent=1) + "\n",
    }


def seal_once() -> str:
    """Sealed values with their keys and contexts."""
    share, form = kem.ShareSecretKey(fixed("share key")), kem.FormSecretKey(fixed("form key"))
    hybrid, rk = kem.ConsumerHybridSecretKey(fixed("hybrid key")), SecretScalar.from_bytes(fixed("rk"))
    commit = file_key.pq_commit(K_PQ, CONTAINER)
    consumer_key = hybrid.public_key()
    cases = {
        "kfrag": (share, rk.to_secret_bytes(), hpke.seal_kfrag(share.public_key(), rk, **share_context())),
        "kpq": (hybrid, K_PQ, hpke.seal_kpq(consumer_key, K_PQ, order_id=ORDER, pq_commit=commit)),
        "form": (form, b"application form", hpke.seal_form(form.public_key(), b"application form", **form_context())),
        "reply": (hybrid, b"reply", hpke.seal_reply(consumer_key, b"reply", order_id=ORDER)),
    }
    return (
        json.dumps(
            {
                label: {"secret": key.to_secret_bytes().hex(), "plaintext": text.hex(), "sealed": sealed.hex()}
                for label, (key, text, sealed) in cases.items()
            },
            indent=1,
        )
        + "\n"
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["--seal-once"]:
        (FOLDER / "envelopes.json").write_text(seal_once())
    else:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in build().items():
            (folder / name).write_text(text)
