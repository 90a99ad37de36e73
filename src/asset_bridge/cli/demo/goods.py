"""What the demonstration's provider lists: the data, a small asset on chain, and one with a very short access period.

The public texts must not hold a name of the data (`publish` refuses them), and the data may be anybody's: so there are plainer texts to
fall back on.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asset_bridge.chain.records import Periods
from asset_bridge.client import Description, Provider, PublicView
from asset_bridge.errors import InputError

PRICE_WEI = 10**17
PERIODS = Periods(300, 300, 300, 1, 1, 300)
SHORT_ACCESS_SECONDS = 2


@dataclass(frozen=True)
class Goods:
    """One asset to list."""

    key: str
    path: Path
    arguments: dict[str, Any]
    view: PublicView


def own_files(folder: Path) -> tuple[Path, Path]:
    """The small assets' contents: a consent form as JSON, and a line of text."""
    folder.mkdir()
    consent = folder / "consent.json"
    consent.write_text(
        json.dumps(
            {
                "resourceType": "Consent",
                "status": "active",
                "scope": {
                    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "research"}]
                },
                "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
                "patient": {"reference": "Patient/synthetic"},
                "policyRule": {"text": "Broad consent to research; synthetic, of no person."},
            },
            indent=1,
        )
    )
    note = folder / "note.txt"
    note.write_text("Access to this note ends a moment after it was paid for.\n")
    return consent, note


def plan(provider: Provider, key: str, path: Path, what: str, *, on_chain: bool = False, access: int = 0) -> Goods:
    """An asset's public texts and what they make public, by `preview`, which sends nothing.

    Raises:
        InputError(trade.name-in-public): not even texts of random letters avoid the names in the data.
    """
    last: InputError | None = None
    for title, summary, terms in texts(what):
        arguments = {
            "description": Description.build(title=title, summary=summary, keywords=(), template_file=None),
            "terms": terms,
            "price_wei": PRICE_WEI,
            "periods": replace(PERIODS, access_seconds=access) if access else PERIODS,
            "on_chain": on_chain,
        }
        try:
            return Goods(key, path, arguments, provider.preview(path, **arguments))
        except InputError as error:
            if error.code != "trade.name-in-public":
                raise
            last = error
    assert last is not None
    raise last


def texts(what: str) -> Iterator[tuple[str, str, str]]:
    """Title, summary and terms, in the order of preference."""
    yield (
        what,
        "Listed by the demonstration of Asset Bridge; no person is described in it.",
        "For the purpose stated in the application only. No attempt to identify a person. Delete it when the permit ends.",
    )
    for _ in range(3):
        word = secrets.token_hex(6)
        yield word, "", word
