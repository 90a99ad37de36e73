"""P1: no one-byte change and no suffix or cut of any object is accepted (R9, R21, R30, R39, R10)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from asset_bridge import reencryption as pre
from asset_bridge.errors import TamperedError
from asset_bridge.keys.secp256k1 import Point, SecretScalar
from asset_bridge.reencryption import library_form as form
from tests.support.depth import depth
from tests.unit.reencryption.scene import fixed, keys, trade

T = trade()


@dataclass
class Object:
    """Its bytes, and the check that must refuse every other bytes."""

    honest: bytes
    check: Callable[[bytes], object]


def share(encoded: bytes) -> pre.PublishedShare:
    return pre.PublishedShare.from_fields(encoded[:32], encoded[32:65], encoded[65:98], encoded[98:])


def check_share(encoded: bytes) -> None:
    share(encoded).check_signature(**keys(T))


def check_cfrag(encoded: bytes) -> None:
    pre.CapsuleFrag.from_bytes(encoded).verify(capsule=T.capsule, **keys(T))


def check_accept(encoded: bytes) -> None:
    if len(encoded) < 32:
        raise TamperedError("test.cut", "no share left")
    rk = SecretScalar.from_bytes(encoded[:32])
    pre.accept_share(rk=rk, share=share(encoded[32:]), capsule=T.capsule, **keys(T))


KFRAG = T.kfrags[0]
FIELDS = KFRAG.kfrag_id + KFRAG.u1.to_bytes() + KFRAG.x_a.to_bytes() + KFRAG.receiver_signature
OBJECTS = {
    "capsule": Object(T.capsule.to_bytes(), pre.Capsule.from_bytes),
    "package": Object(T.sealed, lambda b: pre.decrypt_package(T.keys.delegating, T.capsule, b)),
    "published share": Object(FIELDS, check_share),
    "share at accept": Object(KFRAG.rk.to_secret_bytes() + FIELDS, check_accept),
    "cfrag": Object(T.cfrags[0].to_bytes(), check_cfrag),
    "W": Object(T.w.to_bytes(), lambda b: pre.verify_commitment(T.pk_a, Point.from_bytes(b), T.w_proof, T.context)),
    "proof of W": Object(T.w_proof, lambda b: pre.verify_commitment(T.pk_a, T.w, b, T.context)),
    "library capsule": Object(form.capsule_to_library(T.capsule), form.capsule_from_library),
    "library cfrag": Object(
        form.cfrag_to_library(T.cfrags[0]),
        lambda b: form.cfrag_from_library(b).verify(capsule=T.capsule, **keys(T)),
    ),
    "library kfrag": Object(
        form.kfrag_to_library(KFRAG, T.keys.signer), lambda b: form.kfrag_from_library(b, **keys(T))
    ),
}


def others(honest: bytes, label: str) -> Iterator[bytes]:
    """Other bytes: at each place as many other values as the depth says, every cut, and suffixes."""
    count = depth("reencryption_byte_changes")
    for at, value in enumerate(honest):
        drawn = range(1, 256) if count >= 255 else {1, 2, 128, *(1 + b % 255 for b in fixed(f"{label} {at}", count))}
        for delta in drawn:
            yield honest[:at] + bytes([value ^ delta]) + honest[at + 1 :]
    for length in range(len(honest)):
        yield honest[:length]
    for suffix in (b"\x00", b"\x01", b"\xff", bytes(2), b"\xc0", honest[:1], honest):
        yield honest + suffix


@pytest.mark.parametrize("name", OBJECTS)
def test_nothing_but_the_honest_bytes_is_accepted(name: str) -> None:
    subject = OBJECTS[name]
    subject.check(subject.honest)
    accepted = 0
    for changed in others(subject.honest, name):
        assert changed != subject.honest
        try:
            subject.check(changed)
        except TamperedError:
            continue
        accepted += 1
    assert accepted == 0


def test_every_second_spelling_of_a_signature_is_refused() -> None:
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    r, s, v = FIELDS[98:130], int.from_bytes(FIELDS[130:162], "big"), FIELDS[162]
    high = r + (order - s).to_bytes(32, "big")
    for flipped in (bytes([55 - v]), bytes([v])):
        with pytest.raises(TamperedError) as caught:
            check_share(FIELDS[:98] + high + flipped)
        assert caught.value.code == "reencryption.receiver-signature"
    with pytest.raises(TamperedError) as caught:
        check_cfrag(T.cfrags[0].to_bytes()[:295] + high)
    assert caught.value.code == "reencryption.cfrag"
