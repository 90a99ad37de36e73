"""Wycheproof for the primitives under the sealed file: the library of this machine keeps its promises."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

pytestmark = pytest.mark.needs_vectors


def published(folder: Path, name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for group in json.loads((folder / "wycheproof" / name).read_text())["testGroups"]:
        for test in group["tests"]:
            yield group, test


def test_aes_gcm(vectors_dir: Path) -> None:
    ran = other_sizes = 0
    for group, test in published(vectors_dir, "aes_gcm_test.json"):
        if (group["keySize"], group["ivSize"], group["tagSize"]) != (256, 96, 128):
            other_sizes += 1  # sizes that FLOE never uses
            continue
        cipher = AESGCM(bytes.fromhex(test["key"]))
        iv, aad, message = (bytes.fromhex(test[field]) for field in ("iv", "aad", "msg"))
        sealed = bytes.fromhex(test["ct"]) + bytes.fromhex(test["tag"])
        out = bytearray(len(message))
        if test["result"] == "valid":
            cipher.decrypt_into(iv, sealed, aad, out)
            assert bytes(out) == message, test["tcId"]
            again = bytearray(len(sealed))
            cipher.encrypt_into(iv, message, aad, again)
            assert bytes(again) == sealed, test["tcId"]
        else:
            with pytest.raises(InvalidTag):
                cipher.decrypt_into(iv, sealed, aad, out)
        ran += 1
    assert ran >= 60, other_sizes


def test_hkdf_sha384(vectors_dir: Path) -> None:
    ran = 0
    for _, test in published(vectors_dir, "hkdf_sha384_test.json"):
        ikm, salt, info = (bytes.fromhex(test[field]) for field in ("ikm", "salt", "info"))
        if test["result"] == "valid":
            made = HKDF(algorithm=SHA384(), length=test["size"], salt=salt, info=info).derive(ikm)
            key = hmac.digest(salt or bytes(48), ikm, "sha384")
            expanded = HKDFExpand(algorithm=SHA384(), length=test["size"], info=info).derive(key)
            assert made == expanded == bytes.fromhex(test["okm"]), test["tcId"]
        else:
            with pytest.raises(ValueError):
                HKDF(algorithm=SHA384(), length=test["size"], salt=salt, info=info).derive(ikm)
        ran += 1
    assert ran >= 80


def test_hmac_sha384(vectors_dir: Path) -> None:
    ran = 0
    for group, test in published(vectors_dir, "hmac_sha384_test.json"):
        made = hmac.digest(bytes.fromhex(test["key"]), bytes.fromhex(test["msg"]), "sha384")[: group["tagSize"] // 8]
        assert hmac.compare_digest(made, bytes.fromhex(test["tag"])) == (test["result"] == "valid"), test["tcId"]
        ran += 1
    assert ran >= 170
