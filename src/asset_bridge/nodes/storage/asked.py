"""What a gateway request asks for: form, path, scope, ranges; from URL parameters first, else from Accept.

Source: spec/node-http.md §6 (IPFS trustless gateway specification, IPIP-0402, -0412, -0523; RFC 9110 for Range and conditions).
Promises: everything a request says is either understood or refused; an unknown parameter is ignored, as the specification wants.
"""

from __future__ import annotations

import hashlib
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass

from asset_bridge.errors import InputError
from asset_bridge.ipfs.gateway import RAW_MEDIA_TYPE
from asset_bridge.ipld.content_id import ContentId
from asset_bridge.ipld.walk import ALL, BLOCK, ENTITY, ByteRange
from asset_bridge.transport.calls import Call

CAR_MEDIA_TYPE = "application/vnd.ipld.car"
_FORMS = {"raw": RAW_MEDIA_TYPE, "car": CAR_MEDIA_TYPE}
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, understood. `roots_text` is the root's id as the request spelled it."""

    form: str
    root: ContentId
    roots_text: str
    segments: tuple[str, ...]
    scope: str
    wanted: ByteRange | None
    dups: bool
    filename: str

    @property
    def media_type(self) -> str:
        """The answer's Content-Type."""
        if self.form == "raw":
            return RAW_MEDIA_TYPE
        return f"{CAR_MEDIA_TYPE}; version=1; order=dfs; dups={'y' if self.dups else 'n'}"

    @property
    def content_path(self) -> str:
        """What X-Ipfs-Path shows."""
        return "/ipfs/" + "/".join((self.roots_text, *(urllib.parse.quote(part) for part in self.segments)))

    def etag(self, terminal: ContentId | None) -> str:
        """Strong: the same request has the same bytes for ever. A raw block's is the block's, whatever path led to it."""
        if self.form == "raw" and terminal is not None:
            return f'"{terminal}.raw"'
        wanted = self.wanted or ByteRange(0, None)
        key = "\0".join((*self.segments, self.scope, f"{wanted.start}:{wanted.end}", "y" if self.dups else "n"))
        return f'"{self.roots_text}.car.{hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:16]}"'

    def disposition(self) -> str:
        """Content-Disposition: always an attachment, so that no browser shows it as this host's content."""
        ending = {"raw": "bin", "car": "car"}[self.form]
        plain = "_".join((self.roots_text, *self.segments))
        name = self.filename or f"{plain}.{ending}"
        ascii_name = "".join(one if " " <= one < "\x7f" and one not in '"\\/' else "_" for one in name)
        text = f'attachment; filename="{ascii_name}"'
        return (
            text
            if ascii_name == name
            else f"{text}; filename*=UTF-8''{urllib.parse.quote(name, safe='', errors='replace')}"
        )


def read_request(call: Call) -> Asked:
    """Raises InputError(ipld.cid | ipfs.format | ipfs.not-acceptable)."""
    first, *rest = call.params["path"].split("/")
    form, parameters = _form(call)
    root = ContentId.parse(first)
    scope = call.query.get("dag-scope", ALL)
    dups = call.query.get("car-dups") or parameters.get("dups", "n")
    order = call.query.get("car-order") or parameters.get("order", "dfs")
    version = call.query.get("car-version") or parameters.get("version", "1")
    known = scope in (ALL, ENTITY, BLOCK) and order in ("dfs", "unk") and dups in ("y", "n") and version == "1"
    if form == "car" and not known:
        raise InputError(
            "ipfs.format",
            "This gateway sends CAR version 1 with dag-scope all, entity or block, car-order dfs or unk, car-dups y or n.",
        )
    wanted = call.query.get("entity-bytes")
    return Asked(
        form,
        root,
        first,
        tuple(part for part in rest if part),
        scope,
        ByteRange.parse(wanted) if wanted is not None and form == "car" else None,
        dups == "y",
        call.query.get("filename", "")[:255],
    )


def one_range(text: str, length: int) -> tuple[int, int] | None:
    """First and last byte of one satisfiable range; None: send everything (none, several, or not understood).

    Raises:
        InputError(ipfs.range): a range that starts behind the end.
    """
    found = _RANGE.fullmatch(text.replace(" ", ""))
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        start, end = max(0, length - int(last)), length - 1
        if not int(last):
            raise _unsatisfiable()
    else:
        start, end = int(first), min(int(last), length - 1) if last else length - 1
        if last and int(last) < int(first):
            return None
    if start >= length:
        raise _unsatisfiable()
    return start, end


def matches(given: str, etag: str) -> bool:
    """If-None-Match by the weak comparison."""
    return given.strip() == "*" or etag in [part.strip().removeprefix("W/") for part in given.split(",")]


def _form(call: Call) -> tuple[str, Mapping[str, str]]:
    """raw or car, and the parameters that Accept gave for it; `format` goes before Accept (IPIP-0523)."""
    accepted = _accepted(call.headers.get("accept", ""))
    asked = call.query.get("format", "")
    if asked:
        if asked not in _FORMS:
            raise _not_acceptable()
        return asked, next((parameters for kind, parameters in accepted if kind == _FORMS[asked]), {})
    for kind, parameters in accepted:
        for name, media in _FORMS.items():
            if kind == media:
                return name, parameters
    if all(kind in ("", "*/*", "application/*") for kind, _parameters in accepted):
        raise InputError(
            "ipfs.format",
            "This gateway serves only answers that can be verified.",
            hint=f"Ask with format=raw or format=car, or Accept: {RAW_MEDIA_TYPE}.",
        )
    raise _not_acceptable()


def _accepted(header: str) -> list[tuple[str, dict[str, str]]]:
    """Media types and their parameters in the order of preference."""
    found = []
    for place, one in enumerate(header.split(",")):
        kind, *rest = (part.strip() for part in one.split(";"))
        pairs = (part.partition("=") for part in rest)
        parameters = {name.strip().lower(): value.strip().strip('"') for name, _equals, value in pairs}
        try:
            weight = float(parameters.pop("q", "1"))
        except ValueError:
            weight = 0.0
        if weight > 0:
            found.append((-weight, place, kind.lower(), parameters))
    return [(kind, parameters) for _weight, _place, kind, parameters in sorted(found, key=lambda one: one[:2])]


def _not_acceptable() -> InputError:
    return InputError(
        "ipfs.not-acceptable",
        "This gateway serves only raw blocks and CAR.",
        hint=f"Ask with format=raw or format=car, or Accept: {RAW_MEDIA_TYPE}.",
    )


def _unsatisfiable() -> InputError:
    return InputError("ipfs.range", "The range starts behind the end of the block.")
