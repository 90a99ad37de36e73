"""The README's example is short, compiles, and uses names that the product exports; tests/journeys runs it."""

from __future__ import annotations

import ast
import importlib

from tests.support.readme import python_example


def test_the_example_is_about_ten_lines() -> None:
    statements = [line for line in python_example().splitlines() if line.strip()]
    assert len(statements) <= 12


def test_every_imported_name_exists() -> None:
    imports = [node for node in ast.walk(ast.parse(python_example())) if isinstance(node, ast.ImportFrom)]
    wanted = [(str(node.module), name.name) for node in imports for name in node.names]
    assert ("asset_bridge.client", "Provider") in wanted
    for module, name in wanted:
        assert hasattr(importlib.import_module(module), name), f"{module}.{name}"
