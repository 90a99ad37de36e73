"""Re-encryption beside umbral-pre 0.11.0 on the same machine in the same run, like for like.

Processor time of this process, so that other work on the machine counts little; ours and theirs take turns, and each figure is
the fastest of many short rounds. "Like for like": both sides parse nothing that the other does not parse, and check the capsule
on both sides or on neither. umbral-pre has no call for the capsule alone: its time is that of an empty package less what sealing
an empty package takes us, which is more than it takes a compiled library, so the ratio errs against us. It makes two signatures a
kfrag and one of them is not part of our protocol (R12); the row "kfrags, umbral-pre's shape" makes both on our side too.

Run: make bench ROOM=reencryption_peers
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from asset_bridge import reencryption as pre
from asset_bridge.keys.derivation import ShareRandomness
from asset_bridge.keys.secp256k1 import SecretScalar
from asset_bridge.reencryption import dem, library_form
from asset_bridge.reencryption.capsule import encapsulate
from benchmarks.common import Row

ROUNDS = 30
ROUND_SECONDS = 0.02


def row(name: str, ours_us: float, peer_us: float, limit: float | None) -> Row:
    """One operation; `limit` is the ratio that must be held."""
    ratio = ours_us / peer_us
    goal = "" if limit is None else f"at most {limit}"
    return Row(
        f"re-encryption: {name}",
        f"{ours_us:.0f} µs",
        f"{peer_us:.0f} µs (umbral-pre 0.11.0)",
        ratio,
        goal,
        None if limit is None else ratio <= limit,
    )


def fastest(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """Microseconds of processor time a call, the two in turns."""
    best = [float("inf"), float("inf")]
    calls = []
    for call in (ours, theirs):
        start = time.process_time()
        call()
        calls.append(max(1, int(ROUND_SECONDS / max(time.process_time() - start, 1e-6))))
    for _ in range(ROUNDS):
        for which, call in enumerate((ours, theirs)):
            start = time.process_time_ns()
            for _ in range(calls[which]):
                call()
            best[which] = min(best[which], (time.process_time_ns() - start) / calls[which] / 1000)
    return best[0], best[1]


def rows() -> list[Row]:
    """Every comparison."""
    import umbral_pre as umbral

    a, s, b = (SecretScalar.from_wide(os.urandom(48)) for _ in range(3))
    their_a, their_s, their_b = (umbral.SecretKey.from_be_bytes(key.to_secret_bytes()) for key in (a, s, b))
    pk_a, pk_b, signer = a.public_key(), b.public_key(), s.public_key()
    their_pk_a, their_pk_b, their_signer = their_a.public_key(), their_b.public_key(), umbral.Signer(their_s)
    their_verifying = their_signer.verifying_key()
    package = os.urandom(160)
    capsule, sealed = pre.encrypt_package(pk_a, package, os.urandom)
    their_capsule, their_sealed = umbral.encrypt(their_pk_a, package)

    def randomness() -> ShareRandomness:
        scalars = [SecretScalar.from_wide(os.urandom(48)) for _ in range(2)]
        return ShareRandomness(scalars[0], (scalars[1],), tuple(os.urandom(32) for _ in range(3)))

    def kfrags() -> list[pre.VerifiedKeyFrag]:
        return pre.generate_shares(a, pk_b, s, 2, randomness())

    def their_kfrags() -> object:
        return umbral.generate_kfrags(their_a, their_pk_b, their_signer, 2, 3, True, True)

    made, their_made = kfrags(), umbral.generate_kfrags(their_a, their_pk_b, their_signer, 2, 3, True, True)
    cfrags = [pre.reencrypt(capsule, kfrag) for kfrag in made]
    their_cfrags = [umbral.reencrypt(their_capsule, kfrag) for kfrag in their_made]
    loose = pre.CapsuleFrag.from_bytes(cfrags[0].to_bytes())
    encoded, their_encoded = cfrags[0].to_bytes(), bytes(their_cfrags[0])
    their_loose = umbral.CapsuleFrag.from_bytes(their_encoded)
    capsule_bytes, their_capsule_bytes = capsule.to_bytes(), bytes(their_capsule)
    keys = {"pk_a": pk_a, "pk_b": pk_b, "signer": signer}
    their_keys = (their_verifying, their_pk_a, their_pk_b)
    pairs: list[tuple[str, Callable[[], object], Callable[[], object], float | None]] = [
        (
            "re-encrypt",
            lambda: pre.reencrypt(capsule, made[0]),
            lambda: umbral.reencrypt(their_capsule, their_made[0]),
            0.75,
        ),
        (
            "encapsulate (empty package)",
            lambda: pre.encrypt_package(pk_a, b"", os.urandom),
            lambda: umbral.encrypt(their_pk_a, b""),
            None,
        ),
        (
            "encapsulate with a package of 160 bytes",
            lambda: pre.encrypt_package(pk_a, package, os.urandom),
            lambda: umbral.encrypt(their_pk_a, package),
            None,
        ),
        ("kfrags, 2 of 3", kfrags, their_kfrags, 0.5),
        (
            "kfrags, 2 of 3, umbral-pre's shape",
            lambda: [library_form.kfrag_to_library(kfrag, s) for kfrag in kfrags()],
            lambda: [
                bytes(kfrag) for kfrag in umbral.generate_kfrags(their_a, their_pk_b, their_signer, 2, 3, True, True)
            ],
            0.5,
        ),
        (
            "verify a cfrag",
            lambda: loose.verify(capsule=capsule, **keys),
            lambda: their_loose.verify(their_capsule, *their_keys),
            0.65,
        ),
        (
            "parse and verify a cfrag",
            lambda: pre.CapsuleFrag.from_bytes(encoded).verify(capsule=capsule, **keys),
            lambda: umbral.CapsuleFrag.from_bytes(their_encoded).verify(their_capsule, *their_keys),
            0.65,
        ),
        (
            "open from two cfrags",
            lambda: pre.open_package(
                pre.half_open(b, made[0].x_a), pk_a=pk_a, capsule=capsule, cfrags=cfrags[:2], threshold=2, sealed=sealed
            ),
            lambda: umbral.decrypt_reencrypted(their_b, their_pk_a, their_capsule, their_cfrags[:2], their_sealed),
            0.85,
        ),
        (
            "parse and check a capsule",
            lambda: pre.Capsule.from_bytes(capsule_bytes),
            lambda: umbral.Capsule.from_bytes(their_capsule_bytes),
            None,
        ),
    ]
    key_point, nonce, data = pk_a.to_bytes(), bytes(dem.NONCE_BYTES), capsule_bytes
    capsule_us, their_empty_us = fastest(lambda: encapsulate(pk_a, os.urandom), lambda: umbral.encrypt(their_pk_a, b""))
    sealing_us, _ = fastest(lambda: dem.seal(key_point, nonce, b"", data), lambda: None)
    alone = row("encapsulate, the capsule alone", capsule_us, their_empty_us - sealing_us, 0.5)
    return [alone, *rest(pairs)]


def rest(pairs: list[tuple[str, Callable[[], object], Callable[[], object], float | None]]) -> list[Row]:
    """One row a pair."""
    return [row(name, *fastest(ours, theirs), limit) for name, ours, theirs, limit in pairs]
