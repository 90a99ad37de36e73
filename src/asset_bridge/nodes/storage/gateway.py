"""GET and HEAD /ipfs/{cid} by the trustless gateway protocol: one raw block, or a body as CAR.

Source: spec/node-http.md §6 (IPFS trustless gateway specification). Promises: what is sent was verified against its CID on the way out;
answers may be cached for ever. Does not promise: paths below a CID, ranges (one block is the smallest unit a reader can verify).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from asset_bridge.errors import BridgeError, InputError, UnavailableError
from asset_bridge.ipfs.gateway import RAW_MEDIA_TYPE
from asset_bridge.ipld.car import car_block, car_header
from asset_bridge.ipld.cid import DAG_PB, Cid
from asset_bridge.ipld.unixfs import parse_file_node
from asset_bridge.transport.calls import Answer, Call, Route
from asset_bridge.transport.server import error_answer

CAR_MEDIA_TYPE = "application/vnd.ipld.car"
_FOR_EVER = "public, max-age=29030400, immutable"
_IDENTITY_PROBE = "bafkqaaa"  # the empty block inside its own CID: how clients find out that this is a gateway


class Blocks(Protocol):
    """Where the blocks come from."""

    def get_block(self, cid: Cid) -> bytes:
        """A verified block."""
        ...

    def block_size(self, cid: Cid) -> int | None:
        """Its size without reading it, or None when it is not here."""
        ...


def gateway_routes(blocks: Blocks) -> list[Route]:
    """The gateway's routes over `blocks`."""
    return [
        Route("GET", "/ipfs/{cid}", lambda call: _answer(blocks, call), "A raw block, or a body as CAR"),
    ]


def _answer(blocks: Blocks, call: Call) -> Answer:
    try:
        form = _format(call)
        if call.params["cid"] == _IDENTITY_PROBE:
            return Answer(body=b"", media_type=RAW_MEDIA_TYPE)
        cid = Cid.parse(call.params["cid"])
        headers = _headers(cid, form)
        if _matches(call.headers.get("if-none-match", ""), headers["etag"]):
            return Answer(status=304, body=b"", headers=headers)
        if form == "car":
            return _car(blocks, cid, call, headers)
        if call.method == "HEAD":
            size = blocks.block_size(cid)
            if size is None:
                raise UnavailableError("ipfs.block-missing", f"The block {cid} is not here.", actor="storage node")
            return Answer(body=b"", headers={**headers, "content-length": str(size)}, media_type=RAW_MEDIA_TYPE)
        return Answer(body=blocks.get_block(cid), headers=headers, media_type=RAW_MEDIA_TYPE)
    except UnavailableError as error:
        return error_answer(error, 404 if error.code == "ipfs.block-missing" else None)


def _format(call: Call) -> str:
    """raw or car, by the query, else by Accept."""
    asked = call.query.get("format", "")
    if not asked:
        kinds = [part.split(";")[0].strip() for part in call.headers.get("accept", "").split(",")]
        asked = next((name for name, kind in (("raw", RAW_MEDIA_TYPE), ("car", CAR_MEDIA_TYPE)) if kind in kinds), "")
    if asked not in ("raw", "car"):
        raise InputError(
            "ipfs.format",
            "This gateway serves only answers that can be verified.",
            hint=f"Ask with format=raw or format=car, or Accept: {RAW_MEDIA_TYPE}.",
        )
    return asked


def _headers(cid: Cid, form: str) -> dict[str, str]:
    ending = {"raw": "bin", "car": "car"}[form]
    return {
        "etag": f'"{cid}.{form}"',
        "cache-control": _FOR_EVER,
        "content-disposition": f'attachment; filename="{cid}.{ending}"',
        "x-ipfs-path": f"/ipfs/{cid}",
        "x-ipfs-roots": str(cid),
        "vary": "accept",
    }


def _matches(given: str, etag: str) -> bool:
    return given.strip() == "*" or etag in [part.strip().removeprefix("W/") for part in given.split(",")]


def _car(blocks: Blocks, root: Cid, call: Call, headers: dict[str, str]) -> Answer:
    scope, order, dups = (
        call.query.get(name, default)
        for name, default in (("dag-scope", "all"), ("car-order", "dfs"), ("car-dups", "n"))
    )
    if scope not in ("all", "entity", "block") or order not in ("dfs", "unk") or dups not in ("y", "n"):
        raise InputError(
            "ipfs.format", "This gateway sends CAR with dag-scope all, entity or block, in depth-first order."
        )
    media = f"{CAR_MEDIA_TYPE}; version=1; order=dfs; dups={dups}"
    if call.method == "HEAD":
        if blocks.block_size(root) is None:
            raise UnavailableError("ipfs.block-missing", f"The block {root} is not here.", actor="storage node")
        return Answer(body=b"", headers=headers, media_type=media)
    first = blocks.get_block(root)  # before the status line goes out
    sections = _sections(blocks.get_block, root, first, whole=scope != "block", dups=dups == "y")
    return Answer(
        stream=sections,
        headers={**headers, "etag": headers["etag"].replace(".car", f".car.{scope}.{dups}")},
        media_type=media,
    )


def _sections(get: Callable[[Cid], bytes], root: Cid, first: bytes, *, whole: bool, dups: bool) -> Iterator[bytes]:
    yield car_header(root)
    todo, seen = [root], set[Cid]()
    while todo:
        cid = todo.pop()
        if not dups and cid in seen:
            continue
        seen.add(cid)
        try:
            block = first if cid == root else get(cid)
        except BridgeError:
            # The status line is gone: a cut-off stream is how CAR says that a block is missing.
            raise ConnectionError("a block of this body cannot be read") from None
        yield car_block(cid, block)
        if whole and cid.codec == DAG_PB:
            todo.extend(link.cid for link in reversed(parse_file_node(block).links))
