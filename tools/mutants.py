"""Change one thing in the code and see whether a test fails: `make mutants ROOM=src/asset_bridge/sealing`.

    python tools/mutants.py ROOM [--tests PATH …] [--sample N] [--seed N] [--workers N] [--fresh]

ROOM is a folder or a file under src/. Each mutant is one changed operator, constant, condition or dropped statement, run
in a process of its own against those of the room's tests that execute the changed line (tools/mutant_runs.py), up to the
first failure: first at a twentieth of the quick counts, and what lives through that at the quick counts. Survivors are
named by file, line and change; the exit status is 1 when fewer than nine of ten were killed. Nothing in the tree is touched.
Verdicts are kept in .cache/mutants/, so that an interrupted run goes on where it was: a kill holds as long as the file
that was changed is the same, a survivor is tried again when a test has changed (--fresh forgets both). A whole run of a
room is written to docs/reference/mutants.md.
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
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools import mutant_runs  # noqa: E402
from tools.mutant_kinds import Mutant, all_of  # noqa: E402

TESTS = {  # the tests of a room
    "sealing": ["tests/unit/sealing", "tests/vectors/test_sealed_file.py", "tests/vectors/test_floe.py"],
    "ipld": ["tests/unit/ipld", "tests/vectors/test_sealed_file.py"],
    "keys": ["tests/vectors/test_keys.py", "tests/unit/keys", "tests/vectors/test_wycheproof_keys.py"],
    "reencryption": [
        "tests/vectors/test_reencryption.py",
        "tests/vectors/test_reencryption_cases.py",
        "tests/unit/reencryption",
        "tests/properties/test_reencryption.py",
    ],
}
GOAL = 0.9
LIVED_AT_SPOT = "spot"  # the verdict between the two depths
CACHE = ROOT / ".cache" / "mutants"
PAGE = ROOT / "docs" / "reference" / "mutants.md"


class Verdicts:
    """What is known of each mutant, kept in a file that grows by a line a verdict."""

    def __init__(self, path: Path, tests: str) -> None:
        self._path, self._tests = path, tests
        self._known: dict[str, bool | str] = {}
        self.read()

    def read(self) -> None:
        """What is in the file: another process may have written it."""
        if self._path.exists():
            for line in self._path.read_text().splitlines():
                with contextlib.suppress(ValueError):  # the last line of a killed run
                    key, dead, tested, *_ = json.loads(line)
                    if dead is True or tested == self._tests:
                        self._known[key] = dead

    def of(self, mutant: Mutant) -> bool | str | None:
        """Killed, survived, lived at the small counts, or not known."""
        return self._known.get(mutant.key)

    def add(self, mutant: Mutant, dead: bool | str, killer: str = "") -> None:
        """Keep it, with the test that failed or the status of the process, for whoever doubts it."""
        self._known[mutant.key] = dead
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(json.dumps([mutant.key, dead, self._tests, mutant.name, killer]) + "\n")


def run(chosen: list[Mutant], tests: list[str], workers: int, verdicts: Verdicts, path: Path, prove: bool) -> bool:
    """Give every mutant a verdict; False when the tests fail without any change."""
    record = mutant_runs.Record(path)
    chosen = random.Random(1).sample(chosen, len(chosen))  # so that what an interrupted run has seen is a fair sample
    for depth in ("spot", "quick"):
        known = None if depth == "spot" else LIVED_AT_SPOT
        waiting = [mutant for mutant in chosen if verdicts.of(mutant) == known]
        if depth == "quick" and not record.counted:  # the quick counts change nothing
            for mutant in waiting:
                verdicts.add(mutant, False)
            break
        runs = mutant_runs.Runs(record, tests, depth, workers)
        total, seen = len(waiting), [0]

        def ended(
            mutant: Mutant, status: int, by: str, depth: str = depth, total: int = total, seen: list[int] = seen
        ) -> None:
            seen[0] += 1
            if status != mutant_runs.NOT_EXCHANGED:
                lived = LIVED_AT_SPOT if depth == "spot" else False
                verdicts.add(mutant, status == mutant_runs.KILLED or lived, by)
            if status == mutant_runs.LIVED:
                print(f"lives at {depth}  {mutant.name}", file=sys.stderr, flush=True)
            elif seen[0] % 50 == 0:
                print(f"{seen[0]} of {total} at {depth}", file=sys.stderr, flush=True)

        in_place = [mutant for mutant in waiting if not record.at_import(mutant)]
        if in_place or prove:
            if runs.in_place(in_place, ended, prove) != mutant_runs.LIVED:
                return False
            verdicts.read()
        runs.anew([mutant for mutant in waiting if verdicts.of(mutant) == known], ended)
        prove = False
    return True


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
    mutant_runs.load()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    kept = CACHE / f"{name}.jsonl"
    if given.fresh:
        kept.unlink(missing_ok=True)
    digest = tests_digest(tests)
    verdicts = Verdicts(kept, digest)
    state = hashlib.sha256("".join([*(mutant.key for mutant in made), digest]).encode()).hexdigest()[:16]
    path = CACHE / f"{name}-{state}.json"
    made_now = given.fresh or not path.exists()  # once for each state of room and tests
    fine = not made_now or mutant_runs.record(sources, tests, path)
    if not fine or not run(chosen, tests, given.workers, verdicts, path, prove=made_now):
        path.unlink(missing_ok=True)
        print("mutants: error: the tests fail without any change", file=sys.stderr)
        return 2
    survivors = [mutant for mutant in chosen if verdicts.of(mutant) is not True]
    dead = len(chosen) - len(survivors)
    for mutant in survivors:
        print(f"survivor  {mutant.name}")
    print(f"{dead} of {len(chosen)} killed, {100 * dead / max(1, len(chosen)):.1f} %")
    if room.is_dir() and len(chosen) == len(made) and not given.tests:
        write_page(name, len(made), survivors)
    return 0 if dead >= GOAL * len(chosen) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
