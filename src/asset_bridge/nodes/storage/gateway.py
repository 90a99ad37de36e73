"""GET and HEAD /ipfs/{cid}[/{path}] by the trustless gateway protocol: one raw block, or a DAG as CAR.

Source: spec/node-http.md §6 (IPFS trustless gateway specification, blocks and CAR). Promises: what is sent was verified against its id, on
the way out or by this process since its file last changed (H14a); answers may be cached for ever; a CAR is whole, or its connection is cut.
Does not promise: deserialised files, IPNS.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol

from asset_bridge.errors import BridgeError, InputError, UnavailableError
from asset_bridge.ipfs.memory import block_missing
from asset_bridge.ipld.any_car import archive_header, section
from asset_bridge.ipld.cid import DAG_PB, RAW, Cid
from asset_bridge.ipld.content_id import ContentId
from asset_bridge.ipld.walk import Resolved, resolve, walk
from asset_bridge.nodes.storage.asked import Asked, matches, one_range, read_request
from asset_bridge.transport.calls import Answer, Call, FilePart, Route
from asset_bridge.transport.server import error_answer

_FOR_EVER = "public, max-age=29030400, immutable"
_STATUS = {
    "ipfs.block-missing": 404,
    "ipfs.path": 404,
    "ipfs.not-acceptable": 406,
    "ipfs.range": 416,
}


class Blocks(Protocol):
    """Where the blocks come from. One that has `find_block`, `find_size` and `checked_file` (EmbeddedStore) serves any id, others
    sha2-256 ids."""

    def get_block(self, cid: Cid) -> bytes:
        """A verified block."""
        ...

    def block_size(self, cid: Cid) -> int | None:
        """Its size without reading it, or None when it is not here."""
        ...


def gateway_routes(blocks: Blocks) -> list[Route]:
    """The gateway's routes over `blocks`."""
    gateway = _Gateway(blocks)
    return [Route("GET", "/ipfs/{path:path}", gateway.answer, "A raw block, or a DAG as CAR")]


class _Gateway:
    def __init__(self, blocks: Any) -> None:
        self._blocks, self._any = blocks, hasattr(blocks, "find_block")

    def answer(self, call: Call) -> Answer:
        headers: dict[str, str] = {"access-control-allow-origin": "*"}
        try:
            asked = read_request(call)
            headers["accept-ranges"] = "bytes" if asked.form == "raw" else "none"
            return self._answer(asked, call, headers)
        except (InputError, UnavailableError) as error:
            status = _STATUS.get(error.code)
            if status == 404 and "only-if-cached" in call.headers.get("cache-control", ""):
                status = 412
            refusal = error_answer(error, status)
            return Answer(status=refusal.status, json=refusal.json, headers={**headers, **refusal.headers})

    def _answer(self, asked: Asked, call: Call, headers: dict[str, str]) -> Answer:
        given = call.headers.get("if-none-match", "")
        if given and not asked.segments and given.strip() != "*" and matches(given, asked.etag(asked.root)):
            headers |= self._headers(asked, asked.etag(asked.root), asked.roots_text)
            return Answer(
                status=304, body=b"", headers=headers, media_type=asked.media_type
            )  # nothing of it can have changed
        where = resolve(self._get, asked.root, list(asked.segments))
        etag = asked.etag(where.cid)
        headers |= self._headers(asked, etag, ",".join((asked.roots_text, *(str(cid) for cid in where.roots[1:]))))
        if given and matches(given, etag):
            return Answer(status=304, body=b"", headers=headers, media_type=asked.media_type)
        if asked.form == "raw":
            return self._raw(asked, where, call, headers)
        if call.method == "HEAD":
            self._size(where.cid)
            return Answer(body=b"", headers=headers, media_type=asked.media_type)
        found = self._sections(asked, where)
        first = next(found)  # before the status line goes out: the header and, from here on, blocks that are there
        second = next(found, b"")
        return Answer(stream=_joined(first + second, found), headers=headers, media_type=asked.media_type)

    @staticmethod
    def _headers(asked: Asked, etag: str, roots: str) -> dict[str, str]:
        return {
            "etag": etag,
            "cache-control": _FOR_EVER,
            "content-disposition": asked.disposition(),
            "x-ipfs-path": asked.content_path,
            "x-ipfs-roots": roots,
            "vary": "accept",
        }

    def _raw(self, asked: Asked, where: Resolved, call: Call, headers: dict[str, str]) -> Answer:
        if where.inside:
            raise InputError("ipfs.path", "This path ends inside a block; a raw answer is a whole block.")
        head = call.method == "HEAD"
        stored = None if head else self._stored(where.cid)
        block = b"" if head or stored is not None else self._get(where.cid)
        size = stored[2] if stored is not None else self._size(where.cid) if head else len(block)
        wanted = call.headers.get("if-range", headers["etag"]) == headers["etag"] and call.headers.get("range")
        try:
            part = one_range(wanted, size) if wanted else None
        except InputError as error:
            if stored is not None:
                stored[0].close()
            refusal = error_answer(error, 416)
            return Answer(
                status=416, json=refusal.json, headers={"content-range": f"bytes */{size}", **refusal.headers}
            )
        status = 200
        if part is not None:
            status, headers["content-range"] = 206, f"bytes {part[0]}-{part[1]}/{size}"
        length = size if part is None else part[1] - part[0] + 1
        if head:
            headers["content-length"] = str(length)
            return Answer(status=status, body=b"", headers=headers, media_type=asked.media_type)
        if stored is not None:
            file = FilePart(stored[0], stored[1] + (part[0] if part is not None else 0), length)
            return Answer(status=status, part=file, headers=headers, media_type=asked.media_type)
        if part is not None:
            block = block[part[0] : part[1] + 1]
        return Answer(status=status, body=block, headers=headers, media_type=asked.media_type)

    def _sections(self, asked: Asked, where: Resolved) -> Iterator[bytes]:
        yield archive_header([where.cid])
        seen = set[bytes]()
        blocks = [(cid, self._get(cid)) for cid in where.passed if cid.inline is None]
        found = walk(self._get, where.cid, asked.scope, asked.wanted, sent=None if asked.dups else seen)
        for cid, block in _chain(blocks, found):
            if not asked.dups:
                if cid.digest in seen:
                    continue
                seen.add(cid.digest)
            yield section(cid, block)

    def _get(self, cid: ContentId) -> bytes:
        if cid.inline is not None:
            return cid.inline
        if self._any:
            block: bytes = self._blocks.find_block(cid)
            return block
        strict = cid.strict()
        if strict is None or cid.codec not in (RAW, DAG_PB):
            raise block_missing(cid)
        return bytes(self._blocks.get_block(strict))

    def _stored(self, cid: ContentId) -> tuple[BinaryIO, int, int] | None:
        """An open file that holds the block, its place and size, where it was checked already and need not pass through here."""
        strict = cid.strict()
        if not self._any or strict is None or strict.codec != RAW:
            return None
        found: tuple[BinaryIO, int, int] | None = self._blocks.checked_file(strict)
        return found

    def _size(self, cid: ContentId) -> int:
        """A block's size without its bytes, where the source knows it. Raises UnavailableError(ipfs.block-missing)."""
        if cid.inline is not None:
            return len(cid.inline)
        strict = cid.strict()
        size: int | None = None
        if self._any:
            size = self._blocks.find_size(cid)
        elif strict is not None and cid.codec in (RAW, DAG_PB):
            size = self._blocks.block_size(strict)
        if size is None:
            raise block_missing(cid)
        return size


def _chain(
    passed: list[tuple[ContentId, bytes]], rest: Iterator[tuple[ContentId, bytes]]
) -> Iterator[tuple[ContentId, bytes]]:
    yield from passed
    yield from rest


def _joined(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    """The status line is gone: a cut-off stream is how CAR says that a block is missing or damaged."""
    yield first
    try:
        yield from rest
    except BridgeError:
        raise ConnectionError("a block of this DAG cannot be read") from None
