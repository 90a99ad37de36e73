"""A verified 1 MiB read at a random place of a 5 GB sealed file, and the wait between the last byte and the verdict."""

from __future__ import annotations

import hashlib
import os
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from asset_bridge.vault.files_sealed import SealedFile
from benchmarks.common import MIB, Row, memory_folder, sparse_file
from benchmarks.open_speed import opener
from benchmarks.seal_speed import seal

SIZE_BYTES = 5_000_000_000


def baseline(descriptor: int, place: int) -> None:
    """The same libraries on the same MiB."""
    piece = os.pread(descriptor, MIB, place)
    hashlib.sha256(piece).digest()
    AESGCM(bytes(32)).encrypt(bytes(12), piece, b"")


def median(seconds: list[float]) -> float:
    """The middle one."""
    return statistics.median(seconds)


def timed(act: object, *arguments: object) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    act(*arguments)  # type: ignore[operator]
    return time.perf_counter() - started


def verdict(path: Path) -> tuple[float, float]:
    """Seconds from the last byte's arrival to the end of the whole opening; seconds of one segment's verification."""
    with SealedFile(path) as sealed:
        arrived: list[float] = []

        def fetch(number: int, view: memoryview) -> int:
            size = sealed.segment_into(number, view)
            arrived.append(time.perf_counter())
            return size

        whole = opener(sealed)
        whole._fetch_into = fetch  # watch the bytes come in
        whole.scatter(lambda *_: None)
        wait = time.perf_counter() - max(arrived)
        segment, out = sealed.segment(1), memoryview(bytearray(MIB - 32))
        alone = median([timed(whole._floe.open_into, out, segment, 1, False) for _ in range(20)])
    return wait, alone


def rows(rounds: int = 5, size_bytes: int = SIZE_BYTES) -> Iterator[Row]:
    """The table."""
    with memory_folder(size_bytes) as folder:
        sealed_path, rand = folder / "sealed", random.Random(4)
        seal(sparse_file(folder / "source", size_bytes), sealed_path)
        with SealedFile(sealed_path) as sealed:
            whole, descriptor = opener(sealed), os.open(sealed_path, os.O_RDONLY)
            ours, limit = [], []
            for _ in range(100 * rounds):
                place = rand.randrange(size_bytes - MIB)
                ours.append(timed(whole.read, "source", place, place + MIB))
                limit.append(timed(baseline, descriptor, rand.randrange(size_bytes - MIB)))
            os.close(descriptor)
        times = median(ours) / median(limit)
        shown, peer = f"{median(ours) * 1000:.2f} ms", f"pread + SHA-256 + AES-GCM {median(limit) * 1000:.2f} ms"
        yield Row("1 MiB at a random place of 5 GB", shown, peer, times, "≤ 4", times <= 4)
        os.unlink(sealed_path)
        seal(sparse_file(folder / "source", 32 * MIB), sealed_path)
        found = [verdict(sealed_path) for _ in range(20 * rounds)]
        wait, alone = min(each[0] for each in found), min(each[1] for each in found)
        shown, peer = f"{wait * 1000:.2f} ms", f"one segment's verification {alone * 1000:.2f} ms"
        yield Row("last byte to verdict", shown, peer, wait / alone, "≤ 2", wait / alone <= 2)
