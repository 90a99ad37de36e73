"""The RFC 9421 profile: golden requests, an independent implementation as oracle, and every refusal."""

from __future__ import annotations

import base64
import datetime
import json
from pathlib import Path
from typing import Any

import http_message_signatures as oracle
import httpx
import pytest

from asset_bridge.chain.keys import AccountKey
from asset_bridge.errors import BridgeError
from asset_bridge.transport.nonces import NonceStore
from asset_bridge.transport.signing import _eip191, recover, sign_request, verify_request

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = json.loads((ROOT / "spec/vectors/node-http/signed-requests.json").read_text())
KEY = AccountKey(bytes(range(1, 33)))
NOW = 1_800_000_000
TARGET: dict[str, Any] = {"method": "POST", "path": "/v1/x", "query": "a=1", "body": b"hello"}


def signed(**changes: Any) -> dict[str, str]:
    given = {"chain_id": 31337, "authority": "node.test", "created_at": NOW, "nonce": b"n" * 16, **TARGET, **changes}
    headers = sign_request(KEY, **given)
    return {**headers, "host": given["authority"]}


def verify(headers: dict[str, str], **changes: Any) -> str:
    given = {"chain_id": 31337, "authorities": {"node.test"}, "now": NOW, **TARGET, **changes}
    return verify_request(headers, **given).address


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["name"])
def test_golden(case: dict[str, Any]) -> None:
    target = {name: case[name] for name in ("method", "path", "query")}
    body = bytes.fromhex(case["body"][2:])
    by = verify_request(
        {**case["headers"], "host": case["authority"]},
        body=body,
        authorities={case["authority"]},
        chain_id=GOLDEN["chain_id"],
        now=NOW + 30,
        **target,
    )
    assert by.address == GOLDEN["address"]


def test_the_golden_file_is_what_the_tool_writes(tmp_path: Path) -> None:
    import runpy

    build = runpy.run_path(str(ROOT / "tools/vectors/node_http.py"))["build"]
    for name, text in build().items():
        assert (ROOT / "spec/vectors/node-http" / name).read_text() == text


class _Eip191(oracle.HTTPSignatureAlgorithm):
    algorithm_id = "eip191-secp256k1"

    def __init__(self, public_key: Any = None, private_key: Any = None) -> None:
        self.public_key = public_key

    def verify(self, signature: bytes, message: bytes) -> None:
        if recover(_eip191(message), signature).lower() != self.public_key:
            raise oracle.InvalidSignature("other key")


class _Keys(oracle.HTTPSignatureKeyResolver):
    def resolve_public_key(self, key_id: str) -> str:
        return key_id.rsplit(":", 1)[1]


def test_another_implementation_accepts_our_signature() -> None:
    now = int(datetime.datetime.now(datetime.UTC).timestamp())
    headers = sign_request(KEY, chain_id=1, authority="node.test", created_at=now, nonce=b"n" * 16, **TARGET)
    request = httpx.Request("POST", "http://node.test/v1/x?a=1", content=b"hello", headers=headers)
    [result] = oracle.HTTPMessageVerifier(signature_algorithm=_Eip191, key_resolver=_Keys()).verify(
        request, body=b"hello"
    )
    assert result.parameters["nonce"] == base64.urlsafe_b64encode(b"n" * 16).decode().rstrip("=")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"method": "PUT"}, "transport.signature"),
        ({"path": "/v1/y"}, "transport.signature"),
        ({"query": "a=2"}, "transport.signature"),
        ({"body": b"hellp"}, "transport.digest"),
        ({"chain_id": 1}, "transport.other-target"),
        ({"authorities": {"other.test"}}, "transport.other-target"),
        ({"now": NOW + 66}, "transport.clock"),
        ({"now": NOW - 6}, "transport.clock"),
    ],
)
def test_a_signature_counts_for_its_request_only(change: dict[str, Any], code: str) -> None:
    assert verify(signed()) == KEY.address
    with pytest.raises(BridgeError) as caught:
        verify(signed(), **change)
    assert caught.value.code == code


def test_refused_forms() -> None:
    good = signed()
    for name in ("signature", "signature-input"):
        with pytest.raises(BridgeError) as caught:
            verify({key: value for key, value in good.items() if key != name})
        assert caught.value.code == "transport.unsigned"
    with pytest.raises(BridgeError) as caught:
        verify(signed(valid_seconds=61))
    assert caught.value.code == "transport.clock"
    other = AccountKey(bytes([7]) * 32)
    for change in (
        {"signature-input": good["signature-input"].replace("eth=", "sig=")},
        {"signature-input": good["signature-input"].replace('"@path" ', "")},
        {"signature-input": good["signature-input"] + ', b=("@path")'},
        {"signature-input": good["signature-input"] + ';alg="x"'},
        {"signature-input": good["signature-input"].replace(KEY.address.lower(), other.address.lower())},
        {"signature-input": good["signature-input"].replace("bm5ubm5ubm5ubm5ubm5ubg", "bm5ubm5ubm5ubm5ubm5ubh")},
        {"signature": "eth=:" + "A" * 87 + "=:"},
    ):
        with pytest.raises(BridgeError) as caught:
            verify({**good, **change})
        assert caught.value.code == "transport.signature"


def test_high_s_is_refused() -> None:
    good = signed()
    raw = base64.b64decode(good["signature"][5:-1])
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    high = raw[:32] + (order - int.from_bytes(raw[32:64], "big")).to_bytes(32, "big") + bytes([55 - raw[64]])
    with pytest.raises(BridgeError) as caught:
        verify({**good, "signature": f"eth=:{base64.b64encode(high).decode()}:"})
    assert caught.value.code == "transport.signature"


def test_a_nonce_counts_once_also_after_a_restart(tmp_path: Path) -> None:
    store = NonceStore(tmp_path / "nonces.sqlite")
    store.use("0xa", b"n" * 16, NOW + 60, NOW)
    store.use("0xb", b"n" * 16, NOW + 60, NOW)
    again = NonceStore(tmp_path / "nonces.sqlite")  # the first is never closed, as after kill -9
    with pytest.raises(BridgeError) as caught:
        again.use("0xa", b"n" * 16, NOW + 60, NOW)
    assert caught.value.code == "transport.replay"
    again.use("0xa", b"n" * 16, NOW + 200, NOW + 140)  # long after expiry it is forgotten; the time check refuses it
    again.close()
    with pytest.raises(BridgeError) as caught:
        again.use("0xa", b"m" * 16, NOW + 60, NOW)
    assert caught.value.code == "transport.nonce-store"
