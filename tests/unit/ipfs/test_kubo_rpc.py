"""The client of kubo's RPC against answers that no honest kubo gives: each becomes an error of ours, no word of kubo's is passed on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from asset_bridge.errors import BridgeError
from asset_bridge.ipfs.kubo import rpc as rpc_module
from asset_bridge.ipfs.kubo.rpc import KuboRpc
from asset_bridge.ipld.cid import Cid, raw_cid
from tests.ports.test_blocks import code_of

BLOCK = b"a block"
CID = raw_cid(BLOCK)
TREE = Cid(0x70, CID.digest)


def client(answer: Callable[[httpx.Request], httpx.Response], **changes: Any) -> KuboRpc:
    return KuboRpc("http://127.0.0.1:5001", transport=httpx.MockTransport(answer), **{"secret": "s3cret", **changes})


class Stream(httpx.SyncByteStream):
    """Parts of a body, and perhaps an error at its end."""

    def __init__(self, *parts: bytes, then: Exception | None = None) -> None:
        self._parts, self._then = parts, then

    def __iter__(self) -> Iterator[bytes]:
        yield from self._parts
        if self._then is not None:
            raise self._then


def says(status: int, *parts: bytes, then: Exception | None = None) -> Callable[[httpx.Request], httpx.Response]:
    def answer(request: httpx.Request) -> httpx.Response:
        request.read()
        return httpx.Response(status, stream=Stream(*parts, then=then))

    return answer


def fails(text: str) -> Callable[[httpx.Request], httpx.Response]:
    return says(500, json.dumps({"Message": text, "Code": 0, "Type": "error"}).encode())


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (fails("block was not found locally (offline): ipld: could not find x"), "ipfs.block-missing"),
        (fails("block in storage has different hash than requested"), "ipfs.block-damaged"),
        (fails("write /repo/blocks: no space left on device"), "ipfs.disk-full"),
        (fails("something new"), "ipfs.kubo-reply"),
        (says(403, b"403 - Forbidden"), "ipfs.kubo-authorization"),
        (says(301, b""), "ipfs.kubo-reply"),
        (says(200, b"another block"), "ipfs.block-damaged"),
        (says(200, bytes(3 * 2**20)), "ipfs.kubo-reply"),
        (says(200, b"a bl", then=httpx.RemoteProtocolError("cut")), "ipfs.kubo-down"),
        (says(200, b"a bl", then=httpx.ReadTimeout("slow")), "ipfs.kubo-down"),
    ],
)
def test_reading_a_block(answer: Callable[[httpx.Request], httpx.Response], code: str) -> None:
    with pytest.raises(BridgeError) as caught:
        client(answer).block_get(CID)
    assert caught.value.code == code
    for word in ("s3cret", "/repo", "something new"):
        assert word not in caught.value.message + caught.value.hint + repr(caught.value)


def test_a_refused_connection_and_a_wrong_address() -> None:
    def refuse(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    assert code_of(lambda: client(refuse).version()) == "ipfs.kubo-down"
    for url in ("ftp://x", "http://user@x", "http://x?y", "nothing"):
        assert code_of(lambda url=url: KuboRpc(url)) == "ipfs.kubo-url"


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"not json", b'{"RepoSize": "5"}', b'{"RepoSize": true, "StorageMax": 1}']
)
def test_numbers_that_are_none(line: bytes) -> None:
    assert code_of(lambda: client(says(200, line)).repo_stat()) == "ipfs.kubo-reply"


def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc_module, "MAX_ANSWER_BYTES", 100)
    assert code_of(lambda: client(says(200, *[b'{"Cid": "x"}\n'] * 50)).pins("")) == "ipfs.kubo-reply"


def test_a_block_stored_under_another_name_is_no_success() -> None:
    other = json.dumps({"Key": str(raw_cid(b"other")), "Size": 7}).encode()
    assert code_of(lambda: client(says(200, other)).block_put(CID, BLOCK)) == "ipfs.kubo-reply"
    assert code_of(lambda: client(says(200, other)).block_put(CID, b"not it")) == "ipld.block"


def test_what_is_sent() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        request.read()
        seen.append(request)
        return httpx.Response(200, stream=Stream(json.dumps({"Key": str(TREE), "Size": 7}).encode()))

    client(answer).block_put(TREE, BLOCK)
    [request] = seen
    assert (request.method, request.url.path) == ("POST", "/api/v0/block/put")
    assert dict(request.url.params) == {"cid-codec": "dag-pb", "mhtype": "sha2-256", "pin": "false"}
    assert request.headers["authorization"] == "Bearer s3cret"
    boundary = request.headers["content-type"].partition("boundary=")[2].encode()
    assert request.content.split(b"\r\n\r\n", 1)[1] == BLOCK + b"\r\n--" + boundary + b"--\r\n"


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ((b'{"Progress": 1}\n', b'{"Message": "x: not found", "Code": 0, "Type": "error"}\n'), "ipfs.kubo-pin"),
        ((b'{"Progress": 1}\n',), "ipfs.kubo-pin"),
        ((b'{"Pins": ["another"]}\n',), "ipfs.kubo-pin"),
    ],
)
def test_a_pin_that_did_not_come_to_its_end(parts: tuple[bytes, ...], code: str) -> None:
    assert code_of(lambda: client(says(200, *parts)).pin(CID, "x")) == code


def test_a_pin_that_makes_no_progress_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc_module, "PIN_SECONDS", -1.0)
    assert code_of(lambda: client(says(200, b'{"Progress": 0}\n')).pin(CID, "x")) == "ipfs.kubo-pin"


def test_an_import_without_its_last_word_is_no_success() -> None:
    assert code_of(lambda: client(says(200, b"")).dag_import([b"car"])) == "ipfs.kubo-reply"
    good = b'{"Stats": {"BlockCount": 3, "BlockBytesCount": 9}}\n'
    assert client(says(200, good)).dag_import([b"c", b"ar"]) == 3


def test_blocks_that_a_pin_needs_are_reported_and_others_gone() -> None:
    lines = (
        json.dumps({"Hash": str(CID), "Error": "pinned: recursive"}).encode() + b"\n",
        json.dumps({"Hash": str(TREE)}).encode() + b"\n",
    )
    assert client(says(200, *lines)).block_remove([CID, TREE]) == [CID]
