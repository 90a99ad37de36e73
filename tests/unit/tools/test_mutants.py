"""tools/mutants.py: every mutant is where the compiler says it is, and exchanging one function makes it and undoes it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from asset_bridge.ipld import murmur
from tools import mutant_runs
from tools.mutant_kinds import ROOT, all_of, changed
from tools.mutants import TESTS

FILES = [path for room in TESTS for path in sorted((ROOT / "src" / "asset_bridge" / room).glob("*.py"))]


@pytest.mark.parametrize("source", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_mutant_s_function_is_in_the_compiled_file_and_its_lines_are_in_the_function(source: Path) -> None:
    text = source.read_text()
    codes = list(mutant_runs.inner(compile(text, str(source), "exec")))
    known = {(code.co_qualname, code.co_firstlineno) for code in codes}
    lines = text.count("\n")
    for mutant in all_of(source):
        assert 1 <= mutant.lines[0] <= mutant.lines[1] <= lines, mutant
        if mutant.function is not None:
            assert mutant.function in known, mutant
            assert mutant.function[1] < mutant.lines[0], mutant


def test_one_function_is_exchanged_and_the_others_stay() -> None:
    source = ROOT / "src" / "asset_bridge" / "ipld" / "murmur.py"
    found = mutant_runs.functions({str(source)})
    mutants = [mutant for mutant in all_of(source) if mutant.function and mutant.function[0] == "murmur3_x64_64"]
    honest, outcomes = murmur.murmur3_x64_64(b"hello"), set()
    assert len(mutants) > 10
    for mutant in mutants[:10]:
        module = compile(changed(source.read_text(), *mutant.place), str(source), "exec")
        assert mutant_runs.exchange(found, module, (str(source), *mutant.function))
        try:
            outcomes.add(murmur.murmur3_x64_64(b"hello"))
        except (ValueError, OverflowError, IndexError):
            outcomes.add(b"")
        finally:
            whole = compile(source.read_text(), str(source), "exec")
            assert mutant_runs.exchange(found, whole, (str(source), *mutant.function))
        assert murmur.murmur3_x64_64(b"hello") == honest
    assert len(outcomes) > 2
    assert not mutant_runs.exchange(found, whole, (str(source), "no_such_function", 1))


def test_a_process_that_waits_for_nothing_is_told_from_a_busy_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutant_runs, "STILL_SECONDS", 0.2)
    busy = "while True: pass"
    still = "import threading; threading.Event().wait()"
    children = [subprocess.Popen([sys.executable, "-S", "-c", code]) for code in (busy, still)]
    try:
        used: dict[int, tuple[float, float]] = {}
        found = set[int]()
        tells = Path("/proc/self/task").exists()  # else nothing is taken for a deadlock
        ends_at = time.monotonic() + (60 if tells else 1)
        while children[1].pid not in found and time.monotonic() < ends_at:
            found |= {child.pid for child in children if mutant_runs.stands_still(child.pid, used)}
            time.sleep(0.02)
        assert found == ({children[1].pid} if tells else set())
    finally:
        for child in children:
            child.kill()
            child.wait()
