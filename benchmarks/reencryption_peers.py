"""Re-encryption beside umbral-pre 0.11.0 on the same machine in the same run, like for like.

Processor time of this process, so that other work on the machine counts little; ours and theirs take turns, and each figure is the fastest of
many short rounds. "Like for like": both sides parse nothing that the other does not parse, and check the capsule on both sides or on neither.
umbral-pre has no call for the capsule alone, so the capsule is compared as an encryption of an empty package on both sides. It makes two signatures a kfrag
and one of them is not part of our protocol (R12); the row "kfrags, umbral-pre's shape" makes both on our side too.

Run: python -m benchmarks.reencryption_peers
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass

from asset_bridge import reencryption as pre
from asset_bridge.keys.derivation import ShareRandomness
from asset_bridge.keys.secp256k1 import SecretScalar
from asset_bridge.reencryption import library_form

ROUNDS = 60
ROUND_SECONDS = 0.004


@dataclass(frozen=True)
class Row:
    """One operation. `limit` is the ratio that must be held."""

    name: str
    ours_us: float
    peer_us: float
    limit: float | None

    @property
    def ratio(self) -> float:
        """Ours over theirs."""
        return self.ours_us / self.peer_us

    def line(self) -> str:
        """For people."""
        verdict = (
            "" if self.limit is None else f"  limit {self.limit:.2f} {'met' if self.ratio <= self.limit else 'MISSED'}"
        )
        return f"{self.name:44} ours {self.ours_us:8.1f} µs  umbral-pre {self.peer_us:8.1f} µs  ratio {self.ratio:.2f}{verdict}"


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
            0.5,
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
    return [Row(name, *fastest(ours, theirs), limit) for name, ours, theirs, limit in pairs]


def main() -> int:
    """Print; 1 when a limit is missed."""
    print(
        f"re-encryption beside umbral-pre 0.11.0; {platform.processor() or platform.machine()}, Python {platform.python_version()}"
    )
    measured = rows()
    for row in measured:
        print(row.line())
    return 1 if any(row.limit is not None and row.ratio > row.limit for row in measured) else 0


if __name__ == "__main__":
    raise SystemExit(main())
