"""Published Wycheproof sets for the primitives that keys and re-encryption rest on, through our own entry points."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hashes import Hash as Digest
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from asset_bridge.errors import TamperedError
from asset_bridge.keys.kem import SharePublicKey, ShareSecretKey
from asset_bridge.keys.secp256k1 import ORDER, Point, SecretScalar, shared_point
from asset_bridge.keys.signing import verify_digest

pytestmark = pytest.mark.needs_vectors


def cases(folder: Path, name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for group in json.loads((folder / "wycheproof" / f"{name}_test.json").read_text())["testGroups"]:
        for test in group["tests"]:
            yield group, test


def sha256(message: bytes) -> bytes:
    digest = Digest(SHA256())
    digest.update(message)
    return digest.finalize()


def uncompressed(encoded: bytes) -> Point:
    return Point.from_bytes(bytes([2 + encoded[64] % 2]) + encoded[1:33])


def test_x25519(vectors_dir: Path) -> None:
    ran = refused = 0
    for _, test in cases(vectors_dir, "x25519"):
        private, public, shared = (bytes.fromhex(test[name]) for name in ("private", "public", "shared"))
        ran += 1
        try:
            computed = X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError:  # the library refuses a shared secret of zero
            assert test["result"] == "acceptable"
            assert shared == bytes(32)
        else:
            assert computed == shared
        if int.from_bytes(public, "little") >= 2**255 - 19:  # K10: one spelling a key
            refused += 1
            assert test["result"] == "acceptable"
            with pytest.raises(TamperedError):
                SharePublicKey.from_bytes(public)
        else:
            assert SharePublicKey.from_bytes(public).native() == X25519PublicKey.from_public_bytes(public)
        assert ShareSecretKey.from_bytes(private).native().private_bytes_raw() == private
    assert ran >= 500
    assert refused > 0


def test_mlkem_768(vectors_dir: Path) -> None:
    ran = 0
    for _, test in cases(vectors_dir, "mlkem_768"):
        try:
            key = MLKEM768PrivateKey.from_seed_bytes(bytes.fromhex(test["seed"]))
            shared = key.decapsulate(bytes.fromhex(test["c"]))
        except ValueError:
            assert test["result"] == "invalid"
        else:
            assert test["result"] == "valid"
            assert (shared.hex(), key.public_key().public_bytes_raw().hex()) == (test["K"], test["ek"])
        ran += 1
    assert ran >= 190


SPKI = "3056301006072a8648ce3d020106052b8104000a034200"  # id-ecPublicKey, secp256k1, 65 bytes uncompressed
SPKI_COMPRESSED = "3036301006072a8648ce3d020106052b8104000a032200"


def test_ecdh_secp256k1(vectors_dir: Path) -> None:
    """Our x-coordinate is the published secret wherever the key is in one of the two standard wrappings."""
    ran = invalid = 0
    for _, test in cases(vectors_dir, "ecdh_secp256k1"):
        wrapped = test["public"]
        if not (wrapped.startswith(SPKI) and len(wrapped) == len(SPKI) + 130) and not (
            wrapped.startswith(SPKI_COMPRESSED) and len(wrapped) == len(SPKI_COMPRESSED) + 66
        ):
            assert test["result"] != "valid", test["comment"]
            continue
        encoded = bytes.fromhex(wrapped.removeprefix(SPKI).removeprefix(SPKI_COMPRESSED))
        secret = SecretScalar.from_bytes((int(test["private"], 16)).to_bytes(32, "big"))
        ran += 1
        try:
            point = Point.from_bytes(encoded) if len(encoded) == 33 else uncompressed(encoded)
            if len(encoded) == 65 and point.to_uncompressed_bytes() != encoded:
                raise TamperedError("test.off-curve", "the y coordinate is not the curve's")
        except TamperedError:
            assert test["result"] != "valid", test["comment"]
            invalid += 1
            continue
        assert test["result"] in ("valid", "acceptable"), test["comment"]
        assert shared_point(secret, point).to_bytes()[1:].hex() == test["shared"], test["comment"]
    assert ran >= 490  # the others are wrapped in ways that no key of ours is
    assert invalid > 0


def fixed_form(der: bytes) -> bytes | None:
    """r ‖ s of a strictly DER-encoded signature; None for anything else."""
    if len(der) < 8 or der[0] != 0x30 or der[1] != len(der) - 2 or der[1] >= 128:
        return None
    numbers, at = [], 2
    for _ in range(2):
        if at + 2 > len(der) or der[at] != 2 or not 1 <= der[at + 1] <= 33:
            return None
        value, at = der[at + 2 : at + 2 + der[at + 1]], at + 2 + der[at + 1]
        if not value or value[0] & 0x80 or (len(value) > 1 and value[0] == 0 and not value[1] & 0x80):
            return None
        if int.from_bytes(value, "big") >> 256:
            return None
        numbers.append(int.from_bytes(value, "big").to_bytes(32, "big"))
    return numbers[0] + numbers[1] if at == len(der) else None


@pytest.mark.parametrize(("name", "least"), [("bitcoin", 450), ("p1363", 240)])
def test_ecdsa_secp256k1(name: str, least: int, vectors_dir: Path) -> None:
    """The bitcoin set asks for low-s, as we do; of the other set, valid high-s signatures are refused by us (K7)."""
    ran = high = 0
    for group, test in cases(vectors_dir, f"ecdsa_secp256k1_sha256_{name}"):
        ran += 1
        key = uncompressed(bytes.fromhex(group["publicKey"]["uncompressed"]))
        signature = bytes.fromhex(test["sig"]) if name == "p1363" else fixed_form(bytes.fromhex(test["sig"]))
        wanted = test["result"] == "valid"
        if signature is None:
            assert not wanted, test["comment"]
            continue
        if wanted and int.from_bytes(signature[32:], "big") > ORDER // 2:
            assert name == "p1363"
            wanted, high = False, high + 1
        try:
            verify_digest(key, sha256(bytes.fromhex(test["msg"])), signature)
        except TamperedError:
            assert not wanted, test["comment"]
        else:
            assert wanted, test["comment"]
    assert ran >= least
    assert (high > 0) == (name == "p1363")


def test_hkdf_sha256(vectors_dir: Path) -> None:
    ran = 0
    for _, test in cases(vectors_dir, "hkdf_sha256"):
        ikm, salt, info, okm = (bytes.fromhex(test[name]) for name in ("ikm", "salt", "info", "okm"))
        ran += 1
        if test["result"] == "invalid":
            with pytest.raises(ValueError):
                HKDF(SHA256(), test["size"], salt, info).derive(ikm)
        else:
            assert HKDF(SHA256(), test["size"], salt, info).derive(ikm) == okm
    assert ran >= 80
