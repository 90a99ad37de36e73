"""Change one thing in the code and see whether a test fails: `make mutants ROOM=src/asset_bridge/sealing`.

    python tools/mutants.py ROOM [--tests PATH …] [--sample N] [--seed N] [--workers N]

ROOM is a folder or a file under src/. Each mutant is one changed operator, constant, condition or dropped statement, run
in a process of its own against the room's tests, which stop at the first failure. Survivors are named by file, line and
change; the exit status is 1 when fewer than nine of ten were killed. Nothing in the tree is touched.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = {  # the tests of a room, quickest first
    "sealing": ["tests/vectors/test_sealed_file.py", "tests/vectors/test_floe.py", "tests/unit/sealing"],
    "ipld": ["tests/unit/ipld", "tests/vectors/test_sealed_file.py"],
    "keys": ["tests/vectors/test_keys.py", "tests/unit/keys", "tests/vectors/test_wycheproof_keys.py"],
    "reencryption": ["tests/vectors/test_reencryption.py", "tests/unit/reencryption"],
}
GOAL = 0.9
TIMEOUT_SECONDS = 120
COMPARED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
COMPUTED = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Mod: ast.Add,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitAnd,
}  # fmt: skip


def mutants(tree: ast.Module) -> Iterator[tuple[ast.Module, int, str]]:
    """Changed trees, with the line and what was changed."""
    skipped = set(_said(tree))
    for number, node in enumerate(ast.walk(tree)):
        if id(node) in skipped:
            continue
        for variant in range(len(list(_changes(copy.copy(node))))):
            changed = copy.deepcopy(tree)
            target = next(found for at, found in enumerate(ast.walk(changed)) if at == number)
            act, what = list(_changes(target))[variant]
            act()
            yield ast.fix_missing_locations(changed), getattr(node, "lineno", 0), what


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


def killed(module: str, tree: ast.Module, source: Path, tests: list[str]) -> tuple[int, float]:
    """Start a process in which `module` is the mutant; its id and when it began."""
    pid = os.fork()
    if pid:
        return pid, time.monotonic()
    os.setsid()
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
    status = 1
    with contextlib.suppress(BaseException):
        sys.meta_path.insert(0, _Finder(module, compile(tree, str(source), "exec"), source))
        import pytest

        os.environ.pop("DEPTH", None)
        status = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *tests]))
    os._exit(status)


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


def run(chosen: list, tests: list[str], workers: int) -> list[tuple[str, bool]]:
    """Every mutant, `workers` at once; its name and whether it was killed."""
    waiting, running, done = list(chosen), {}, []
    while waiting or running:
        while waiting and len(running) < workers:
            name, module, tree, source = waiting.pop(0)
            pid, began = killed(module, tree, source, tests)
            running[pid] = (name, began)
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid in running:
            name, _ = running.pop(pid)
            done.append((name, status != 0))
            if status == 0:
                print(f"survived  {name}", flush=True)
            elif len(done) % 50 == 0:
                print(f"{len(done)} of {len(chosen)}", flush=True)
            continue
        for late, (_, began) in list(running.items()):
            if time.monotonic() - began > TIMEOUT_SECONDS:  # an endless loop is noticed, too
                os.killpg(late, signal.SIGKILL)
                running[late] = (running[late][0], float("inf"))
        time.sleep(0.02)
    return done


def main(arguments: list[str]) -> int:
    """Make, run, count."""
    parser = argparse.ArgumentParser(description="Does a test fail for each changed operator?")
    parser.add_argument("room", type=Path)
    parser.add_argument("--tests", nargs="*")
    parser.add_argument("--sample", type=int, default=0, help="only so many, drawn by --seed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args(arguments)
    room = given.room.resolve()
    if not room.exists():
        parser.error(f"there is no {given.room}")
    sources = [room] if room.is_file() else sorted(room.glob("*.py"))
    name = room.parent.name if room.is_file() else room.name
    tests = given.tests or TESTS.get(name) or [f"tests/unit/{name}"]
    made = []
    for source in sources:
        module = ".".join(source.relative_to(ROOT / "src").with_suffix("").parts)
        for tree, line, what in mutants(ast.parse(source.read_text())):
            made.append((f"{source.relative_to(ROOT)}:{line}: {what}", module, tree, source))
    chosen = random.Random(given.seed).sample(made, given.sample) if 0 < given.sample < len(made) else made
    print(f"{len(made)} mutants of {name}, {len(chosen)} are run against {' '.join(tests)}", flush=True)
    os.chdir(ROOT)
    import hypothesis  # noqa: F401  # loaded once, before the forks
    import pytest  # noqa: F401
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: F401

    (status,) = [status for _, status in run([("unchanged", "", ast.parse(""), ROOT)], tests, 1)]
    if status:
        print("mutants: error: the tests fail without any change", file=sys.stderr)
        return 2
    done = run(chosen, tests, given.workers)
    dead = sum(status for _, status in done)
    print(f"{dead} of {len(done)} killed, {100 * dead / max(1, len(done)):.1f} %")
    return 0 if dead >= GOAL * len(done) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
