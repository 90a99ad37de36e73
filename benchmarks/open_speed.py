"""Opening a sealed file of 1 GiB at hand into a file, beside `age -d` and `crypt4gh decrypt`.

Ours rests on FLOE's tags and does not hash. `open` into a folder writes SHA256SUMS as well and is shown beside.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from asset_bridge.sealing.open import Opener
from asset_bridge.vault.files_opened import write_member, write_members
from asset_bridge.vault.files_sealed import SealedFile
from benchmarks.common import Row, in_turns, memory_folder, peer, random_file, run
from benchmarks.seal_speed import SIZE_BYTES, WORKERS, age_keys, crypt4gh_keys, seal


def opener(sealed: SealedFile) -> Opener:
    """The opener of a file that `seal` made."""
    return Opener(
        sealed.header,
        file_key=bytes(32),
        lister=bytes(20),
        body_length_bytes=sealed.body_length_bytes,
        fetch_segment=sealed.segment,
        fetch_into=sealed.segment_into,
        workers=WORKERS,
    )


def open_file(path: Path, out: Path) -> None:
    """Ours: the whole, into a file."""
    with SealedFile(path) as sealed:
        write_member(opener(sealed), "source", out)


def open_folder(path: Path, out: Path) -> None:
    """Ours: the whole, into a folder, with SHA256SUMS."""
    with SealedFile(path) as sealed:
        write_members(opener(sealed), out)


def rows(rounds: int = 5, size_bytes: int = SIZE_BYTES) -> Iterator[Row]:
    """The table."""
    with memory_folder(5 * size_bytes) as folder:
        source, sealed, out = random_file(folder / "source", size_bytes), folder / "sealed", folder / "out"
        seal(source, sealed)
        ours = {
            "open": lambda: open_file(sealed, out),
            "open into a folder, with SHA256SUMS": lambda: open_folder(sealed, folder / "folder"),
        }
        peers = {}
        age, keygen = peer("age", "age/bin"), peer("age-keygen", "age/bin")
        if age and keygen:
            identity, recipient = age_keys(folder, keygen)
            run(age, "-r", recipient, "-o", str(folder / "age"), str(source))
            peers["age -d"] = lambda: run(age, "-d", "-i", identity, "-o", str(out), str(folder / "age"))
        if peer("crypt4gh", "none"):
            secret, public = crypt4gh_keys(folder)
            run("crypt4gh", "encrypt", "--sk", secret, "--recipient_pk", public, stdin=source, stdout=folder / "c4gh")
            peers["crypt4gh decrypt"] = lambda: run(
                "crypt4gh", "decrypt", "--sk", secret, stdin=folder / "c4gh", stdout=out
            )
        os.unlink(source)
        best = in_turns(rounds, [out, folder / "folder"], **ours, **peers)
        for name in ours:
            took = best[name]
            shown = f"{took.seconds:.2f} s, {size_bytes / took.seconds / 1e9:.2f} GB/s"
            for other in peers:
                times = best[other].seconds / took.seconds
                goal = "≥ 3" if name == "open" else ""
                yield Row(
                    name, shown, f"{other} {best[other].seconds:.2f} s", times, goal, times >= 3 if goal else None
                )
