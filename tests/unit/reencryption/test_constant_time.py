"""Secrets meet only the constant-time functions of the curve library (K4, K5).

Three nets: the variable-time multiplication raises while every secret-bearing operation runs; where an operation
also does public work, that multiplication may not be given a number that was ever a secret; and the source names
each library function and each place that turns bytes into a Python number.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from asset_bridge import reencryption as pre
from asset_bridge.keys import derivation, hpke, kem, secp256k1, signing
from asset_bridge.keys.secp256k1 import ORDER, Point, SecretScalar
from asset_bridge.reencryption import capsule, cfrag, commitment, opening, prepayment
from tests.unit.reencryption.scene import fixed, half, keys, opened, source, trade
from tools.vectors.keys import share_context

ROOT = Path(__file__).resolve().parents[3]
T = trade()
USERS = (secp256k1, capsule, cfrag, commitment, opening)

PUBLIC_ONLY = {"chain_proof.py"}  # what anybody posts on chain; it knows no secret type
SECRET_ONLY: dict[str, Callable[[], object]] = {
    "public key": lambda: T.receiving.public_key(),
    "scalars": lambda: secp256k1.secret_inverse(
        secp256k1.secret_subtract(secp256k1.secret_add(T.receiving, T.keys.signer), T.keys.delegating)
    ),
    "derive an asset's keys": lambda: derivation.asset_keys(T.seed, T.tweak, T.container_id),
    "derive shares": lambda: T.share_randomness("", 2, 3),
    "sign": lambda: signing.sign_digest(T.keys.signer, fixed("digest")),
    "encrypt the package": lambda: pre.encrypt_package(T.pk_a, T.package, source("net")),
    "decrypt the package": lambda: pre.decrypt_package(T.keys.delegating, T.capsule, T.sealed),
    "generate shares": lambda: pre.generate_shares(T.keys.delegating, T.pk_b, T.keys.signer, 2, T.randomness),
    "seal and open a share": lambda: hpke.open_kfrag(
        kem.ShareSecretKey(bytes(32)),
        hpke.seal_kfrag(kem.ShareSecretKey(bytes(32)).public_key(), T.kfrags[0].rk, **share_context()),
        **share_context(),
    ),
    "check a share": lambda: pre.KeyFrag(T.kfrags[0].rk, T.kfrags[0].published()).verify(**keys(T)),
    "re-encrypt": lambda: pre.reencrypt(T.capsule, T.kfrags[0]),
    "half open": lambda: pre.half_open(T.receiving, T.kfrags[0].x_a),
    "prove W": lambda: pre.prove_commitment(T.keys.delegating, T.context),
    "check the polynomial": lambda: prepayment._check_polynomial(
        half(T), [kfrag.published() for kfrag in T.kfrags], 2, T.w
    ),
}
WITH_PUBLIC_WORK: dict[str, Callable[[], object]] = {
    "accept a share": lambda: pre.accept_share(
        rk=T.kfrags[0].rk, share=T.kfrags[0].published(), capsule=T.capsule, **keys(T)
    ),
    "open the package": lambda: opened(T, T.cfrags),
    "check before payment": lambda: pre.pre_payment_check(**T.pre_payment()),
}


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(point: Point, scalar: int) -> Point:
        raise AssertionError("a variable-time multiplication ran in a secret-bearing operation")

    for module in USERS:
        monkeypatch.setattr(module, "multiply_public", raising)


@pytest.mark.parametrize("name", SECRET_ONLY)
def test_no_secret_bearing_operation_calls_a_variable_time_function(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid(monkeypatch)
    SECRET_ONLY[name]()


@pytest.fixture
def tainted(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Every number that is or was a secret; the variable-time multiplication refuses them and their negatives."""
    seen: set[int] = set()
    make, multiply = SecretScalar.__init__, secp256k1.multiply_public

    def recording(self: SecretScalar, value: bytes) -> None:
        make(self, value)
        seen.add(int.from_bytes(value, "big"))

    def guarded(point: Point, scalar: int) -> Point:
        assert scalar not in seen, "a secret reached a variable-time multiplication"
        assert ORDER - scalar not in seen, "a secret reached a variable-time multiplication"
        return multiply(point, scalar)

    monkeypatch.setattr(SecretScalar, "__init__", recording)
    for module in USERS:
        monkeypatch.setattr(module, "multiply_public", guarded)
    for known in (T.receiving, T.keys.delegating, T.keys.signer, *(kfrag.rk for kfrag in T.kfrags)):
        seen.add(int.from_bytes(known.to_secret_bytes(), "big"))
    return seen


@pytest.mark.parametrize("name", [*WITH_PUBLIC_WORK, *SECRET_ONLY])
def test_no_secret_reaches_the_variable_time_multiplication(name: str, tainted: set[int]) -> None:
    {**WITH_PUBLIC_WORK, **SECRET_ONLY}[name]()
    assert tainted


@pytest.mark.parametrize("name", ["re-encrypt", "prove W", "half open", "check a share"])
def test_a_planted_variable_time_call_is_caught(name: str, tainted: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    def planted(secret: SecretScalar, point: Point) -> Point:
        return opening.multiply_public(point, int.from_bytes(secret.to_secret_bytes(), "big"))

    def planted_in_all(*pairs: tuple[SecretScalar, Point]) -> list[Point]:
        return [planted(*pair) for pair in pairs]

    for module in (capsule, commitment, opening, pre.kfrag):
        monkeypatch.setattr(module, "shared_point", planted)
    monkeypatch.setattr(cfrag, "shared_points", planted_in_all)
    with pytest.raises(AssertionError, match="variable-time"):
        SECRET_ONLY[name]()
    assert tainted


def calls_in(room: str) -> Iterator[tuple[str, str, str]]:
    """(file, function, dotted name that it calls)."""
    for path in sorted((ROOT / "src" / "asset_bridge" / room).glob("*.py")):
        for outer in ast.walk(ast.parse(path.read_text())):
            if isinstance(outer, ast.FunctionDef):
                for node in ast.walk(outer):
                    if isinstance(node, ast.Call):
                        yield path.name, outer.name, ast.unparse(node.func)


def places(wanted: Callable[[str], bool]) -> set[tuple[str, str, str]]:
    found: set[tuple[str, str, str]] = set()
    for room in ("keys", "reencryption"):
        found |= {(file, function, name) for file, function, name in calls_in(room) if wanted(name)}
    return found


def test_the_curve_library_is_called_in_two_files_by_these_names_only() -> None:
    found = {(file, name.removeprefix("lib.secp256k1_")) for file, _, name in places(lambda n: n.startswith("lib."))}
    assert found == {
        ("secp256k1.py", "ec_pubkey_combine"),
        ("secp256k1.py", "ec_pubkey_cmp"),
        ("secp256k1.py", "ec_pubkey_create"),
        ("secp256k1.py", "ec_pubkey_parse"),
        ("secp256k1.py", "ec_pubkey_serialize"),
        ("secp256k1.py", "ec_pubkey_tweak_mul"),
        ("secp256k1.py", "ec_seckey_negate"),
        ("secp256k1.py", "ec_seckey_tweak_add"),
        ("secp256k1.py", "ec_seckey_tweak_mul"),
        ("secp256k1.py", "ec_seckey_verify"),
        ("secp256k1.py", "ecdh"),
        ("signing.py", "ecdsa_recover"),
        ("signing.py", "ecdsa_recoverable_signature_convert"),
        ("signing.py", "ecdsa_recoverable_signature_parse_compact"),
        ("signing.py", "ecdsa_recoverable_signature_serialize_compact"),
        ("signing.py", "ecdsa_sign_recoverable"),
        ("signing.py", "ecdsa_signature_normalize"),
        ("signing.py", "ecdsa_signature_parse_compact"),
        ("signing.py", "ecdsa_verify"),
    }
    tweaks = places(lambda n: n == "lib.secp256k1_ec_pubkey_tweak_mul")
    assert tweaks == {("secp256k1.py", "multiply_public", "lib.secp256k1_ec_pubkey_tweak_mul")}


def test_bytes_become_python_numbers_in_these_places_only() -> None:
    found = {(file, function) for file, function, _ in places(lambda n: n in ("int.from_bytes", "pow"))}
    found = {place for place in found if place[0] not in PUBLIC_ONLY}
    for file in PUBLIC_ONLY:
        path = ROOT / "src" / "asset_bridge" / "reencryption" / file
        assert not path.exists() or "Secret" not in path.read_text()
    assert found == {
        ("kem.py", "__init__"),  # public keys
        ("recovery.py", "_times"),  # a constant of ones
        ("recovery.py", "_value_at"),  # numbers of one fixed size: XOR, AND and shifts only
        ("recovery.py", "split"),  # the same
        ("secp256k1.py", "from_wide"),  # values of probability 2^-127
        ("secp256k1.py", "from_digest"),  # the same
        ("secp256k1.py", "respond"),  # what a protocol publishes
        ("secp256k1.py", "secret_inverse"),  # a blinded value
        ("capsule.py", "from_bytes"),  # s, public
        ("cfrag.py", "from_bytes"),  # z, public
        ("commitment.py", "_holds"),  # z
        ("hashes.py", "_number"),  # public hashes
    }


def test_the_inverse_is_blinded_anew_in_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """K4: a blind that depended on the secret alone made the time a function of the secret (timing study)."""
    seen = []

    def watched(base: int, exponent: int, modulus: int) -> int:
        seen.append(base)
        return pow(base, exponent, modulus)

    monkeypatch.setattr(secp256k1, "pow", watched, raising=False)
    assert secp256k1.secret_inverse(T.receiving) == secp256k1.secret_inverse(T.receiving)
    assert len(set(seen)) == 2
    assert int.from_bytes(T.receiving.to_secret_bytes(), "big") not in seen


def test_three_functions_publish_a_response() -> None:
    found = {(file, function) for file, function, _ in places(lambda n: n == "respond")}
    assert found == {("capsule.py", "encapsulate"), ("cfrag.py", "reencrypt"), ("commitment.py", "prove_commitment")}


def test_a_secret_scalar_has_no_operators() -> None:
    operators = {"add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "neg", "int", "index", "lt", "xor", "bytes"}
    for name in operators:
        assert not hasattr(SecretScalar, f"__{name}__") or name == "lt"
    one: Any = T.receiving
    for attempt in (lambda: one + one, lambda: one * 2, lambda: 2 * one, lambda: int(one), lambda: one < one):
        with pytest.raises(TypeError):
            attempt()
