"""Scalars, points and signatures: one encoding each, secrets that stay hidden (K2-K7)."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from asset_bridge.errors import DefectError, InputError, TamperedError
from asset_bridge.keys import secp256k1, signing
from asset_bridge.keys.secp256k1 import GENERATOR, ORDER, Point, SecretScalar
from tools.vectors.keys import fixed

P = 2**256 - 2**32 - 977


def scalar(value: int) -> SecretScalar:
    return SecretScalar.from_bytes((value % ORDER).to_bytes(32, "big"))


def number(value: SecretScalar) -> int:
    return int.from_bytes(value.to_secret_bytes(), "big")


@pytest.mark.parametrize("value", [0, ORDER, ORDER + 1, 2**256 - 1])
def test_a_scalar_out_of_range_is_refused(value: int) -> None:
    with pytest.raises(TamperedError) as caught:
        SecretScalar.from_bytes(value.to_bytes(32, "big"))
    assert caught.value.code == "keys.scalar"


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_scalar_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(TamperedError) as caught:
        SecretScalar.from_bytes(bytes(length))
    assert caught.value.code == "keys.scalar"


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        bytes(33),
        b"\x02" + bytes(32),
        b"\x04" + GENERATOR.to_bytes()[1:],
        b"\x06" + GENERATOR.to_bytes()[1:],
        GENERATOR.to_bytes()[:-1],
        GENERATOR.to_bytes() + b"\x00",
        GENERATOR.to_uncompressed_bytes(),
        b"\x02" + P.to_bytes(32, "big"),
        b"\x02" + (P + 1).to_bytes(32, "big"),
        b"\x02" + (5).to_bytes(32, "big"),
    ],
)
def test_what_is_no_point_is_refused(encoded: bytes) -> None:
    with pytest.raises(TamperedError) as caught:
        Point.from_bytes(encoded)
    assert caught.value.code == "keys.point"


def test_arithmetic_agrees_with_plain_numbers() -> None:
    for i in range(20):
        a, b = (int.from_bytes(fixed(f"{name}{i}"), "big") % ORDER for name in "ab")
        left, right = scalar(a), scalar(b)
        assert number(secp256k1.secret_add(left, right)) == (a + b) % ORDER
        assert number(secp256k1.secret_subtract(left, right)) == (a - b) % ORDER
        assert number(secp256k1.secret_multiply(left, right)) == a * b % ORDER
        assert secp256k1.respond(right, left, a) == (a * a + b) % ORDER
        assert number(secp256k1.secret_inverse(left)) == pow(a, -1, ORDER)
        point = right.public_key()
        assert secp256k1.shared_point(left, point) == secp256k1.multiply_public(point, a)
        assert secp256k1.public_times_base(a) == left.public_key()
        assert secp256k1.add_points(left.public_key(), point) == secp256k1.public_times_base((a + b) % ORDER)
        assert Point.from_bytes(point.to_bytes()) == point
        assert len({point, Point.from_bytes(point.to_bytes())}) == 1


def test_several_products_are_those_taken_one_by_one() -> None:
    secrets = [scalar(value) for value in (1, 2, ORDER - 1, int.from_bytes(fixed("s"), "big") % ORDER)]
    points = [GENERATOR, scalar(5).public_key(), scalar(ORDER - 3).public_key()]
    pairs = [(secret, point) for secret in secrets for point in points]
    together, one_by_one = secp256k1.shared_points(*pairs), [secp256k1.shared_point(*pair) for pair in pairs]
    assert [point.to_bytes() for point in together] == [point.to_bytes() for point in one_by_one]
    for left, right in zip(together, one_by_one, strict=True):
        assert secp256k1.same_point(left, right), "as a struct of the library too"
        assert left.to_uncompressed_bytes() == right.to_uncompressed_bytes()
    assert secp256k1.shared_points() == []


@pytest.mark.parametrize(
    "value", [1, ORDER - 1, ORDER, ORDER + 1, 2**256 - 1, 2**256, 2**256 + ORDER, 2**384 - 1, 2**300]
)
def test_wide_values_are_reduced_at_the_edges(value: int) -> None:
    if value % ORDER == 0:
        with pytest.raises(TamperedError):
            SecretScalar.from_wide(value.to_bytes(48, "big"))
    else:
        assert number(SecretScalar.from_wide(value.to_bytes(48, "big"))) == value % ORDER


@pytest.mark.parametrize("wide", [b"", bytes(15) + b"\1", b"\1" * 47, b"\1" * 49, bytearray(b"\1" * 47), "1" * 48])
def test_a_wide_value_of_another_length_is_refused_before_the_library_reads_it(wide: Any) -> None:
    with pytest.raises(InputError) as caught:
        SecretScalar.from_wide(wide)
    assert caught.value.code == "keys.size"


def test_a_wide_value_may_be_any_kind_of_bytes() -> None:
    wide = bytes(range(48))
    for kind in (bytearray, memoryview):
        assert SecretScalar.from_wide(kind(wide)) == SecretScalar.from_wide(wide)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0, 1, ORDER - 3, ORDER - 2, ORDER - 1, ORDER, ORDER + 1, 2**256 - 1])
def test_digests_become_scalars_at_the_edges(value: int) -> None:
    assert number(SecretScalar.from_digest(value.to_bytes(32, "big"))) == value % (ORDER - 1) + 1


def test_sums_at_infinity_and_out_of_range_factors() -> None:
    a = scalar(7)
    with pytest.raises(DefectError) as defect:
        secp256k1.secret_subtract(a, a)
    assert defect.value.code == "keys.curve"
    with pytest.raises(TamperedError) as caught:
        secp256k1.add_points(GENERATOR, secp256k1.public_times_base(ORDER - 1))
    assert caught.value.code == "keys.point"
    for bad in (0, ORDER):
        with pytest.raises(TamperedError) as caught:
            secp256k1.multiply_public(GENERATOR, bad)
        assert caught.value.code == "keys.scalar"
        with pytest.raises(TamperedError):
            secp256k1.public_times_base(bad)
        with pytest.raises(DefectError):
            secp256k1.respond(a, a, bad)
    with pytest.raises(DefectError):
        secp256k1.respond(a, a, ORDER - 1)
    for bad in (-1, 2**256):
        with pytest.raises(InputError) as refused:
            secp256k1.multiply_public(GENERATOR, bad)
        assert refused.value.code == "keys.size"


def test_a_secret_neither_shows_nor_travels() -> None:
    secret = scalar(int.from_bytes(fixed("hidden"), "big"))
    assert repr(secret) == str(secret) == "SecretScalar(hidden)"
    for attempt in (lambda: pickle.dumps(secret), lambda: copy.copy(secret), lambda: copy.deepcopy(secret)):
        with pytest.raises(DefectError) as caught:
            attempt()
        assert caught.value.code == "keys.secret-copied"
    with pytest.raises(TypeError):
        hash(secret)
    assert secret == SecretScalar.from_bytes(fixed("hidden"))
    assert secret != fixed("hidden")


@pytest.mark.parametrize(
    ("refuses", "act"),
    [
        ("ecdh", lambda: secp256k1.shared_point(scalar(3), GENERATOR)),
        ("ecdh", lambda: secp256k1.shared_points((scalar(3), GENERATOR))),
        ("ec_seckey_tweak_mul", lambda: secp256k1.secret_multiply(scalar(3), scalar(4))),
        ("ec_seckey_tweak_add", lambda: secp256k1.secret_add(scalar(3), scalar(4))),
        ("ec_seckey_tweak_mul", lambda: secp256k1.respond(scalar(3), scalar(4), 5)),
        ("ec_seckey_tweak_add", lambda: secp256k1.respond(scalar(3), scalar(4), 5)),
    ],
)
def test_the_curve_library_refusing_valid_scalars_is_a_defect(
    refuses: str, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing:
        def __getattr__(self, name: str) -> object:
            return (lambda *_: 0) if name == f"secp256k1_{refuses}" else getattr(secp256k1_lib, name)

    secp256k1_lib = secp256k1.lib
    act()
    monkeypatch.setattr(secp256k1, "lib", Refusing())
    with pytest.raises(DefectError) as caught:
        act()
    assert caught.value.code == "keys.curve"


def test_signatures_have_one_form() -> None:
    secret, digest = scalar(int.from_bytes(fixed("signer"), "big")), fixed("digest")
    signature = signing.sign_digest(secret, digest)
    assert signature == signing.sign_digest(secret, digest)
    key = secret.public_key()
    signing.verify_digest(key, digest, signature)
    signing.verify_digest(key, digest, signature[:64])
    assert signing.recover_digest(digest, signature) == key
    high = signature[:32] + (ORDER - int.from_bytes(signature[32:64], "big")).to_bytes(32, "big")
    broken = (
        high,
        high + bytes([55 - signature[64]]),
        signature[:64] + b"\x00",
        signature[:64] + b"\x1d",
        signature[:64] + bytes([55 - signature[64]]),
        signature[:63],
        signature + b"\x00",
        b"",
        bytes(64),
        bytes(65),
        bytes(64) + b"\x1b",
        b"\xff" * 64,
        b"\xff" * 64 + b"\x1b",
    )
    for bad in broken:
        with pytest.raises(TamperedError) as caught:
            signing.verify_digest(key, digest, bad)
        assert caught.value.code == "keys.signature"
    for other_key, other_digest in ((GENERATOR, digest), (key, fixed("other"))):
        for form in (signature, signature[:64]):
            with pytest.raises(TamperedError):
                signing.verify_digest(other_key, other_digest, form)
    with pytest.raises(InputError):
        signing.sign_digest(secret, digest[:31])


@pytest.mark.parametrize("form", [b"\xff" * 64, b"\xff" * 64 + b"\x1b"])
def test_a_signature_out_of_range_is_not_said_to_be_by_another_key(form: bytes) -> None:
    with pytest.raises(TamperedError, match="out of range"):
        signing.verify_digest(GENERATOR, fixed("digest"), form)


def test_ordinary_wide_values_and_digests_never_become_python_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """K3: the way through numbers, whose time depends on the secret, is for one value in 2^127."""
    wide, digest = fixed("wide") + fixed("more")[:16], fixed("digest")
    expected = int.from_bytes(wide, "big") % ORDER, int.from_bytes(digest, "big") % (ORDER - 1) + 1
    monkeypatch.setattr(secp256k1, "int", None, raising=False)
    found = SecretScalar.from_wide(wide), SecretScalar.from_digest(digest)
    monkeypatch.undo()
    assert tuple(int.from_bytes(each.to_secret_bytes(), "big") for each in found) == expected


def test_a_nonce_that_the_chain_cannot_express_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "ffi", Overflowing(signing.ffi))
    monkeypatch.setattr(signing, "lib", Ignoring())
    with pytest.raises(DefectError) as caught:
        signing.sign_digest(scalar(5), fixed("digest"))
    assert caught.value.code == "keys.curve"


class Overflowing:
    """The library's memory, where the recovery number comes out as 2."""

    def __init__(self, real: object) -> None:
        self.real = real

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)

    def new(self, kind: str, *rest: object) -> object:
        return self.real.new(kind, 2) if kind == "int *" else self.real.new(kind, *rest)


class Ignoring:
    """A curve library that writes nothing."""

    def __getattr__(self, name: str) -> object:
        return lambda *_: 1


def test_equal_points_are_one_member_of_a_set() -> None:
    again = Point.from_bytes(GENERATOR.to_bytes())
    assert len({GENERATOR, again}) == 1
    assert hash(again) == hash(GENERATOR)


def test_a_point_shows_its_bytes() -> None:
    assert repr(GENERATOR) == "Point(0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798)"
