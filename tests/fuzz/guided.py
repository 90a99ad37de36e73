"""What both rooms' atheris runs share: flags, corpora, a process a target, and our own limit of time."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import atheris

CORPUS = Path(__file__).resolve().parent / "corpus"
MOST_SECONDS = 1.0  # of processor time, so that a busy machine is no finding
LONGEST_BYTES = {"sealed-plaintext": 2048, "sealed-crypt4gh-header": 2048}
"""Of an input, where it is not MOST_BYTES: 32 segments, some 18 packets, each of which costs as much as a whole small parser."""
MOST_BYTES = 4096  # libFuzzer's own choice without a corpus; long inputs are the plain mutator's
FLAGS = ("-keep_seed=1", "-timeout=60", "-malloc_limit_mb=64", "-print_final_stats=1")
Feed = Callable[[str, bytes], None]


def main(arguments: list[str], prefix: str, names: Iterable[str], seeds: Mapping[str, bytes], feed: Feed) -> int:
    """One target with the kept corpus, or each (or those named) with a folder of its own for what it finds; 1 when one fails."""
    if arguments[:1] != ["--each"]:
        name, runs = arguments[0], arguments[1] if len(arguments) > 1 else "20000"
        fuzz(prefix, name, runs, CORPUS / (prefix + name), seeds, feed)
    runs, found, chosen = arguments[1], Path(arguments[2]), arguments[3:]
    failed = 0
    for name in chosen or names:
        pid = os.fork()
        if pid == 0:
            fuzz(prefix, name, runs, found / (prefix + name), seeds, feed)
        _, ended, used = os.wait4(pid, 0)
        status, seconds = os.waitstatus_to_exitcode(ended), used.ru_utime + used.ru_stime
        print(f"{prefix}{name}: {runs} inputs, status {status}, {seconds:.1f} s of processor time", flush=True)
        failed += status != 0
    return 1 if failed else 0


def fuzz(prefix: str, name: str, runs: str, folder: Path, seeds: Mapping[str, bytes], feed: Feed) -> None:
    """Does not return: libFuzzer ends the process, with another status than 0 when it found something."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "honest").write_bytes(seeds[name])
    kept = CORPUS / (prefix + name)
    folders = [str(folder), *([str(kept)] if kept.is_dir() and kept != folder else [])]

    def one(data: bytes) -> None:
        began = time.process_time()
        feed(name, data)
        assert time.process_time() - began < MOST_SECONDS, "an input took over a second"

    limits = f"-runs={runs}", f"-max_len={LONGEST_BYTES.get(prefix + name, MOST_BYTES)}"
    atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={folder}{os.sep}", *FLAGS, *folders], one)
    atheris.Fuzz()
