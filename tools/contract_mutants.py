"""Change one thing in the contracts and see whether a test fails: `make contract-mutants`.

    python tools/contract_mutants.py [--rest N] [--seed N] [--workers N] [--seconds N] [--fresh]

Chosen are all changes (tools/contract_changes.py) that compile to other code on a statement that moves money or changes a state, and
`--rest` more, drawn by `--seed` from those of the other statements that compile. The tests of tests/unit/contracts are collected once;
for each mutant a process is forked from there, compiles it into a folder of its own and runs the tests against that: on revm, and what
lives through it on py-evm those that revm cannot run, where contract accounts call. First come the tests that killed a mutant of lines
near by, then the quick ones. A change can be endless: a test that takes fifty times the processor time of the unchanged run, and at
least ten seconds, has failed.
Verdicts are kept in .cache/, so that an interrupted run goes on (`--seconds` stops after a time): a kill holds as long as the changed
file is the same, a survivor is tried again when a test has changed. A whole run is written to docs/reference/mutants.md; the exit
status is 1 when fewer than 95 % were killed. Nothing else in the tree is touched.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools import build_artefacts  # noqa: E402
from tools.contract_changes import Mutant, compiled, of, quicken, unchanged  # noqa: E402
from tools.mutants import tests_digest, write_page  # noqa: E402

TESTS = "tests/unit/contracts"
GOAL = 0.95
COMPILE_SECONDS = 120
TIMES_AS_LONG, LEAST_SECONDS = 50, 10
CACHE = ROOT / ".cache" / "mutants"
SURVIVED, KILLED, NOT_A_MUTANT = 0, 1, 77
NULL_RUNS = 3


class Judge:
    """A plugin of pytest: in place of one run of the collected tests, one in a fork for each mutant."""

    def __init__(self, work: Callable[[Judge], None]) -> None:
        self._work = work
        self.seconds: dict[str, float] = {}
        """Of each test, set-up included, in a run of the unchanged contracts."""
        self.on_revm: set[str] = set()
        self.tried: list[str] = []

    def pytest_runtestloop(self, session: Any) -> bool:
        """Take pytest's place."""
        self.session = session
        self.all = list(session.items)
        self._work(self)
        return True

    def pytest_runtest_protocol(self, item: Any) -> None:
        """Bound the test's processor time; what goes on is ended by the signal."""
        self.tried.append(item.nodeid)
        limit = max(LEAST_SECONDS, TIMES_AS_LONG * self.seconds.get(item.nodeid, 100.0))
        signal.setitimer(signal.ITIMER_PROF, limit)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note times and what passes, for the unchanged run."""
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.when == "call" and report.passed:
            self.on_revm.add(report.nodeid)

    def passes(self, items: list[Any], engine: str, artefacts: Path | None, until_first: bool = True) -> bool:
        """Whether all of `items` pass, in this process, which is good for nothing else afterwards."""
        os.environ["ASSET_BRIDGE_ENGINE"] = engine
        for name, module in list(sys.modules.items()):
            if artefacts and name.startswith("tests.unit.contracts.") and hasattr(module, "ARTEFACTS"):
                module.ARTEFACTS = artefacts  # type: ignore[attr-defined]
        from _pytest import main

        self.session.items[:] = items
        self.session.config.option.maxfail = 1 if until_first else 0
        with contextlib.suppress(self.session.Failed):
            main.pytest_runtestloop(self.session)
        return self.session.testsfailed == 0


def end_all(*_: object) -> None:
    """On SIGTERM: whatever was started ends, too."""
    os.killpg(0, signal.SIGKILL)


def forked(act: Callable[[Any], int]) -> tuple[int, int]:
    """Start `act` in a process; its id, and where what it says can be read."""
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        return pid, read
    os.close(read)
    status = KILLED
    with contextlib.suppress(BaseException), open(os.devnull, "w") as nothing, os.fdopen(write, "w") as said:
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
        status = act(said)
        said.flush()
    os._exit(status)


def heard(pid: int, read: int, raw: int | None = None) -> tuple[int | None, Any]:
    """The status of such a process, None when a signal ended it, and what it said."""
    with os.fdopen(read) as pipe:
        text = pipe.read()
    raw = os.waitpid(pid, 0)[1] if raw is None else raw
    return os.waitstatus_to_exitcode(raw) if os.WIFEXITED(raw) else None, json.loads(text or "null")


@dataclass
class Run:
    """What is tried, what is known of it, and how."""

    money: list[Mutant]
    rest: list[Mutant]
    count_of_rest: int
    judge: Judge
    verdicts: Path
    tests: str
    known: dict[str, int] = field(default_factory=dict)
    killers: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    """By file: line of a killed mutant and the test that did it."""
    ended_by_signal: int = 0

    def read(self) -> None:
        """Take up the verdicts of earlier runs."""
        lines = self.verdicts.read_text().splitlines() if self.verdicts.exists() else []
        place = {m.key: m for m in (*self.money, *self.rest)}
        for line in lines:
            with contextlib.suppress(ValueError):  # the last line of a killed run
                key, status, tests, killer = json.loads(line)
                if key in place and (status != SURVIVED or tests == self.tests):
                    self._note(place[key], status, killer)

    def _note(self, mutant: Mutant, status: int, killer: str) -> None:
        self.known[mutant.key] = status
        if killer:
            self.killers.setdefault(mutant.path.name, []).append((mutant.line, killer))

    def keep(self, mutant: Mutant, status: int, killer: str) -> None:
        """Keep a verdict."""
        self._note(mutant, status, killer)
        with self.verdicts.open("a") as file:
            file.write(json.dumps([mutant.key, status, self.tests, killer]) + "\n")

    def chosen(self) -> list[Mutant]:
        """All of money and state, and so many of the rest that enough of them compile."""
        found, wanted = list(self.money), self.count_of_rest
        for mutant in self.rest:
            if wanted == 0:
                break
            found.append(mutant)
            wanted -= self.known.get(mutant.key) != NOT_A_MUTANT
        return sorted(found, key=lambda mutant: mutant.key)  # a digest: as good as shuffled

    def order(self, mutant: Mutant) -> list[Any]:
        """The tests that revm can run, those first that are likely to kill."""
        near: dict[str, int] = {}
        for line, test in self.killers.get(mutant.path.name, []):
            near[test] = min(near.get(test, 10**6), abs(line - mutant.line))
        items = [item for item in self.judge.all if item.nodeid in self.judge.on_revm]
        return sorted(items, key=lambda item: (near.get(item.nodeid, 10**6), self.judge.seconds[item.nodeid]))

    def judged(self, mutant: Mutant, said: Any) -> int:
        """In a fork: compile, test, and say which test killed it."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            signal.setitimer(signal.ITIMER_PROF, COMPILE_SECONDS)
            if not compiled(mutant, folder):
                return NOT_A_MUTANT
            left = [item for item in self.judge.all if item.nodeid not in self.judge.on_revm]
            for engine, items in (("revm", self.order(mutant)), ("py-evm", left)):
                status, tried = heard(*forked(lambda out, e=engine, i=items: self._tested(e, i, folder, out)))  # type: ignore[misc]
                if status != SURVIVED:
                    json.dump([tried, status is None], said)
                    return KILLED
        return SURVIVED

    def _tested(self, engine: str, items: list[Any], folder: Path | None, said: Any) -> int:
        self.judge.tried.clear()
        passed = self.judge.passes(items, engine, folder / "artefacts" if folder else None)
        json.dump(self.judge.tried[-1], said)
        return SURVIVED if passed else KILLED

    def go(self, workers: int, until: float) -> None:
        """Try every mutant without a verdict, `workers` at once."""
        running: dict[int, tuple[Mutant, int]] = {}
        while True:
            busy = {mutant.key for mutant, _ in running.values()}
            waiting = [m for m in self.chosen() if m.key not in self.known and m.key not in busy]
            while waiting and len(running) < workers and time.monotonic() < until:
                mutant = waiting.pop(0)
                pid, read = forked(lambda said, m=mutant: self.judged(m, said))  # type: ignore[misc]
                running[pid] = (mutant, read)
            if not running:
                return
            pid, raw = os.wait()
            mutant, read = running.pop(pid)
            status, word = heard(pid, read, raw)
            killer, by_signal = word or ("", False)
            self.ended_by_signal += by_signal
            self.keep(mutant, KILLED if status is None else status, killer)
            if status == SURVIVED:
                print(f"survived  {mutant.name}", flush=True)


def baseline(run: Run, kept: Path) -> None:
    """Learn times, and which tests revm can run; then the unchanged contracts must pass in other orders, and on py-evm, too.

    Once for each state of tests and contracts.
    """
    judge = run.judge
    if kept.exists():
        judge.seconds, found = json.loads(kept.read_text())
        judge.on_revm = set(found)
        return
    if not unchanged():
        raise SystemExit("contract_mutants: error: the contracts do not compile to the committed artefacts")

    def learn(said: Any) -> int:
        judge.passes(judge.all, "revm", None, until_first=False)
        json.dump([judge.seconds, sorted(judge.on_revm)], said)
        return 0

    judge.seconds, found = heard(*forked(learn))[1]
    judge.on_revm = set(found)
    left = [item for item in judge.all if item.nodeid not in judge.on_revm]
    items = [item for item in judge.all if item.nodeid in judge.on_revm]
    orders = [(f"revm, order {n}", "revm", random.Random(n).sample(items, len(items))) for n in range(NULL_RUNS)]
    for what, engine, chosen in [*orders, ("py-evm", "py-evm", left)]:
        status, last = heard(*forked(lambda said, e=engine, c=chosen: run._tested(e, c, None, said)))  # type: ignore[misc]
        if status != SURVIVED:
            raise SystemExit(f"contract_mutants: error: {last} fails without any change ({what})")
    kept.write_text(json.dumps([judge.seconds, found]))
    print(f"{len(items)} tests on revm, {sum(judge.seconds.values()):.0f} s; {len(left)} on py-evm", flush=True)


def main() -> int:
    """Choose, run, count."""
    parser = argparse.ArgumentParser(description="Does a test fail for each change of the contracts?")
    parser.add_argument("--rest", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--fresh", action="store_true", help="forget the verdicts of earlier runs")
    given = parser.parse_args()
    until = time.monotonic() + given.seconds
    os.chdir(ROOT)
    os.environ["DEPTH"] = "spot"
    files = sorted([*build_artefacts.CONTRACTS.glob("*.vy"), *(build_artefacts.CONTRACTS / "modules").glob("*.vy")])
    made = [mutant for path in files for mutant in of(path)]
    money, rest = [m for m in made if m.money], [m for m in made if not m.money]
    random.Random(given.seed).shuffle(rest)
    kept = CACHE / "contracts.jsonl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    if given.fresh:
        kept.unlink(missing_ok=True)
    print(f"{len(made)} changes, {len(money)} of money or state, {given.rest} of the others", flush=True)

    runs: list[Run] = []
    tests = tests_digest([TESTS])
    code = b"".join(path.read_bytes() for path in sorted(build_artefacts.ARTEFACTS.glob("*.json")))
    state = hashlib.sha256(tests.encode() + code).hexdigest()[:16]

    def work(judge: Judge) -> None:
        from tests.unit.contracts import records

        run = Run(money, rest, given.rest, judge, kept, tests)
        run.read()
        runs.append(run)
        for path in records.MOCKS.glob("*.vy"):
            records._compiled(path.stem)
        baseline(run, CACHE / f"contracts-{state}.json")
        run.go(given.workers, until)

    import pytest

    quicken()
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, end_all)
    pytest.main(["-q", "-s", "-p", "no:cacheprovider", TESTS], plugins=[Judge(work)])
    if not runs:
        return 2
    (run,) = runs
    chosen = run.chosen()
    seen = [m for m in chosen if run.known.get(m.key) in (KILLED, SURVIVED)]
    left = sum(m.key not in run.known for m in chosen)
    survivors = sorted((m for m in seen if run.known[m.key] == SURVIVED), key=lambda m: (m.path, m.line, m.name))
    share = 1 - len(survivors) / max(1, len(seen))
    for mutant in survivors:
        print(f"survivor  {mutant.name}")
    ended = f", {run.ended_by_signal} of them by the time they took" if run.ended_by_signal else ""
    print(f"{len(seen) - len(survivors)} of {len(seen)} killed{ended}, {100 * share:.1f} %; {left} are left")
    if not left:
        write_page("contracts", len(seen), survivors)  # type: ignore[arg-type]  it reads their names only
    return 0 if share >= GOAL else 1


if __name__ == "__main__":
    raise SystemExit(main())
