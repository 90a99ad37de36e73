"""The scripts that write the vectors build on each other one way."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[3] / "tools" / "vectors"
PACKAGE = "tools.vectors"


def imported(path: Path) -> set[str]:
    """The scripts of this folder that one of them imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE + "."):
            found.add(str(node.module).rpartition(".")[2])
        elif isinstance(node, ast.Import):
            found |= {alias.name.rpartition(".")[2] for alias in node.names if alias.name.startswith(PACKAGE + ".")}
    return found


def test_no_two_scripts_import_each_other() -> None:
    graph = {path.stem: imported(path) for path in FOLDER.glob("*.py")}
    assert any(graph.values())
    order = list(TopologicalSorter(graph).static_order())  # CycleError names the circle
    assert order.index("sealed_file_parts") < order.index("sealed_file_more") < order.index("sealed_file")
