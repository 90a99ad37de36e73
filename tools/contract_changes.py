"""Changes of the contracts, one at a time: which there are, on which statements, and the artefacts of one of them.

Mutants are changed comparisons, operators, whole numbers and truth values, and dropped statements. A statement moves money or
changes a state (`MONEY`) when it writes storage, calls another contract, sends coins, or computes an amount, a time or a status
that such a statement takes; a function that does any of this counts where it is called, too.
Types, texts, events' fields and constants outside functions stay. Used by tools/contract_mutants.py.
"""

from __future__ import annotations

import gc
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cbor2
from vyper.codegen import ir_node
from vyper.compiler import compile_from_file_input
from vyper.compiler.input_bundle import FilesystemInputBundle
from vyper.ir import optimizer

from tools import build_artefacts

TOKENS: list[tuple[str, str]] = [
    (r"(?<![<=>])<(?![<=])", "<="), (r"<=", "<"), (r"(?<![->])>(?![>=])", ">="), (r"(?<!>)>=", ">"),
    (r"==", "!="), (r"!=", "=="), (r"(?<=\s)\+(?=[\s=])", "-"), (r"(?<=\s)-(?=[\s=])", "+"),
    (r"(?<=\s)\*(?=\s)", "//"), (r"(?<=\s)//(?=\s)", "*"), (r"<<", ">>"), (r"(?<!>)>>", "<<"),
    (r"(?<=\s)\|(?=[\s=])", "&"), (r"(?<=\s)&(?=[\s=])", "|"), (r"\band\b", "or"), (r"\bor\b", "and"),
    (r"\bnot ", ""), (r"\bTrue\b", "False"), (r"\bFalse\b", "True"),
    (r"unsafe_add", "unsafe_sub"), (r"unsafe_sub", "unsafe_add"), (r"\bmax\(", "min("), (r"\bmin\(", "max("),
]  # fmt: skip
NUMBER = re.compile(r"(?<![\w\"])\d[\d_]*(?![\w.])")
DROPPED = re.compile(r"^\s+(assert |log |extcall |self\.\w+\(|\w+\._\w+\(|[\w.\[\]>& ]+ [-+|&]?= )")
MONEY = re.compile(
    r"^\s*((self|order_book|governed)\.\w+(\[.*\])?(\.\w+)? [-+|&^]?= |extcall "
    r"|.*\b_(credit|take|pay_out|set_status|moved|refund|settle|send|claim|set|hold|record|actor)\("
    r"|.*\b_(start_epoch|set_vendor|list_vendor|list_measurement|list_token|busy_until|with_accepted|with_row)\("
    r"|.*raw_call\(|.*set_order\(|.*price \* |return \(? ?price"
    r"|(left|part|reward|earned|amount|half|stake|bond|until|active_at|change_at)(: \w+)? [-+|&]?= "
    r"|(stored|status|word|success|number|bitmap|given|account) [-+|&]?= )"
)
TYPED = re.compile(r"\[[\d_, ]+\]|: [A-Z]\w+\[\d+\]|(?:bytes|uint|int)\d+|x\"[0-9a-f]*\"|\"[^\"]*\"")


@dataclass(frozen=True)
class Mutant:
    """One changed line, or a statement that is dropped."""

    name: str
    path: Path
    line: int
    text: str
    money: bool
    last: int
    """The last line that `text` replaces."""

    @property
    def key(self) -> str:
        """The change in its file."""
        change = f"{self.line} {self.last} {self.text}".encode()
        return hashlib.sha256(self.path.read_bytes() + b"\0" + change).hexdigest()[:24]


def statements(text: str) -> Iterator[tuple[int, list[str]]]:
    """Number of the first line and the lines, without comments, of each statement in the body of a function."""
    quoted = body = False
    lines: list[str] = []
    for at, line in enumerate(text.splitlines()):
        if line.count('"""') == 1:
            quoted = not quoted
        if quoted or '"""' in line:
            continue
        code = line.split("#")[0].rstrip()
        if code and not code.startswith((" ", ")")) and not lines:
            body = code.startswith(("def ", "@"))
        lines.append(code)
        bare = re.sub(r"\"[^\"]*\"", "", " ".join(lines))
        if sum(bare.count(sign) for sign in "([{") > sum(bare.count(sign) for sign in ")]}"):
            continue
        if body and lines[0].startswith(" "):
            yield at + 1 - len(lines), lines
        lines = []


def of(path: Path) -> Iterator[Mutant]:
    """Every mutant of a file."""
    where = f"contracts/{path.relative_to(build_artefacts.CONTRACTS)}"
    for first, lines in statements(path.read_text()):
        whole = " ".join(line.strip() for line in lines)
        money = MONEY.match(whole) is not None
        for at, code in enumerate(lines, first):
            for what, text in _changes(code):
                same = next((i for i, (old, new) in enumerate(zip(code, text, strict=False)) if old != new), 0)
                yield Mutant(f"{where}:{at + 1}:{same + 1}: {what}", path, at, text, money, at)
        if DROPPED.match(" " + whole) and not re.match(r"[\w.]+: \w+(\[.*\])? = ", whole):
            text = lines[0][: len(lines[0]) - len(lines[0].lstrip())] + "pass"
            yield Mutant(f"{where}:{first + 1}: dropped", path, first, text, money, first + len(lines) - 1)


def _changes(code: str) -> Iterator[tuple[str, str]]:
    safe = TYPED.sub(lambda found: "\0" * len(found[0]), code)  # types and texts stay
    for pattern, other in TOKENS:
        for found in re.finditer(pattern, safe):
            yield f"{found[0].strip()} → {other or 'nothing'}", code[: found.start()] + other + code[found.end() :]
    for found in NUMBER.finditer(safe):
        number = int(found[0].replace("_", ""))
        for other in sorted({number + 1, max(0, number - 1)} - {number}):
            yield f"{found[0]} → {other}", code[: found.start()] + str(other) + code[found.end() :]


def users(path: Path) -> list[Path]:
    """The deployed contracts that contain a file."""
    if path.parent == build_artefacts.CONTRACTS:
        return [path]
    texts = {p: p.read_text() for p in (*build_artefacts.CONTRACTS.glob("*.vy"), *path.parent.glob("*.vy"))}
    found, waiting = {path}, [path]
    while waiting:
        stem = waiting.pop().stem
        for other, text in texts.items():
            if other not in found and re.search(rf"^from modules import {stem}$", text, re.MULTILINE):
                found.add(other)
                waiting.append(other)
    return sorted(p for p in found if p.parent == build_artefacts.CONTRACTS)


def compiled(mutant: Mutant, folder: Path) -> bool:
    """Put artefacts with the change into `folder`; False when it does not compile, or to the same code."""
    sources, made = folder / "contracts", folder / "artefacts"
    shutil.copytree(build_artefacts.CONTRACTS, sources)
    shutil.copytree(build_artefacts.ARTEFACTS, made)
    target = sources / mutant.path.relative_to(build_artefacts.CONTRACTS)
    lines = target.read_text().splitlines()
    lines[mutant.line : mutant.last + 1] = [mutant.text] + [""] * (mutant.last - mutant.line)
    target.write_text("\n".join(lines) + "\n")
    used = users(mutant.path)
    other = False
    gc.disable()  # the compiler's trees are let go of with the process
    try:
        for path in used:
            as_is = made / f"{path.stem}.json"
            artefact = json_of(as_is)
            code, size_bytes = creation_code(sources, path.name)
            other |= code_of(code) != code_of(bytes.fromhex(artefact["bytecode"][2:]))
            as_is.write_text(json.dumps({**artefact, "bytecode": "0x" + code.hex(), "code_size_bytes": size_bytes}))
    except Exception:  # noqa: BLE001  whatever the compiler says of it
        return False
    return other and size_bytes <= build_artefacts.MAX_CODE_BYTES


def json_of(path: Path) -> dict[str, Any]:
    """An artefact."""
    return dict(json.loads(path.read_text()))


def quicken() -> None:
    """Let the compiler do once what it does often: more than half of its time. What it makes is the same (`unchanged`).

    Before it names a value it optimizes the value's whole tree, to see whether a number is left of it. That can only be where the
    optimizer changes the head of a tree, which it does for the operations below. And with each change it optimizes all that stands
    below once more, where nothing is left to do: what comes out for a tree depends on the tree and the operation above it alone.
    """
    optimized = optimizer._optimize

    def once(node: Any, parent: Any) -> tuple[bool, Any]:
        above = parent.value if parent is not None else None
        if above in vars(node).get("_done_below", ()):
            return False, node
        changed, made = optimized(node, parent)
        vars(made).setdefault("_done_below", set()).add(above)
        return changed, made

    optimizer._optimize = once
    changing = {*optimizer.arith, "seq", "if", "iszero", "shl", "shr", "sar", "ceil32", "assert", "assert_unreachable"}
    asked = ir_node.IRnode.cache_when_complex

    def named(self: Any, name: str) -> Any:
        if self.value in changing:
            return asked(self, name)
        return ir_node._WithBuilder(self, name, not self.is_complex_ir)

    def made(self: Any, node: Any, name: str, should_inline: bool = False) -> None:
        self.ir_node, self.should_inline = node, should_inline
        self.ir_var = ir_node.IRnode.from_list(name, typ=node.typ, location=node.location, encoding=node.encoding)

    ir_node.IRnode.cache_when_complex = named
    ir_node._WithBuilder.__init__ = made


def unchanged() -> bool:
    """Whether the contracts as they are compile to what is committed."""
    return all(
        creation_code(build_artefacts.CONTRACTS, path.name)
        == (bytes.fromhex(artefact["bytecode"][2:]), artefact["code_size_bytes"])
        for path in build_artefacts.deployables()
        for artefact in [json_of(build_artefacts.ARTEFACTS / f"{path.stem}.json")]
    )


def creation_code(sources: Path, name: str) -> tuple[bytes, int]:
    """Creation code and bytes of deployed code. As tools/build_artefacts.py makes them, and nothing that takes longer."""
    bundle = FilesystemInputBundle([sources])
    out = compile_from_file_input(bundle.load_file(name), input_bundle=bundle, output_formats=["bytecode"])
    code = bytes.fromhex(out["bytecode"][2:])
    words = cbor2.loads(
        code[-int.from_bytes(code[-2:], "big") : -2]
    )  # digest, bytes: code, its data, immutables; compiler
    return code, words[1] + words[3]


def code_of(code: bytes) -> bytes:
    """Creation code without the compiler's last words, among which is a digest of the sources; the last two bytes are their length."""
    return code[: -int.from_bytes(code[-2:], "big")]
