"""What the product imports is what pyproject.toml declares, and decision 0001 gives a reason for each."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS = {"asset_bridge", "asset_bridge_simulator"}
# Needed by the demonstration only; its folder is found without importing it.
DEMO = {"pydicom"}


def canonical(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", requirement)[0]).lower()


def declared() -> set[str]:
    return {canonical(requirement) for requirement in PROJECT["dependencies"]}


def imported() -> dict[str, str]:
    """Distribution → one file that imports it, for everything under src/ that is neither ours nor Python's."""
    owners = packages_distributions()
    found: dict[str, str] = {}
    for path in ROOT.glob("src/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules = [node.module]
            for top in {module.split(".")[0] for module in modules} - OURS - set(sys.stdlib_module_names):
                found[canonical(owners.get(top, [top])[0])] = str(path.relative_to(ROOT))
    return found


def test_every_import_is_declared() -> None:
    assert not {name: path for name, path in imported().items() if name not in declared() | DEMO}


def test_every_declared_package_is_imported() -> None:
    assert not declared() - set(imported())


def test_every_declared_package_has_its_reason() -> None:
    page = (ROOT / "docs" / "decisions" / "0001-runtime-dependencies.md").read_text()
    rows = re.findall(r"^\| ([a-z0-9, -]+) \|", page, re.MULTILINE)
    named = {name.strip() for row in rows for name in row.split(",")}
    assert declared() <= named


def test_the_lock_holds_every_declared_package() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    locked = {canonical(line) for line in lock.splitlines() if line and line[0] not in " #"}
    tests = {canonical(r) for extra in ("demo", "test", "check") for r in PROJECT["optional-dependencies"][extra]}
    assert declared() | (tests - {"asset-bridge"}) <= locked
