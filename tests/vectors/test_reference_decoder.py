"""The second decoder shares nothing with the product and finds the same in every vector."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from tools import reference_decoder

ROOT = Path(__file__).resolve().parents[2]
CASES = sorted((ROOT / "spec" / "vectors" / "sealed-file" / "cases").iterdir())
GOLDEN = json.loads((ROOT / "spec" / "vectors" / "sealed-file" / "golden.json").read_text())
SOURCE = (ROOT / "tools" / "reference_decoder.py").read_text()


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_it_finds_what_the_case_expects(path: Path) -> None:
    expected, found = reference_decoder.run_case(path.read_bytes(), GOLDEN)
    assert found == expected


def test_it_opens_the_golden_container() -> None:
    header, body, key, lister = (bytes.fromhex(GOLDEN[name]) for name in ("header", "body", "file key", "lister"))
    members = reference_decoder.open_container(header, body, key, lister)
    assert {path: data.hex() for path, data in members} == GOLDEN["members"]


def test_it_imports_nothing_of_the_product_and_stays_short() -> None:
    names = set()
    for node in ast.walk(ast.parse(SOURCE)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add(node.module or "")
    assert {name.split(".")[0] for name in names} == {"cryptography", "hashlib", "hmac", "json", "pathlib", "re", "sys"}
    assert "__import__" not in SOURCE
    assert "importlib" not in SOURCE
    assert len(SOURCE.splitlines()) < 200
