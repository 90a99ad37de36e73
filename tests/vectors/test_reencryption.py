"""Golden objects of re-encryption: ours, umbral-pre's, and pre-payment sets with their outcome (spec/reencryption.md)."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from asset_bridge import reencryption as pre
from asset_bridge.errors import BridgeError
from asset_bridge.keys.secp256k1 import SecretScalar
from asset_bridge.reencryption import library_form as form
from tools.vectors import reencryption as tool

FOLDER = Path(__file__).resolve().parents[2] / "spec" / "vectors" / "reencryption"
LIBRARY = json.loads((FOLDER / "library.json").read_text())
PRE_PAYMENT = json.loads((FOLDER / "pre-payment.json").read_text())


def scalar(encoded: str) -> SecretScalar:
    return SecretScalar.from_bytes(bytes.fromhex(encoded))


def test_the_golden_files_are_what_the_code_makes() -> None:
    for name, text in tool.build().items():
        assert (FOLDER / name).read_text() == text, name


@pytest.mark.parametrize("case", LIBRARY, ids=lambda case: f"{case['threshold']} of {len(case['kfrags'])}")
def test_frozen_objects_of_umbral_pre(case: dict[str, Any]) -> None:
    a, b, signer = scalar(case["delegating"]), scalar(case["receiving"]), scalar(case["signer"]).public_key()
    keys = {"pk_a": a.public_key(), "pk_b": b.public_key(), "signer": signer}
    capsule, sealed = form.capsule_from_library(bytes.fromhex(case["capsule"])), bytes.fromhex(case["sealed"])
    package = bytes.fromhex(case["package"])
    assert pre.decrypt_package(a, capsule, sealed) == package
    kfrags = [form.kfrag_from_library(bytes.fromhex(value), **keys) for value in case["kfrags"]]
    theirs = [form.cfrag_from_library(bytes.fromhex(v)).verify(capsule=capsule, **keys) for v in case["cfrags"]]
    assert [form.cfrag_to_library(cfrag).hex() for cfrag in theirs] == case["cfrags"]
    assert form.capsule_to_library(capsule).hex() == case["capsule"]
    half = pre.half_open(b, kfrags[0].x_a)
    for cfrags in (theirs, [pre.reencrypt(capsule, kfrag) for kfrag in kfrags]):
        opened = pre.open_package(
            half, pk_a=a.public_key(), capsule=capsule, cfrags=cfrags, threshold=case["threshold"], sealed=sealed
        )
        assert opened == package


@pytest.mark.parametrize("name", PRE_PAYMENT)
def test_pre_payment_sets(name: str) -> None:
    case = PRE_PAYMENT[name]
    context = {key: v if isinstance(v, int) else bytes.fromhex(v) for key, v in case["context"].items()}
    outcome, actor = "accepted", "nobody"
    try:
        pre.pre_payment_check(
            **{key: bytes.fromhex(case[key]) for key in ("capsule", "pk_a", "signer", "w", "proof")},
            context=pre.ListingContext(**context),
            slots=[pre.PublishedShare.from_fields(*map(bytes.fromhex, slot)) for slot in case["slots"]],
            threshold=case["threshold"],
            receiving=scalar(case["receiving"]),
        )
    except BridgeError as error:
        outcome = error.code
        actor = error.actor
    assert outcome == case["expect"]
    assert actor == {"accepted": "nobody", "reencryption.threshold": "you"}.get(outcome, "provider")


def test_every_outcome_of_the_pre_payment_check_has_a_case() -> None:
    spec = (FOLDER.parents[1] / "reencryption.md").read_text()
    documented = set(re.findall(r"^\| `(reencryption\.[a-z0-9-]+)` .*R3[1-6]", spec, re.MULTILINE))
    expected = {case["expect"] for case in PRE_PAYMENT.values()} - {"accepted"}
    assert documented <= expected
    assert expected - documented <= {"reencryption.capsule", "reencryption.w-proof"}  # R31 names R7 and R30


def test_u_is_the_hash_of_a_public_string() -> None:
    """R2: RFC 9380 §8.7, so nobody chose U and nobody knows its logarithm. Constants: RFC 9380 appendix E.1."""
    x, y = hash_to_curve(b"POINT_U", b"PARAMETERS")
    assert pre.PARAMETER_U.to_uncompressed_bytes() == b"\x04" + x.to_bytes(32, "big") + y.to_bytes(32, "big")


P = 2**256 - 2**32 - 977
A, B, Z = 0x3F8731ABDD661ADCA08A5558F0F5D272E953D363CB6F0E5D405447C01A444533, 1771, P - 11
ISOGENY = (
    (
        0x8E38E38E38E38E38E38E38E38E38E38E38E38E38E38E38E38E38E38DAAAAA8C7,
        0x7D3D4C80BC321D5B9F315CEA7FD44C5D595D2FC0BF63B92DFFF1044F17C6581,
        0x534C328D23F234E6E2A413DECA25CAECE4506144037C40314ECBD0B53D9DD262,
        0x8E38E38E38E38E38E38E38E38E38E38E38E38E38E38E38E38E38E38DAAAAA88C,
    ),
    (
        0xD35771193D94918A9CA34CCBB7B640DD86CD409542F8487D9FE6B745781EB49B,
        0xEDADC6F64383DC1DF7C4B2D51B54225406D36B641F5E41BBC52A56612A8C6D14,
        1,
    ),
    (
        0x4BDA12F684BDA12F684BDA12F684BDA12F684BDA12F684BDA12F684B8E38E23C,
        0xC75E0C32D5CB7C0FA9D0A54B12A0A6D5647AB046D686DA6FDFFC90FC201D71A3,
        0x29A6194691F91A73715209EF6512E576722830A201BE2018A765E85A9ECEE931,
        0x2F684BDA12F684BDA12F684BDA12F684BDA12F684BDA12F684BDA12F38E38D84,
    ),
    (
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFF93B,
        0x7A06534BB8BDB49FD5E9E6632722C2989467C1BFC8E8D978DFB425D2685C2573,
        0x6484AA716545CA2CF3A70C3FA8FE337E0A3D21162F0D6299A7BF8192BFD2A76F,
        1,
    ),
)


def expand(message: bytes, domain: bytes) -> bytes:
    """96 bytes of expand_message_xmd with SHA-256."""
    tail = domain + bytes([len(domain)])
    first = hashlib.sha256(bytes(64) + message + (96).to_bytes(2, "big") + b"\x00" + tail).digest()
    blocks = [hashlib.sha256(first + b"\x01" + tail).digest()]
    for number in (2, 3):
        mixed = bytes(left ^ right for left, right in zip(first, blocks[-1], strict=True))
        blocks.append(hashlib.sha256(mixed + bytes([number]) + tail).digest())
    return b"".join(blocks)


def map_to_curve(u: int) -> tuple[int, int]:
    """Simplified SWU on the isogenous curve, then the 3-isogeny."""
    t = (Z * Z * pow(u, 4, P) + Z * u * u) % P
    x = -B * pow(A, -1, P) * (1 + pow(t, -1, P)) % P
    for candidate in (x, Z * u * u * x % P):
        square = (candidate**3 + A * candidate + B) % P
        y = pow(square, (P + 1) // 4, P)
        if y * y % P == square:
            break
    y = y if y % 2 == u % 2 else P - y
    up_x, down_x, up_y, down_y = (sum(c * pow(candidate, i, P) for i, c in enumerate(k)) % P for k in ISOGENY)
    return up_x * pow(down_x, -1, P) % P, y * up_y * pow(down_y, -1, P) % P


def hash_to_curve(message: bytes, domain: bytes) -> tuple[int, int]:
    """secp256k1_XMD:SHA-256_SSWU_RO_."""
    uniform = expand(message, domain)
    (x1, y1), (x2, y2) = (map_to_curve(int.from_bytes(uniform[i : i + 48], "big") % P) for i in (0, 48))
    slope = (y2 - y1) * pow(x2 - x1, -1, P) % P
    x = (slope * slope - x1 - x2) % P
    return x, (slope * (x1 - x) - y1) % P
