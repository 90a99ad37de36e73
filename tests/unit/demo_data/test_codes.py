"""The page of codes lists exactly the codes of the demonstration data, and each code is well-formed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from asset_bridge.client.demo_data import codes
from asset_bridge.client.demo_data.codes import Code, Measure

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "demo-data-codes.md"
SYSTEMS = {"SNOMED CT": codes.SNOMED, "LOINC": codes.LOINC, "RxNorm": codes.RXNORM}
# Verhoeff's tables: the last digit of a SNOMED CT identifier is a check digit.
TIMES = [[0] * 10 for _ in range(10)]
for a in range(10):
    for b in range(10):
        TIMES[a][b] = (a + b) % 5 if a < 5 and b < 5 else 0
        if a < 5 <= b:
            TIMES[a][b] = 5 + (a + b - 5) % 5
        elif b < 5 <= a:
            TIMES[a][b] = 5 + (a - 5 - b) % 5
        elif a >= 5 and b >= 5:
            TIMES[a][b] = (a - b) % 5
TURN = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def listed() -> set[tuple[str, str, str]]:
    rows = re.findall(
        r"^\| (SNOMED CT|LOINC|RxNorm) \| (\S+) \| (.+?) \| (.*?) \| .+ \|$", PAGE.read_text(), re.MULTILINE
    )
    return {(SYSTEMS[system], code, display) for system, code, display, _ in rows}


def used() -> list[Code]:
    found = [value.code if isinstance(value, Measure) else value for value in vars(codes).values()]
    return [value for value in found if isinstance(value, Code)]


def test_the_page_lists_exactly_the_codes_in_use() -> None:
    assert listed() == {(code.system, code.code, code.display) for code in used()}
    assert len(used()) > 30


def verhoeff(number: str) -> int:
    check = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit)
        for _ in range(place % 8):
            value = TURN[value]
        check = TIMES[check][value]
    return check


@pytest.mark.parametrize("code", [c for c in used() if c.system == codes.SNOMED], ids=lambda c: c.display)
def test_a_snomed_code_has_its_check_digit(code: Code) -> None:
    assert verhoeff(code.code) == 0
    wrong = code.code[:-1] + str((int(code.code[-1]) + 1) % 10)
    assert verhoeff(wrong) != 0


@pytest.mark.parametrize("code", [c for c in used() if c.system == codes.LOINC], ids=lambda c: c.display)
def test_a_loinc_code_has_its_check_digit(code: Code) -> None:
    number, check = code.code.split("-")
    doubled = int("".join(number[::-1][::2][::-1])) * 2
    others = number[::-1][1::2]
    total = sum(map(int, str(doubled))) + sum(map(int, others))
    assert (10 - total % 10) % 10 == int(check)


def test_rxnorm_codes_are_numbers() -> None:
    assert all(code.code.isdigit() for code in used() if code.system == codes.RXNORM)
