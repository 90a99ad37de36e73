"""The public description of an asset, its terms, and the rule that keeps names of the data out of both.

Source: spec/documents.md §2, §3. Promises: what is decoded is canonical and safe to print; `refuse_names` finds every path and file
name of the data. Does not promise: to find personal data in free text.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asset_bridge.errors import InputError, TamperedError
from asset_bridge.trade.documents.canonical import (
    MAX_PUBLIC_BYTES,
    as_input,
    bad,
    counting,
    decode_json,
    encode_json,
    require_fields,
    text,
    texts,
)
from asset_bridge.trade.documents.template import check_template

FORMAT = "asset-bridge/description/1"
DUO_CODE = re.compile(r"DUO:[0-9]{7}")
_WHAT = "the description"


@dataclass(frozen=True, slots=True)
class Description:
    """What everybody may read about an asset. `template` is the provider's own JSON Schema of an application, if any."""

    title: str
    summary: str
    keywords: tuple[str, ...] = ()
    duo: tuple[str, ...] = ()
    records: int | None = None
    template: dict[str, Any] | None = None

    @staticmethod
    def build(
        *,
        title: str,
        summary: str = "",
        keywords: Iterable[str] = (),
        duo: Iterable[str] = (),
        records: int | None = None,
        template_file: Path | None = None,
    ) -> Description:
        """A description from what a person typed; the template from a JSON file.

        Raises:
            InputError(trade.template): the file cannot be read or is not JSON.
        """
        template = None
        if template_file is not None:
            try:
                template = json.loads(template_file.read_text(encoding="utf-8"))
            except (OSError, ValueError, RecursionError):
                raise InputError("trade.template", f"{template_file} cannot be read as JSON") from None
        return Description(title, summary, tuple(keywords), tuple(duo), records, template)

    def encode(self) -> bytes:
        """Canonical JSON.

        Raises:
            InputError(trade.document): a field is out of bounds.
            InputError(trade.template): the template uses what a template may not.
        """
        table: dict[str, Any] = {
            "format": FORMAT,
            "title": self.title,
            "summary": self.summary,
            "keywords": list(self.keywords),
            "duo": list(self.duo),
        }
        if self.records is not None:
            table["records"] = self.records
        if self.template is not None:
            table["template"] = self.template
        encoded = encode_json(table)
        try:
            Description.decode(encoded)
        except TamperedError as error:
            raise as_input(error) from None
        return encoded

    @staticmethod
    def decode(encoded: bytes) -> Description:
        """Read a description.

        Raises:
            TamperedError(trade.document, trade.template): not what `encode` writes.
        """
        table = decode_json(encoded, _WHAT)
        require_fields(table, _WHAT, {"format", "title", "summary", "keywords", "duo"}, {"records", "template"})
        if table["format"] != FORMAT:
            raise bad(_WHAT, f"does not have the format {FORMAT}")
        duo = texts(table["duo"], "the list of DUO codes", count=30, high=11)
        if not all(DUO_CODE.fullmatch(code) for code in duo):
            raise bad("a DUO code", "does not look like DUO:0000042")
        template = table.get("template")
        if template is not None:
            check_template(template)
        return Description(
            title=text(table["title"], "the title", low=1, high=200),
            summary=text(table["summary"], "the summary", high=10_000),
            keywords=texts(table["keywords"], "the list of keywords", count=50, high=100),
            duo=duo,
            records=counting(table["records"], "the number of records") if "records" in table else None,
            template=template,
        )


def encode_terms(terms: str) -> bytes:
    """The terms as UTF-8 text; InputError trade.document."""
    try:
        encoded = text(terms, "the terms", low=1, high=MAX_PUBLIC_BYTES).encode()
    except TamperedError as error:
        raise as_input(error) from None
    except UnicodeEncodeError:
        raise InputError("trade.document", "the terms are not valid text") from None
    if len(encoded) > MAX_PUBLIC_BYTES:
        raise InputError("trade.document", f"the terms are longer than {MAX_PUBLIC_BYTES} bytes")
    return encoded


def decode_terms(encoded: bytes) -> str:
    """The terms as text; TamperedError trade.document."""
    try:
        decoded = encoded.decode()
    except UnicodeDecodeError:
        raise bad("the terms", "are not UTF-8 text") from None
    return text(decoded, "the terms", low=1, high=MAX_PUBLIC_BYTES)


def refuse_names(public_texts: Iterable[str], paths: Iterable[str], source: str) -> None:
    """Refuse a public text that holds a path or a file name of the data (design §9.8: names tell about patients).

    A name with a dot or a slash counts wherever it stands, another one as a whole word. `source` is the path the user gave.

    Raises:
        InputError(trade.name-in-public): the text and the name it holds.
    """
    members = set(paths)
    names = {path.rsplit("/", 1)[-1] for path in members} | {path for path in members if "/" in path}
    names |= {source} if "/" in source or "." in source else set()  # a folder called data may be described as data
    wanted = {_fold(name): name for name in names if len(name) > 1}
    for public in public_texts:
        folded = _fold(public)
        for needle, name in wanted.items():
            anywhere = "." in needle or "/" in needle
            if needle in folded and (anywhere or re.search(rf"(?<!\w){re.escape(needle)}(?!\w)", folded)):
                raise InputError(
                    "trade.name-in-public",
                    f"the public text holds {name!r}, which is a path or file name of the data",
                    hint="describe the data without the names of its files; everybody can read this for ever",
                )


def _fold(value: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", value).casefold())
