"""Change one thing in the code and see whether a test fails: `make mutants ROOM=src/asset_bridge/sealing`.

    python tools/mutants.py ROOM [--tests PATH …] [--sample N] [--seed N] [--workers N] [--fresh]

ROOM is a folder or a file under src/. Each mutant is one changed operator, constant, condition or dropped statement, run
in a process of its own against the room's tests, which stop at the first failure: first at a twentieth of the quick
counts, and what lives through that at the quick counts. Survivors are named by file, line and change; the exit status is
1 when fewer than nine of ten were killed. Nothing in the tree is touched.
Verdicts are kept in .cache/mutants/, so that an interrupted run goes on where it was: a kill holds as long as the file
that was changed is the same, a survivor is tried again when a test has changed (--fresh forgets both). A whole run of a
room is written to docs/reference/mutants.md.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import hashlib
import importlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = {  # the tests of a room, quickest first
    "sealing": ["tests/unit/sealing", "tests/vectors/test_sealed_file.py", "tests/vectors/test_floe.py"],
    "ipld": ["tests/unit/ipld", "tests/vectors/test_sealed_file.py"],
    "keys": ["tests/vectors/test_keys.py", "tests/unit/keys", "tests/vectors/test_wycheproof_keys.py"],
    "reencryption": ["tests/vectors/test_reencryption.py", "tests/unit/reencryption"],
}
GOAL = 0.9
TIMEOUT_SECONDS = 120
CACHE = ROOT / ".cache" / "mutants"
PAGE = ROOT / "docs" / "reference" / "mutants.md"
LOADED_BEFORE_THE_FORKS = (
    "cbor2",
    "coincurve",
    "crypt4gh.lib",
    "cryptography.hazmat.primitives.asymmetric.mlkem",
    "cryptography.hazmat.primitives.asymmetric.x25519",
    "cryptography.hazmat.primitives.ciphers.aead",
    "cryptography.hazmat.primitives.hpke",
    "cryptography.hazmat.primitives.kdf.hkdf",
    "cryptography.hazmat.primitives.serialization",
    "eth_hash.auto",
    "hypothesis",
    "pytest",
    "pytest_timeout",
    "umbral_pre",
)
COMPARED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
COMPUTED = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Mod: ast.Add,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitAnd,
}  # fmt: skip


def mutants(tree: ast.Module) -> Iterator[tuple[int, int, int, str]]:
    """Every change: number of the node, which of its changes, line, and what is changed."""
    skipped = set(_said(tree))
    for number, node in enumerate(ast.walk(tree)):
        if id(node) not in skipped:
            for variant, (_, what) in enumerate(_changes(copy.copy(node))):
                yield number, variant, getattr(node, "lineno", 0), what


def changed(text: str, number: int, variant: int) -> ast.Module:
    """The file's tree with that one change."""
    tree = ast.parse(text)
    node = next(found for at, found in enumerate(ast.walk(tree)) if at == number)
    act, _ = list(_changes(node))[variant]
    act()
    return ast.fix_missing_locations(tree)


def _said(tree: ast.Module) -> Iterator[int]:
    """Nodes that no test should pin: texts for people, annotations, names shown, decorators."""
    for node in ast.walk(tree):
        parts: list[ast.AST] = []
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            parts = [node]
        elif isinstance(node, ast.Raise):
            parts = [part for part in (node.exc, node.cause) if part]
        elif isinstance(node, ast.AnnAssign):
            parts = [node.annotation]
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            parts = list(node.decorator_list)
            if isinstance(node, ast.FunctionDef):
                parts += [arg.annotation for arg in ast.walk(node.args) if isinstance(arg, ast.arg) and arg.annotation]
                parts += [node.returns] if node.returns else []
                if node.name == "__repr__" or _only_refuses(node):
                    parts += node.body
        elif isinstance(node, ast.keyword) and node.arg in ("hint", "actor", "thread_name_prefix", "repr"):
            parts = [node.value]
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            parts = [node]
        for part in parts:
            yield from (id(inner) for inner in ast.walk(part))


def _only_refuses(node: ast.FunctionDef) -> bool:
    """A function that makes an error's sentence."""
    return isinstance(node.returns, ast.Name) and node.returns.id.endswith("Error")


def _changes(node: ast.AST) -> Iterator[tuple[object, str]]:
    if isinstance(node, ast.Compare):
        for at, operator in enumerate(node.ops):
            if type(operator) in COMPARED:
                other = COMPARED[type(operator)]
                yield _put(node.ops, at, other()), f"{type(operator).__name__} → {other.__name__}"
    elif isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in COMPUTED:
        if not isinstance(getattr(node, "left", None), ast.Constant) or not isinstance(node.left.value, str):
            other = COMPUTED[type(node.op)]
            yield _set(node, "op", other()), f"{type(node.op).__name__} → {other.__name__}"
    elif isinstance(node, ast.BoolOp):
        other = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield _set(node, "op", other()), f"{type(node.op).__name__} → {other.__name__}"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield _become_bool(node), "not dropped"
    elif isinstance(node, ast.Constant) and type(node.value) is bool:
        yield _set(node, "value", not node.value), f"{node.value} → {not node.value}"
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        yield _set(node, "value", node.value + 1), f"{node.value} → {node.value + 1}"
        if node.value:
            yield _set(node, "value", node.value - 1), f"{node.value} → {node.value - 1}"
    elif isinstance(node, ast.Constant) and type(node.value) is bytes and node.value:
        yield _set(node, "value", bytes((node.value[0] ^ 1,)) + node.value[1:]), "a bit of a constant"
    elif isinstance(node, (ast.FunctionDef, ast.If, ast.For, ast.While, ast.With, ast.Try)):
        for at, statement in enumerate(node.body):
            if isinstance(statement, (ast.Raise, ast.AugAssign)) or (
                isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
            ):
                yield _put(node.body, at, ast.copy_location(ast.Pass(), statement)), f"line {statement.lineno} dropped"


def _put(items: list, at: int, value: ast.AST) -> object:
    return lambda: items.__setitem__(at, value)


def _set(node: ast.AST, name: str, value: object) -> object:
    return lambda: setattr(node, name, value)


def _become_bool(node: ast.UnaryOp) -> object:
    """`not x` becomes `not not x`."""
    return lambda: setattr(node, "operand", ast.UnaryOp(ast.Not(), node.operand))


@dataclass(frozen=True)
class Mutant:
    """One changed file; `key` names file content and change, whatever else is in the tree."""

    name: str
    key: str
    module: str
    source: Path
    place: tuple[int, int] = (0, 0)  # node and change


def start(mutant: Mutant, tests: list[str], depth: str, times: Path) -> int:
    """Start a process in which the module is the mutant; its status is 0 when every test passes."""
    pid = os.fork()
    if pid:
        return pid
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.setpgid(0, 0)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
    status = 1
    with contextlib.suppress(BaseException):
        if mutant.module:
            code = compile(changed(mutant.source.read_text(), *mutant.place), str(mutant.source), "exec")
            sys.meta_path.insert(0, _Finder(mutant.module, code, mutant.source))
        import pytest

        os.environ["DEPTH"] = depth
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # some take seconds to load, and none is needed but this
        options = ["-x", "-q", "-p", "pytest_timeout", "-p", "no:cacheprovider"]
        status = int(pytest.main([*options, *tests], plugins=[QuickestFirst(times, record=not mutant.module)]))
    os._exit(status)


class QuickestFirst:
    """A plugin of pytest: most mutants fail many tests, so the quick ones go first. The unchanged run takes the times."""

    def __init__(self, times: Path, record: bool) -> None:
        self._path, self._record, self._times = times, record, {}
        if not record:
            self._times = json.loads(times.read_text())["times"]

    def pytest_collection_modifyitems(self, items: list) -> None:
        items.sort(key=lambda item: self._times.get(item.nodeid, 0.0))

    def pytest_runtest_logreport(self, report: object) -> None:
        self._times[report.nodeid] = self._times.get(report.nodeid, 0.0) + report.duration

    def pytest_sessionfinish(self) -> None:
        if self._record:
            from tests.support.depth import depths_read

            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(json.dumps({"times": self._times, "counted": bool(depths_read)}))


class _Finder:
    """Gives the mutant in place of the file."""

    def __init__(self, module: str, code: object, source: Path) -> None:
        self._module, self._code, self._source = module, code, source

    def find_spec(self, name: str, *_: object) -> object:
        import importlib.util

        if name != self._module:
            return None
        return importlib.util.spec_from_loader(name, self, origin=str(self._source))

    def create_module(self, _: object) -> None:
        return None

    def exec_module(self, module: object) -> None:
        module.__file__ = str(self._source)
        exec(self._code, module.__dict__)


class Verdicts:
    """What is known of each mutant, kept in a file that grows by a line a verdict."""

    def __init__(self, path: Path, tests: str) -> None:
        self._path, self._tests, self._known = path, tests, {}
        if path.exists():
            for line in path.read_text().splitlines():
                with contextlib.suppress(ValueError):  # the last line of a killed run
                    key, dead, tested = json.loads(line)
                    if dead or tested == tests:
                        self._known[key] = dead

    def of(self, mutant: Mutant) -> bool | None:
        """Killed, survived, or not known."""
        return self._known.get(mutant.key)

    def add(self, mutant: Mutant, dead: bool) -> None:
        """Keep it."""
        self._known[mutant.key] = dead
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(json.dumps([mutant.key, dead, self._tests]) + "\n")


def run(chosen: list[Mutant], tests: list[str], workers: int, verdicts: Verdicts, times: Path) -> list[Mutant]:
    """Run every mutant without a verdict, `workers` at once; those that survived."""
    waiting = [(mutant, "spot") for mutant in chosen if verdicts.of(mutant) is None]
    counted = json.loads(times.read_text())["counted"]  # else the quick counts change nothing
    random.Random(1).shuffle(waiting)  # so that what an interrupted run has seen is a fair sample
    total, finished = len(waiting), 0
    running: dict[int, tuple[Mutant, str, float]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                mutant, depth = waiting.pop(0)
                running[start(mutant, tests, depth, times)] = (mutant, depth, time.monotonic())
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid in running:
                mutant, depth, _ = running.pop(pid)
                if status == 0 and depth == "spot" and counted:
                    waiting.insert(0, (mutant, "quick"))
                    continue
                verdicts.add(mutant, status != 0)
                finished += 1
                if status == 0:
                    print(f"survived  {mutant.name}", flush=True)
                elif finished % 50 == 0:
                    print(f"{finished} of {total}", flush=True)
                continue
            for late, (mutant, depth, began) in list(running.items()):
                most_seconds = TIMEOUT_SECONDS * (1 if depth == "spot" else 5)
                if time.monotonic() - began > most_seconds:  # an endless loop is noticed, too
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(late, signal.SIGKILL)
                    running[late] = (mutant, depth, float("inf"))
            time.sleep(0.02)
    finally:
        for left in running:  # an interrupted run leaves no process behind
            with contextlib.suppress(ProcessLookupError):
                os.killpg(left, signal.SIGKILL)
    return [mutant for mutant in chosen if verdicts.of(mutant) is False]


def tests_digest(tests: list[str]) -> str:
    """Changes when a test, its vectors or its counts change."""
    digest = hashlib.sha256()
    for top in (*tests, "tests/depth.toml", "tests/support", "spec/vectors"):
        for path in [ROOT / top] if (ROOT / top).is_file() else sorted((ROOT / top).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def write_page(room: str, count: int, survivors: list[Mutant]) -> None:
    """Put the room's section into the page, in place of an older one."""
    head = "# Mutants\n\nWritten by `make mutants ROOM=…`: which changed operators, constants and statements no test of the room notices.\n"
    text = PAGE.read_text() if PAGE.exists() else head
    text, why = [*text.split("\n## Why", 1), ""][:2]
    first, *sections = text.split("\n## ")
    kept = {section.split("\n", 1)[0]: section for section in sections}
    dead = count - len(survivors)
    lines = [f"{room}", "", f"{dead} of {count} killed, {100 * dead / max(1, count):.1f} %. Survivors:", ""]
    kept[room] = "\n".join([*lines, *(f"- `{mutant.name}`" for mutant in survivors)]) + "\n"
    made = first.rstrip("\n") + "\n" + "".join("\n## " + kept[name] for name in sorted(kept))
    PAGE.write_text(made + ("\n## Why" + why if why else ""))


def main(arguments: list[str]) -> int:
    """Make, run, count."""
    parser = argparse.ArgumentParser(description="Does a test fail for each changed operator?")
    parser.add_argument("room", type=Path)
    parser.add_argument("--tests", nargs="*")
    parser.add_argument("--sample", type=int, default=0, help="only so many, drawn by --seed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--fresh", action="store_true", help="forget the verdicts of earlier runs")
    given = parser.parse_args(arguments)
    room = given.room.resolve()
    if not room.exists():
        parser.error(f"there is no {given.room}")
    sources = [room] if room.is_file() else sorted(room.glob("*.py"))
    name = room.parent.name if room.is_file() else room.name
    tests = given.tests or TESTS.get(name) or [f"tests/unit/{name}"]
    made = [mutant for source in sources for mutant in all_of(source)]
    chosen = random.Random(given.seed).sample(made, given.sample) if 0 < given.sample < len(made) else made
    print(f"{len(made)} mutants of {name}, {len(chosen)} are run against {' '.join(tests)}", flush=True)
    os.chdir(ROOT)
    for module in LOADED_BEFORE_THE_FORKS:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    kept = CACHE / f"{name}.jsonl"
    if given.fresh:
        kept.unlink(missing_ok=True)
    verdicts = Verdicts(kept, tests_digest(tests))
    state = hashlib.sha256("".join([*(mutant.key for mutant in made), tests_digest(tests)]).encode()).hexdigest()[:16]
    times = CACHE / f"{name}-{state}.json"
    if given.fresh or not times.exists():  # once for each state of room and tests
        unchanged = start(Mutant("unchanged", "", "", ROOT), tests, "spot", times)
        if os.waitpid(unchanged, 0)[1]:
            times.unlink(missing_ok=True)
            print("mutants: error: the tests fail without any change", file=sys.stderr)
            return 2
    survivors = run(chosen, tests, given.workers, verdicts, times)
    dead = len(chosen) - len(survivors)
    for mutant in survivors:
        print(f"survivor  {mutant.name}")
    print(f"{dead} of {len(chosen)} killed, {100 * dead / max(1, len(chosen)):.1f} %")
    if room.is_dir() and len(chosen) == len(made) and not given.tests:
        write_page(name, len(made), survivors)
    return 0 if dead >= GOAL * len(chosen) else 1


def all_of(source: Path) -> Iterator[Mutant]:
    """Every mutant of a file."""
    text = source.read_text()
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    module = ".".join(source.relative_to(ROOT / "src").with_suffix("").parts)
    for number, (node, variant, line, what) in enumerate(mutants(ast.parse(text))):
        name = f"{source.relative_to(ROOT)}:{line}: {what}"
        yield Mutant(name, f"{source.name}:{digest}:{number}", module, source, (node, variant))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
