"""What tools/mutants.py changes: one operator, constant, condition or statement at a time, and where in the file that is."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
Change = tuple[Callable[[], object], str, ast.AST]
COMPARED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
COMPUTED = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Mod: ast.Add,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitAnd,
}  # fmt: skip
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Mutant:
    """One changed file; `key` names file content and change, whatever else is in the tree."""

    name: str
    key: str
    module: str
    source: Path
    place: tuple[int, int] = (0, 0)  # node and change
    lines: tuple[int, int] = (0, 0)  # of the changed statement, of a compound one its head
    function: tuple[str, int] | None = (
        None  # outermost function whose body holds it, as its code object says: name, line
    )


def all_of(source: Path) -> Iterator[Mutant]:
    """Every mutant of a file."""
    text = source.read_text()
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    module = ".".join(source.relative_to(ROOT / "src").with_suffix("").parts)
    tree = ast.parse(text)
    skipped, places, count = set(_said(tree)), _places(tree), 0
    for number, node in enumerate(ast.walk(tree)):
        for variant, (_, what, where) in enumerate(_changes(node) if id(node) not in skipped else ()):
            name = f"{source.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}: {what}"
            lines, function = places[id(where)]
            yield Mutant(name, f"{source.name}:{digest}:{count}", module, source, (number, variant), lines, function)
            count += 1


def changed(text: str, number: int, variant: int) -> ast.Module:
    """The file's tree with that one change."""
    tree = ast.parse(text)
    node = next(found for at, found in enumerate(ast.walk(tree)) if at == number)
    list(_changes(node))[variant][0]()
    return ast.fix_missing_locations(tree)


def _places(tree: ast.Module) -> dict[int, tuple[tuple[int, int], tuple[str, int] | None]]:
    """Of each node: lines of the innermost statement, and the outermost function in whose body it is."""
    found: dict[int, tuple[tuple[int, int], tuple[str, int] | None]] = {}

    def walk(node: ast.AST, lines: tuple[int, int], function: tuple[str, int] | None, names: tuple[str, ...]) -> None:
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None) or getattr(node, "cases", None)
            last = max(node.lineno, getattr(body[0], "lineno", node.lineno) - 1) if body else node.end_lineno
            lines = (node.lineno, last or node.lineno)
        found[id(node)] = lines, function
        own = (*names, node.name) if isinstance(node, (*FUNCTIONS, ast.ClassDef)) else names
        inner = function
        if isinstance(node, FUNCTIONS) and function is None:
            inner = ".".join(own), min(part.lineno for part in (node, *node.decorator_list))
        for name, value in ast.iter_fields(node):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    walk(child, lines, inner if name == "body" else function, own)

    walk(tree, (0, 0), None, ())
    return found


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


def _changes(node: ast.AST) -> Iterator[Change]:
    """Each change of this node: what does it, what it is, and the node it concerns."""
    if isinstance(node, ast.Compare):
        for at, operator in enumerate(node.ops):
            if type(operator) in COMPARED:
                other = COMPARED[type(operator)]
                yield _put(node.ops, at, other()), f"{type(operator).__name__} → {other.__name__}", node.left
    elif isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in COMPUTED:
        if not isinstance(getattr(node, "left", None), ast.Constant) or not isinstance(node.left.value, str):
            other = COMPUTED[type(node.op)]
            where = node.left if isinstance(node, ast.BinOp) else node.target
            yield _set(node, "op", other()), f"{type(node.op).__name__} → {other.__name__}", where
    elif isinstance(node, ast.BoolOp):
        other = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield _set(node, "op", other()), f"{type(node.op).__name__} → {other.__name__}", node.values[0]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield _become_bool(node), "not dropped", node.operand
    elif isinstance(node, ast.Constant) and type(node.value) is bool:
        yield _set(node, "value", not node.value), f"{node.value} → {not node.value}", node
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        yield _set(node, "value", node.value + 1), f"{node.value} → {node.value + 1}", node
        if node.value:
            yield _set(node, "value", node.value - 1), f"{node.value} → {node.value - 1}", node
    elif isinstance(node, ast.Constant) and type(node.value) is bytes and node.value:
        yield _set(node, "value", bytes((node.value[0] ^ 1,)) + node.value[1:]), "a bit of a constant", node
    elif isinstance(node, (ast.FunctionDef, ast.If, ast.For, ast.While, ast.With, ast.Try)):
        for at, statement in enumerate(node.body):
            if isinstance(statement, (ast.Raise, ast.AugAssign)) or (
                isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
            ):
                dropped = ast.copy_location(ast.Pass(), statement)
                yield _put(node.body, at, dropped), f"line {statement.lineno} dropped", statement


def _put(items: list, at: int, value: ast.AST) -> Callable[[], object]:
    return lambda: items.__setitem__(at, value)


def _set(node: ast.AST, name: str, value: object) -> Callable[[], object]:
    return lambda: setattr(node, name, value)


def _become_bool(node: ast.UnaryOp) -> Callable[[], object]:
    """`not x` becomes `not not x`."""
    return lambda: setattr(node, "operand", ast.UnaryOp(ast.Not(), node.operand))
