"""Rules about the files of the repository that no other tool checks.

No source file over 500 lines; no address of a package registry and no path of the machine in any file; no stubs or
switched-off checks in the product; no import of a name that our own module does not have, also where no type is checked
(tests, tools, benchmarks). The registries' names come from the machine's own settings, so that this file
names none. Each rule yields sentences; no sentence means that the rule is kept.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
LINES_MAX = 500
SOURCES = (".py", ".vy", ".vyi")
# Spelled apart so that this file does not break its own rule.
STUBS = re.compile(
    "Not" + r"ImplementedError|TO" + "DO|FIX" + r"ME|pragma: no " + r"cover|mark\.x" + "fail|skip_" + "verification"
)


def main() -> int:
    """Print what breaks a rule; 1 when something does."""
    files = tracked()
    broken = [*too_long(files), *foreign_names(files), *stubs(files), *missing_names(files)]
    for sentence in broken:
        print(f"rules: {sentence}")
    return 1 if broken else 0


def tracked() -> dict[str, str]:
    """The text of every file that is in git or would be, by its path."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    texts = {}
    for name in sorted(filter(None, names)):
        try:
            texts[name] = (ROOT / name).read_text()
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue  # golden bytes, or deleted and not yet committed
    return texts


def too_long(files: dict[str, str]) -> Iterator[str]:
    """Source files that must be split."""
    for name, text in files.items():
        lines = text.count("\n")
        if name.endswith(SOURCES) and lines > LINES_MAX:
            yield f"{name} has {lines} lines; split it, the limit is {LINES_MAX}"


def foreign_names(files: dict[str, str]) -> Iterator[str]:
    """Files that name a registry or this machine."""
    words = {*registry_hosts(), f"{ROOT}/", f"{Path.home()}/"}
    pattern = re.compile("|".join(re.escape(word) for word in sorted(words)))
    for name, text in files.items():
        for number, line in enumerate(text.splitlines(), 1):
            if found := pattern.search(line):
                yield f"{name}:{number} names {found[0]}; take it out"


def registry_hosts() -> set[str]:
    """Host names of the package registries that this machine uses."""
    from pip._internal.models.index import PyPI

    hosts = {PyPI.netloc, PyPI.file_storage_domain}
    asked = [[sys.executable, "-m", "pip", "config", "get", "global.index-url"]]
    if npm := shutil.which("npm"):
        asked.append([npm, "config", "get", "registry"])
    for command in asked:
        answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()
        hosts.add(urlsplit(answer).hostname or "")
    for proxy in os.environ.get("GOPROXY", "").split(","):
        hosts.add(urlsplit(proxy).hostname or "")
    return {host for host in hosts if "." in host and not host[0].isdigit()}


def stubs(files: dict[str, str]) -> Iterator[str]:
    """Places in the product or its tests that stand in for something, or switch a check off."""
    for name, text in files.items():
        if not name.startswith(("src/", "contracts/", "packages/", "tests/")):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if found := STUBS.search(line):
                yield f"{name}:{number} holds {found[0]}"


def missing_names(files: dict[str, str]) -> Iterator[str]:
    """Imports `from a module of ours` of a name that it does not define."""
    trees = {name: ast.parse(text) for name, text in files.items() if name.endswith(".py")}
    modules = {module_name(name): name for name in trees}
    defined = {module: top_names(trees[name]) for module, name in modules.items()}
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom) or node.level or node.module not in defined:
                continue
            known = defined[node.module] | {"*"}
            for alias in node.names:
                if not known & {alias.name, "__getattr__"} and f"{node.module}.{alias.name}" not in modules:
                    yield f"{name}:{node.lineno} imports {alias.name}, which {modules[node.module]} does not have"


def module_name(path: str) -> str:
    """The dotted name under which a file is imported."""
    for source in ("src/", "packages/asset-bridge-simulator/src/"):
        path = path.removeprefix(source)
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def top_names(tree: ast.Module) -> set[str]:
    """Names that a module gives to others: what stands at its top, also under an if or a try."""
    names: set[str] = set()
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        waiting += ast.iter_child_nodes(node)
    return names


if __name__ == "__main__":
    raise SystemExit(main())
