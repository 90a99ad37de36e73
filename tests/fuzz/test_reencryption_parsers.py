"""Every parser of keys and re-encryption against hostile bytes: only our errors, one encoding, under a second, no memory to speak of.

The same targets run under atheris, guided by coverage (test_guided.py; `python -m tests.fuzz.reencryption TARGET [RUNS]`
lets the corpus in tests/fuzz/corpus/TARGET grow), and here under a plain mutator that needs nothing.
"""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from asset_bridge import reencryption as pre
from asset_bridge.errors import BridgeError, DefectError
from asset_bridge.keys import hpke, kem, recovery, signing
from asset_bridge.keys.secp256k1 import Point, SecretScalar
from asset_bridge.reencryption import library_form as form
from tests.support.depth import depth
from tests.unit.reencryption.scene import fixed, half, keys, trade
from tools.vectors.keys import form_context, share_context
from tools.vectors.reencryption_case import parsed_share, share_bytes

T = trade()
CORPUS = Path(__file__).resolve().parent / "corpus"
MOST_SECONDS, MOST_BYTES = 1.0, 64 * 1024 * 1024
SHARE_KEY, HYBRID_KEY, FORM_KEY = (
    kem.ShareSecretKey(fixed("fuzz share")),
    kem.ConsumerHybridSecretKey(fixed("fuzz hybrid")),
    kem.FormSecretKey(fixed("fuzz form")),
)
ORDER, COMMIT = fixed("o"), fixed("c")
SHARE_CONTEXT, FORM_CONTEXT = share_context(), form_context()
RECOVERY = recovery.split(b"fuzz", 2, 3, lambda length: fixed("fuzz recovery", length))
Target = Callable[[bytes], object]


def same(parse: Callable[[bytes], bytes]) -> Target:
    """A parser whose every accepted input is the one encoding of what it gave."""

    def target(data: bytes) -> None:
        assert parse(data) == data, "a second encoding was accepted"

    return target


def text(data: bytes) -> None:
    """A share as a person might type it: what is accepted is a share that the bytes parser accepts too."""
    share = recovery.RecoveryShare.from_text(data.decode("utf-8", "replace"))
    assert recovery.RecoveryShare.from_bytes(share.to_bytes()) == share


def share(data: bytes) -> None:
    """A published share, parsed and checked: nothing but the honest one passes."""
    parsed_share(data).check_signature(**keys(T))
    assert data == SEEDS["share"]


def cfrag(data: bytes) -> None:
    """A cfrag, parsed and verified: nothing but the honest one passes."""
    pre.CapsuleFrag.from_bytes(data).verify(capsule=T.capsule, **keys(T))
    assert data == SEEDS["cfrag"]


def signature(data: bytes) -> None:
    """Recovering and verifying agree."""
    key = signing.recover_digest(fixed("digest"), data)
    signing.verify_digest(key, fixed("digest"), data[:64])


def w_proof(data: bytes) -> None:
    """A proof of W: nothing but the honest one passes."""
    pre.verify_commitment(T.pk_a, T.w, data, T.context)
    assert data == T.w_proof


def recover_two(data: bytes) -> None:
    """Two halves of the input as two shares."""
    given = [recovery.RecoveryShare.from_bytes(data[at : at + len(data) // 2]) for at in (0, len(data) // 2)]
    assert recovery.recover(given) == b"fuzz"


SEEDS: dict[str, bytes] = {
    "point": T.pk_a.to_bytes(),
    "scalar": T.receiving.to_secret_bytes(),
    "capsule": T.capsule.to_bytes(),
    "package": T.sealed,
    "share": share_bytes(T.kfrags[0].published()),
    "cfrag": T.cfrags[0].to_bytes(),
    "w-proof": T.w_proof,
    "half-key": half(T).to_secret_bytes(),
    "signature": signing.sign_digest(T.keys.signer, fixed("digest")),
    "library-capsule": form.capsule_to_library(T.capsule),
    "library-cfrag": form.cfrag_to_library(T.cfrags[0]),
    "library-kfrag": form.kfrag_to_library(T.kfrags[0], T.keys.signer),
    "share-key": SHARE_KEY.public_key().to_bytes(),
    "hybrid-key": HYBRID_KEY.public_key().to_bytes(),
    "sealed-kfrag": hpke.seal_kfrag(SHARE_KEY.public_key(), T.kfrags[0].rk, **SHARE_CONTEXT),
    "sealed-kpq": hpke.seal_kpq(HYBRID_KEY.public_key(), fixed("k"), order_id=ORDER, pq_commit=COMMIT),
    "sealed-form": hpke.seal_form(FORM_KEY.public_key(), b"form", **FORM_CONTEXT),
    "sealed-reply": hpke.seal_reply(HYBRID_KEY.public_key(), b"reply", order_id=ORDER),
    "recovery-share": RECOVERY[0].to_bytes(),
    "recovery-text": RECOVERY[0].to_text().encode(),
    "recovery-two": RECOVERY[0].to_bytes() + RECOVERY[1].to_bytes(),
}
TARGETS: dict[str, Target] = {
    "point": same(lambda data: Point.from_bytes(data).to_bytes()),
    "scalar": same(lambda data: SecretScalar.from_bytes(data).to_secret_bytes()),
    "capsule": same(lambda data: pre.Capsule.from_bytes(data).to_bytes()),
    "package": lambda data: pre.decrypt_package(T.keys.delegating, T.capsule, data),
    "share": share,
    "cfrag": cfrag,
    "w-proof": w_proof,
    "half-key": same(lambda data: pre.HalfKey.from_secret_bytes(data).to_secret_bytes()),
    "signature": signature,
    "library-capsule": same(lambda data: form.capsule_to_library(form.capsule_from_library(data))),
    "library-cfrag": same(lambda data: form.cfrag_to_library(form.cfrag_from_library(data))),
    "library-kfrag": same(lambda data: form.kfrag_to_library(form.kfrag_from_library(data, **keys(T)), T.keys.signer)),
    "share-key": same(lambda data: kem.SharePublicKey.from_bytes(data).to_bytes()),
    "hybrid-key": same(lambda data: kem.FormPublicKey.from_bytes(data).to_bytes()),
    "sealed-kfrag": lambda data: hpke.open_kfrag(SHARE_KEY, data, **SHARE_CONTEXT),
    "sealed-kpq": lambda data: hpke.open_kpq(HYBRID_KEY, data, order_id=ORDER, pq_commit=COMMIT),
    "sealed-form": lambda data: hpke.open_form(FORM_KEY, data, **FORM_CONTEXT),
    "sealed-reply": lambda data: hpke.open_reply(HYBRID_KEY, data, order_id=ORDER),
    "recovery-share": same(lambda data: recovery.RecoveryShare.from_bytes(data).to_bytes()),
    "recovery-text": text,
    "recovery-two": recover_two,
}
INTERESTING = (
    b"",
    b"\x00",
    b"\xff",
    bytes(32),
    b"\xff" * 32,
    b"\x02",
    b"\x04",
    b"\xc4\x21",
    b"\xc5\x00\x21",
    b"ABSHARE\x01",
    b"#\n",
)


def feed(name: str, data: bytes) -> None:
    """One input; anything but success and our own refusals is a finding."""
    try:
        TARGETS[name](data)
    except DefectError:
        raise
    except BridgeError:
        return


def mutate(draw: random.Random, pool: list[bytes]) -> bytes:
    """One to four changes of a member of the pool."""
    data = bytearray(draw.choice(pool))
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(data) + 1)
        kind = draw.randrange(7)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << draw.randrange(8)
        elif kind == 1 and data:
            data[at % len(data)] = draw.randrange(256)
        elif kind == 2:
            data[at:at] = draw.choice(INTERESTING)
        elif kind == 3:
            value = draw.choice(INTERESTING)
            data[at : at + len(value)] = value
        elif kind == 4:
            del data[at : at + draw.randint(1, 8)]
        elif kind == 5:
            other = draw.choice(pool)
            data[at:] = other[at:]
        else:
            data[at:] = data[at:] + data[: draw.randint(0, 8)]
    return bytes(data[:20_000])


@pytest.mark.parametrize("name", TARGETS)
def test_target(name: str) -> None:
    TARGETS[name](SEEDS[name])
    draw = random.Random(name)
    kept = sorted((CORPUS / name).glob("*")) if (CORPUS / name).is_dir() else []
    pool = [SEEDS[name], *(path.read_bytes() for path in kept), *INTERESTING]
    for data in pool:
        feed(name, data)
    slowest = 0.0
    tracemalloc.start() if name.startswith("recovery") else None
    for _ in range(depth("fuzz_reencryption_inputs")):
        data = mutate(draw, pool)
        start = time.process_time()
        feed(name, data)
        slowest = max(slowest, time.process_time() - start)
    if tracemalloc.is_tracing():
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < MOST_BYTES
    assert slowest < MOST_SECONDS
