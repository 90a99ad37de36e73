"""docs/explain/what-is-public.md lists every event of the contracts and each of its fields, and nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "explain" / "what-is-public.md"
ARTEFACTS = ROOT / "src" / "asset_bridge" / "chain" / "artefacts"


def described() -> dict[str, set[str]]:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| .+ \|$", PAGE.read_text(), re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", fields)) for name, fields in rows}


def in_the_contracts() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in sorted(ARTEFACTS.glob("*.json")):
        for entry in json.loads(path.read_text())["abi"]:
            if entry["type"] == "event":
                found.setdefault(entry["name"], set()).update(field["name"] for field in entry["inputs"])
    return found


def test_every_event_and_field_of_the_contracts_is_described_and_no_other() -> None:
    assert len(list(ARTEFACTS.glob("*.json"))) >= 4, "the contracts' artefacts are missing"
    page, contracts = described(), in_the_contracts()
    assert sorted(page) == sorted(contracts)
    for name, fields in contracts.items():
        assert page[name] == fields, name


def test_no_event_is_described_twice() -> None:
    names = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)
    assert len(names) == len(set(names))
