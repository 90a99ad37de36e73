"""Does the time of a secret-bearing operation depend on its secret? Welch's t-test, one secret held fixed against fresh random ones.

The method of dudect (Reparaz, Balasch, Verbauwhede, "Dude, is my code constant time?", 2017): the two classes take turns in
random order, the slow tail is cut at several quantiles (interruptions, not secrets, make it), and the largest |t| of all cuts
counts. |t| above 4.5 is evidence of a leak; below it the study found none at this number of measurements, which is no proof. The
fixed secrets are extreme ones too (few bits, many bits). The variable-time multiplication, given the same secrets, is measured as
a control: there the study must find the leak, or it is blind.

Run: make bench ROOM=reencryption_timing; with more measurements: python -m benchmarks.reencryption_timing 20000
"""

from __future__ import annotations

import math
import os
import platform
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from asset_bridge import reencryption as pre
from asset_bridge.keys import recovery, secp256k1
from asset_bridge.keys.derivation import ShareRandomness
from asset_bridge.keys.secp256k1 import Point, SecretScalar
from asset_bridge.keys.signing import sign_digest
from benchmarks.common import Row

MEASUREMENTS = 4000
LIMIT = 4.5
CUTS = (1.0, 0.95, 0.9, 0.75, 0.5)
FIXED = {
    "one bit": 1,
    "255 bits": (1 << 255) - 1,
    "alternating": int("55" * 32, 16),
}


@dataclass(frozen=True)
class Result:
    """The largest |t| over all cuts and fixed secrets."""

    name: str
    t: float
    fixed: str

    @property
    def leaks(self) -> bool:
        """Above the limit."""
        return abs(self.t) > LIMIT


def welch(left: list[float], right: list[float]) -> float:
    """Welch's t."""
    means = [sum(side) / len(side) for side in (left, right)]
    variances = [
        sum((x - mean) ** 2 for x in side) / (len(side) - 1) for side, mean in zip((left, right), means, strict=True)
    ]
    spread = math.sqrt(variances[0] / len(left) + variances[1] / len(right))
    return (means[0] - means[1]) / spread if spread else 0.0


def largest_t(times: list[tuple[bool, float]]) -> float:
    """Over all cuts of the slow tail; the cut is the same for both classes."""
    ordered = sorted(value for _, value in times)
    found = 0.0
    for cut in CUTS:
        bound = ordered[int(len(ordered) * cut) - 1]
        sides: tuple[list[float], list[float]] = ([], [])
        for is_fixed, value in times:
            if value <= bound:
                sides[is_fixed].append(value)
        t = welch(*sides) if min(map(len, sides)) > 10 else 0.0
        found = t if abs(t) > abs(found) else found
    return found


def study(operation: Callable[[SecretScalar], object], fixed: SecretScalar, measurements: int) -> float:
    """One operation, one fixed secret. All secrets are made before, so that only the operation is timed."""
    draw = random.Random(os.urandom(16))
    plan = [
        (is_fixed, fixed if is_fixed else SecretScalar.from_wide(os.urandom(48)))
        for is_fixed in (draw.random() < 0.5 for _ in range(measurements))
    ]
    plan = [(is_fixed, SecretScalar.from_bytes(bytes(bytearray(s.to_secret_bytes())))) for is_fixed, s in plan]
    times = []
    for is_fixed, secret in plan:
        start = time.perf_counter_ns()
        operation(secret)
        times.append((is_fixed, float(time.perf_counter_ns() - start)))
    return largest_t(times[measurements // 20 :])  # the first ones warm the caches


def operations() -> dict[str, Callable[[SecretScalar], object]]:
    """What is studied: the secret is the argument, everything else is the same in every call."""
    a, s, b = (SecretScalar.from_wide(os.urandom(48)) for _ in range(3))
    pk_a, pk_b, signer = a.public_key(), b.public_key(), s.public_key()
    point, digest, other = SecretScalar.from_wide(os.urandom(48)).public_key(), os.urandom(32), s
    capsule, _ = pre.encrypt_package(pk_a, b"package", os.urandom)
    ids = tuple(os.urandom(32) for _ in range(2))
    chosen = ShareRandomness(SecretScalar.from_wide(os.urandom(48)), (SecretScalar.from_wide(os.urandom(48)),), ids)
    share = pre.generate_shares(a, pk_b, s, 2, chosen)[0].published()
    context = pre.ListingContext(1, bytes(20), bytes(20), bytes(16))

    def reencrypt(secret: SecretScalar) -> object:
        # A kfrag of any secret, unchecked: only its secret differs between calls.
        kfrag = object.__new__(pre.VerifiedKeyFrag)
        values = (share.kfrag_id, secret, share.u1, share.x_a, share.receiver_signature, pk_a, pk_b, signer)
        names = ("kfrag_id", "rk", "u1", "x_a", "receiver_signature", "pk_a", "pk_b", "signer")
        for name, value in zip(names, values, strict=True):
            object.__setattr__(kfrag, name, value)
        return pre.reencrypt(capsule, kfrag)

    return {
        "secret · point": lambda secret: secp256k1.shared_point(secret, point),
        "secret · G": lambda secret: secret.public_key(),
        "secret + secret": lambda secret: secp256k1.secret_add(secret, other),
        "secret · secret": lambda secret: secp256k1.secret_multiply(secret, other),
        "inverse": secp256k1.secret_inverse,
        "sign": lambda secret: sign_digest(secret, digest),
        "re-encrypt": reencrypt,
        "shares of a key": lambda secret: pre.generate_shares(secret, pk_b, s, 2, chosen),
        "half open": lambda secret: pre.half_open(secret, point),
        "prove W": lambda secret: pre.prove_commitment(secret, context),
        "split for recovery": lambda secret: recovery.split(secret.to_secret_bytes(), 2, 3, bytes),
    }


def control(point: Point) -> Callable[[SecretScalar], object]:
    """The variable-time multiplication, which no secret may reach."""
    return lambda secret: secp256k1.multiply_public(point, int.from_bytes(secret.to_secret_bytes(), "big"))


def results(measurements: int = MEASUREMENTS) -> tuple[list[Result], Result]:
    """Every operation, and the control."""
    secrets = {name: SecretScalar.from_bytes(value.to_bytes(32, "big")) for name, value in FIXED.items()}
    secrets["drawn"] = SecretScalar.from_wide(os.urandom(48))

    def worst(name: str, operation: Callable[[SecretScalar], object]) -> Result:
        found = [Result(name, study(operation, secret, measurements), label) for label, secret in secrets.items()]
        return max(found, key=lambda result: abs(result.t))

    point = SecretScalar.from_wide(os.urandom(48)).public_key()
    studied = [worst(name, operation) for name, operation in operations().items()]
    return studied, worst("control: variable-time multiplication", control(point))


def rows() -> list[Row]:
    """For `make bench`: the largest |t| of each operation, beside the limit."""
    studied, known = results()
    made = [
        Row(
            f"timing: {r.name}, fixed secret: {r.fixed}",
            f"|t| {abs(r.t):.1f}",
            f"limit {LIMIT}",
            abs(r.t) / LIMIT,
            "below 1",
            not r.leaks,
        )
        for r in studied
    ]
    return [
        *made,
        Row(
            f"timing: {known.name}",
            f"|t| {abs(known.t):.1f}",
            f"limit {LIMIT}",
            abs(known.t) / LIMIT,
            "above 1",
            known.leaks,
        ),
    ]


def main(arguments: list[str]) -> int:
    """Print the study; 1 when something leaks or the control shows nothing."""
    measurements = int(arguments[0]) if arguments else MEASUREMENTS
    print(
        f"{measurements} measurements for each of {len(FIXED) + 1} fixed secrets; {platform.machine()}, Python {platform.python_version()}"
    )
    studied, known = results(measurements)
    for result in [*studied, known]:
        print(f"{result.name:40} largest |t| {abs(result.t):8.2f} (fixed secret: {result.fixed})")
    leaking = [result.name for result in studied if result.leaks]
    print(f"result: {'no dependence found' if not leaking else 'dependence found in ' + ', '.join(leaking)}")
    print(
        f"control: {'the leak of the variable-time function is seen' if known.leaks else 'BLIND: the known leak is not seen'}"
    )
    return 1 if leaking or not known.leaks else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
