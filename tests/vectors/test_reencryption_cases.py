"""One failure a file: each case of spec/vectors/reencryption/cases has its outcome, and each outcome its case."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from asset_bridge.errors import BridgeError
from tools.vectors import reencryption_case as case_tool
from tools.vectors import reencryption_cases as tool

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "spec" / "vectors" / "reencryption" / "cases"
CASES = sorted(FOLDER.glob("*.case"))
# What no bytes from outside can cause: code that builds a checked type without its check (R1).
NOT_FROM_BYTES = {"reencryption.unchecked"}


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    case, released = case_tool.parse(path.read_bytes())
    outcome, given_out = "accepted", b""
    try:
        given_out = case_tool.run(case)
    except BridgeError as error:
        outcome = error.code
    assert outcome == case.expect, case.comment
    assert hashlib.sha256(given_out).hexdigest() == released, "what was handed out differs"


def documented(room: str) -> set[str]:
    page = (ROOT / "spec" / f"{room}.md").read_text()
    return set(re.findall(rf"^\| `({room}\.[a-z0-9-]+)`", page, re.MULTILINE))


def test_every_documented_outcome_has_a_case_and_every_outcome_is_documented() -> None:
    expected = {case_tool.parse(path.read_bytes())[0].expect for path in CASES} - {"accepted"}
    assert documented("reencryption") - NOT_FROM_BYTES == {
        code for code in expected if code.startswith("reencryption.")
    }
    assert expected <= documented("reencryption") | documented("keys")


def test_the_cases_are_what_the_scripts_make_and_no_two_are_the_same() -> None:
    made = tool.build()
    assert {path.name for path in CASES} == set(made)
    assert len(CASES) >= 60
    for path in CASES:
        assert path.read_bytes() == made[path.name], path.name
    inputs = [(case.object, case.body, tuple(case.fields.items())) for case, _ in map(case_tool.parse, made.values())]
    assert len(set(inputs)) == len(inputs)
