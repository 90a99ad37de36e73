"""Change one thing in the contracts and see whether a test fails: `make contract-mutants`.

    python tools/contract_mutants.py [--sample N] [--rest N] [--seed N] [--workers N] [--seconds N]

Mutants are changed comparisons, operators, whole numbers and truth values, and dropped statements. Chosen are all that compile to other
code on a line that moves money or changes a state (`MONEY`), plus `--rest` drawn by `--seed` from the others; `--sample` takes only so
many of all of them, `--seconds` stops after a time: the order is shuffled by the seed, so what was run is a fair sample.
Each is compiled into a folder of its own and the tests of tests/unit/contracts run against it: on revm, and what lives through that on
py-evm, where contract accounts call too. Verdicts are kept in .cache/, so that an interrupted run goes on. Nothing in the tree is touched
but the room's section in docs/reference/mutants.md.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools import build_artefacts  # noqa: E402
from tools.mutants import write_page  # noqa: E402

TESTS = "tests/unit/contracts"
GOAL = 0.95
TIMEOUT_SECONDS = 300
CACHE = ROOT / ".cache" / "mutants"
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
    r"^\s+(self\._\w+(\[.*\])? [-+|&]?= |order_book\._\w+\[|extcall "
    r"|.*\b(_credit|_take|_pay_out|_set_status|_moved|set_order|_refund|_settle)\("
    r"|.*raw_call\(|.*price \* |return \(?price"
    r"|(left|part|reward|earned|amount|half|stored|status|word|bond|success) [-+|&]?= )"
)
TYPED = re.compile(r"\[[\d_, ]+\]|: [A-Z]\w+\[\d+\]|(?:bytes|uint|int)\d+|x\"[0-9a-f]*\"|\"[^\"]*\"")


@dataclass(frozen=True)
class Mutant:
    """One changed line."""

    name: str
    path: Path
    line: int
    text: str
    money: bool

    @property
    def key(self) -> str:
        """The line in its file."""
        content = self.path.read_bytes() + b"\0" + str(self.line).encode() + self.text.encode()
        return hashlib.sha256(content).hexdigest()[:24]


def of(path: Path) -> Iterator[Mutant]:
    """Every mutant of a file."""
    quoted = body = False
    for at, line in enumerate(path.read_text().splitlines()):
        if line.strip().count('"""') == 1:
            quoted = not quoted
        code = line.split("#")[0].rstrip()
        body = (body or line.startswith(("def ", "@"))) and not line.startswith(("event ", "struct ", "interface "))
        if (
            quoted
            or '"""' in line
            or not body
            or not code.startswith(" ")
            or (code.endswith(("(", ",")) and ":" in code)
        ):
            continue
        for what, text in _changes(code):
            same = next((i for i, (old, new) in enumerate(zip(code, text, strict=False)) if old != new), 0)
            name = f"contracts/{path.relative_to(build_artefacts.CONTRACTS)}:{at + 1}:{same + 1}: {what}"
            yield Mutant(name, path, at, text, MONEY.match(code) is not None)


def _changes(code: str) -> Iterator[tuple[str, str]]:
    safe = TYPED.sub(lambda found: "\0" * len(found[0]), code)  # types and texts stay
    for pattern, other in TOKENS:
        for found in re.finditer(pattern, safe):
            yield f"{found[0].strip()} → {other or 'nothing'}", code[: found.start()] + other + code[found.end() :]
    for found in NUMBER.finditer(safe):
        number = int(found[0].replace("_", ""))
        for other in {number + 1, max(0, number - 1)} - {number}:
            yield f"{found[0]} → {other}", code[: found.start()] + str(other) + code[found.end() :]
    if DROPPED.match(code) and code.count("(") == code.count(")") and not re.search(r": \w+(\[.*\])? = ", code):
        yield "dropped", code[: len(code) - len(code.lstrip())] + "pass"


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
    shutil.copytree(ROOT / "contracts", sources)
    shutil.copytree(build_artefacts.ARTEFACTS, made)
    target = sources / mutant.path.relative_to(ROOT / "contracts")
    lines = target.read_text().splitlines()
    lines[mutant.line] = mutant.text
    target.write_text("\n".join(lines) + "\n")
    build_artefacts.CONTRACTS = sources
    other = False
    try:
        for path in users(mutant.path):
            text = build_artefacts.render(build_artefacts.build(sources / path.name))
            other |= text != (made / f"{path.stem}.json").read_text()
            (made / f"{path.stem}.json").write_text(text)
    except (Exception, SystemExit):  # noqa: BLE001  whatever the compiler says of it, or too large a contract
        return False
    return other


def tested(folder: Path, engine: str, left_out: list[str]) -> int:
    """pytest's status against the artefacts in `folder`, in this process."""
    os.environ.update(ASSET_BRIDGE_ARTEFACTS=str(folder / "artefacts"), ASSET_BRIDGE_ENGINE=engine, DEPTH="spot")
    import pytest

    options = ["-x", "-q", "-p", "no:cacheprovider", *(f"--deselect={name}" for name in left_out)]
    return int(pytest.main([*options, TESTS]))


NOT_A_MUTANT, KILLED, SURVIVED = 77, 1, 0


def judge(mutant: Mutant, left_out: list[str]) -> int:
    """Start a process that tries one mutant."""
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    status = KILLED
    with contextlib.suppress(BaseException), tempfile.TemporaryDirectory() as name, open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
        signal.alarm(TIMEOUT_SECONDS)  # an endless loop is noticed, too
        folder = Path(name)
        if not compiled(mutant, folder):
            status = NOT_A_MUTANT
        else:
            child = os.fork()
            if not child:
                status = 1
                with contextlib.suppress(BaseException):
                    status = tested(folder, "revm", left_out)
                os._exit(1 if status else 0)
            if os.waitpid(child, 0)[1] == 0:
                status = SURVIVED if tested(folder, "py-evm", []) == 0 else KILLED
    os._exit(status)


def only_on_py_evm() -> list[str]:
    """Tests that do not pass on revm with the contracts as they are: contract accounts that call, other chains, gas."""
    report = CACHE / "contracts-baseline.txt"
    report.parent.mkdir(parents=True, exist_ok=True)
    pid = os.fork()
    if not pid:
        os.environ.update(ASSET_BRIDGE_ENGINE="revm", DEPTH="spot")
        with report.open("w") as out:
            os.dup2(out.fileno(), 1)
            import pytest

            pytest.main(["-q", "-rf", "-p", "no:cacheprovider", TESTS])
            sys.stdout.flush()
        os._exit(0)
    os.waitpid(pid, 0)
    return sorted(set(re.findall(r"^FAILED (\S+)", report.read_text(), re.MULTILINE)))


def main() -> int:
    """Choose, run, count."""
    parser = argparse.ArgumentParser(description="Does a test fail for each change of the contracts?")
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--rest", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    given = parser.parse_args()
    os.chdir(ROOT)
    files = sorted([*build_artefacts.CONTRACTS.glob("*.vy"), *(build_artefacts.CONTRACTS / "modules").glob("*.vy")])
    made = [mutant for path in files for mutant in of(path)]
    drawn = random.Random(given.seed)
    money, rest = [m for m in made if m.money], [m for m in made if not m.money]
    drawn.shuffle(rest)
    chosen = money + rest[: given.rest]
    drawn.shuffle(chosen)
    chosen = chosen[: given.sample or None]
    print(f"{len(made)} changes, {len(money)} on lines of money or state; {len(chosen)} are tried", flush=True)
    left_out = only_on_py_evm()
    print(f"{len(left_out)} tests need py-evm", flush=True)
    kept = CACHE / "contracts.jsonl"
    known: dict[str, int] = dict(map(json.loads, kept.read_text().splitlines())) if kept.exists() else {}
    known = {key: status for key, status in known.items() if status != SURVIVED}  # a new test may kill it
    import boa  # noqa: F401  once, before the forks
    import pytest  # noqa: F401

    waiting, running, until = [m for m in chosen if m.key not in known], {}, time.monotonic() + given.seconds
    while running or (waiting and time.monotonic() < until):
        while waiting and len(running) < given.workers and time.monotonic() < until:
            mutant = waiting.pop()
            running[judge(mutant, left_out)] = mutant
        pid, raw = os.wait()
        mutant = running.pop(pid)
        known[mutant.key] = os.waitstatus_to_exitcode(raw) if os.WIFEXITED(raw) else KILLED
        with kept.open("a") as file:
            file.write(json.dumps([mutant.key, known[mutant.key]]) + "\n")
        if known[mutant.key] == SURVIVED:
            print(f"survived  {mutant.name}", flush=True)
    seen = [m for m in chosen if known.get(m.key, NOT_A_MUTANT) != NOT_A_MUTANT]
    survivors = [m for m in seen if known[m.key] == SURVIVED]
    share = 1 - len(survivors) / max(1, len(seen))
    print(f"{len(seen) - len(survivors)} of {len(seen)} killed, {100 * share:.1f} %")
    write_page("contracts", len(seen), survivors)  # type: ignore[arg-type]  it reads their names only
    return 0 if share >= GOAL else 1


if __name__ == "__main__":
    raise SystemExit(main())
