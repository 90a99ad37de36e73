"""Every error code that the product raises stands in a specification with its class, and every one that stands there is raised."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ("InputError", "RefusedError", "TamperedError", "UnavailableError", "StoppedError", "DefectError")
CODE = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\.[a-z0-9]+(?:-[a-z0-9]+)*")


def raised() -> dict[str, set[str]]:
    """Code → classes, from every call of an error class with a literal code."""
    found: dict[str, set[str]] = {}
    for path in [*ROOT.glob("src/**/*.py"), *ROOT.glob("packages/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CLASSES and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    found.setdefault(first.value, set()).add(node.func.id)
    return found


def specified() -> dict[str, set[str]]:
    """Code → classes, from the tables of refusals."""
    found: dict[str, set[str]] = {}
    for page in (ROOT / "spec").glob("*.md"):
        for code, kinds in re.findall(
            r"^\| `?([a-z0-9.-]+)`? \| ([A-Za-z, ]+?) \| .+ \|$", page.read_text(), re.MULTILINE
        ):
            if CODE.fullmatch(code):
                found.setdefault(code, set()).update(kind.strip() for kind in kinds.split(","))
    return found


def test_every_raised_code_is_specified_with_its_class() -> None:
    table = specified()
    assert not sorted(
        f"{code} ({', '.join(sorted(kinds))})"
        for code, kinds in raised().items()
        if not kinds <= table.get(code, set())
    )


def test_codes_have_the_one_form() -> None:
    assert not [code for code in raised() if not CODE.fullmatch(code)]
