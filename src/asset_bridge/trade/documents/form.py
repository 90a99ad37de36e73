"""The application form and the reply, before they are sealed and after they are opened.

Source: spec/documents.md §5, §6. The form carries application, the consumer's hybrid key, the `Form` signature over both, and the
attachments, whose digests stand in the application. Promises: `decode_form` accepts exactly what `encode_form` writes; attachment names
are safe to join to a folder. Does not promise: that the signer is the consumer (trade/inbox.py checks).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any

from asset_bridge.errors import InputError, TamperedError
from asset_bridge.trade.documents.canonical import (
    MAX_SEALED_BYTES,
    MAX_TEXT_CHARACTERS,
    as_input,
    bad,
    decode_cbor,
    decode_json,
    encode_cbor,
    encode_json,
    require_fields,
    text,
)
from asset_bridge.trade.documents.template import MAX_APPLICATION_BYTES

VERSION = 1
HYBRID_KEY_BYTES = 1216
MAX_ATTACHMENTS = 20
_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f/\\:*?\"<>|\u202a-\u202e\u2066-\u2069]{1,120}")
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}")


@dataclass(frozen=True, slots=True)
class Attachment:
    """A document that goes with an application."""

    name: str
    media_type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Form:
    """An application as its reader gets it. `application_bytes` is the JSON that the signature covers."""

    application_bytes: bytes = field(repr=False)
    hybrid_key: bytes = field(repr=False)
    signature: bytes
    attachments: tuple[Attachment, ...]

    @property
    def application(self) -> dict[str, Any]:
        """The application itself."""
        return decode_json(self.application_bytes, "the application", limit_bytes=MAX_APPLICATION_BYTES)


def with_attachments(application: dict[str, Any], attachments: tuple[Attachment, ...]) -> bytes:
    """The application's canonical bytes, with the digests of the attachments in it.

    Raises:
        InputError(trade.attachment): a name that cannot be stored, one that appears twice, too many or too large.
    """
    try:
        _check_attachments(attachments)
    except TamperedError as error:
        raise InputError("trade.attachment", error.message, hint="rename or leave out the document") from None
    if sum(len(item.content) for item in attachments) > MAX_SEALED_BYTES - 512 * 1024:
        raise InputError("trade.attachment", "the attached documents are larger than 15.5 MiB together")
    if "attachments" in application:
        raise InputError("trade.attachment", "the field attachments is filled in by the program; leave it out")
    return encode_json({**application, "attachments": _listed(attachments)} if attachments else application)


def _listed(attachments: tuple[Attachment, ...]) -> list[dict[str, Any]]:
    return [
        {
            "name": item.name,
            "media_type": item.media_type,
            "length_bytes": len(item.content),
            "sha256": hashlib.sha256(item.content).hexdigest(),
        }
        for item in attachments
    ]


def _check_attachments(attachments: tuple[Attachment, ...]) -> None:
    if len(attachments) > MAX_ATTACHMENTS:
        raise bad("the form", f"has more than {MAX_ATTACHMENTS} attachments", actor="consumer")
    names = set()
    for item in attachments:
        if not _NAME.fullmatch(item.name) or item.name.strip(". ") == "" or item.name.startswith("."):
            raise bad("an attachment", "has a name that cannot be stored", actor="consumer")
        if not _MEDIA_TYPE.fullmatch(item.media_type):
            raise bad("an attachment", "has a malformed media type", actor="consumer")
        names.add(item.name.casefold())
    if len(names) < len(attachments):
        raise bad("two attachments", "have the same name", actor="consumer")


def encode_form(form: Form) -> bytes:
    """Canonical CBOR, the plaintext of the sealed form."""
    return encode_cbor(
        {
            "version": VERSION,
            "application": form.application_bytes,
            "hybrid_key": form.hybrid_key,
            "signature": form.signature,
            "attachments": [[item.name, item.media_type, item.content] for item in form.attachments],
        }
    )


def decode_form(encoded: bytes) -> Form:
    """Read an opened form.

    Raises:
        TamperedError(trade.document): not what `encode_form` writes, or attachments other than the application lists.
    """
    table = decode_cbor(encoded, "the form")
    require_fields(table, "the form", {"version", "application", "hybrid_key", "signature", "attachments"})
    rows = table["attachments"]
    if table["version"] != VERSION or not isinstance(rows, list):
        raise bad("the form", "has another version", actor="consumer")
    for name, size in (("hybrid_key", HYBRID_KEY_BYTES), ("signature", 65)):
        if not isinstance(table[name], bytes) or len(table[name]) != size:
            raise bad("the form", f"has a {name} of another size", actor="consumer")
    if not isinstance(table["application"], bytes):
        raise bad("the form", "holds no application", actor="consumer")
    attachments = []
    for row in rows:
        if not isinstance(row, list) or [type(cell) for cell in row] != [str, str, bytes]:
            raise bad("an attachment", "is malformed", actor="consumer")
        attachments.append(Attachment(*row))
    form = Form(table["application"], table["hybrid_key"], table["signature"], tuple(attachments))
    _check_attachments(form.attachments)
    if form.application.get("attachments", []) != _listed(form.attachments):
        raise bad("the form", "carries other documents than its application lists", actor="consumer")
    return form


def encode_reply(reply: str) -> bytes:
    """The plaintext of a sealed reply; InputError trade.document."""
    try:
        text(reply, "the reply", low=1)
    except TamperedError as error:
        raise as_input(error) from None
    return encode_cbor({"version": VERSION, "text": reply})


def decode_reply(encoded: bytes) -> str:
    """The text of an opened reply; TamperedError trade.document."""
    table = decode_cbor(encoded, "the reply")
    require_fields(table, "the reply", {"version", "text"})
    if table["version"] != VERSION:
        raise bad("the reply", "has another version")
    return text(table["text"], "the reply", low=1, high=MAX_TEXT_CHARACTERS)
