"""Sealing 1 GiB from a warm cache, CID included, beside the limit of the same libraries and beside the peers.

The limit: every core encrypts and hashes a segment in memory and copies it to the output file, with nothing else to do.
`age` piped into `ipfs add --only-hash` does the same work as a sealing; bare `age` and `crypt4gh` do less.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from asset_bridge.vault.files import walk
from asset_bridge.vault.files_sealed import seal_to_disk
from benchmarks.common import MIB, Row, in_turns, memory_folder, peer, random_file, run

SIZE_BYTES = 1 << 30
WORKERS = os.cpu_count() or 2
PAYLOAD = MIB - 32


def seal(source: Path, out: Path) -> None:
    """Ours."""
    seal_to_disk(
        walk(source),
        out,
        file_key=bytes(32),
        container_id=os.urandom(16),
        lister=bytes(20),
        randbytes=os.urandom,
        workers=WORKERS,
    )


def limit(content: bytes, out: Path) -> None:
    """The same AES-GCM, SHA-256 and writes, of the same bytes in memory, on every core."""
    descriptor, count, view = os.open(out, os.O_RDWR | os.O_CREAT, 0o600), len(content) // PAYLOAD, memoryview(content)

    def work(first: int) -> None:
        cipher, sealed = AESGCM(bytes(32)), memoryview(bytearray(PAYLOAD + 16))
        for number in range(first, count, WORKERS):
            plain = view[number * PAYLOAD : (number + 1) * PAYLOAD]
            cipher.encrypt_into(number.to_bytes(12, "big"), plain, b"", sealed)
            hashlib.sha256(sealed).digest()
            os.pwrite(descriptor, sealed, number * len(sealed))

    threads = [threading.Thread(target=work, args=(first,)) for first in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.close(descriptor)


def crypt4gh_keys(folder: Path) -> tuple[str, str]:
    """A key pair of the peer."""
    if not (folder / "sk").exists():
        run("crypt4gh-keygen", "--sk", str(folder / "sk"), "--pk", str(folder / "pk"), "--nocrypt")
    return str(folder / "sk"), str(folder / "pk")


def age_keys(folder: Path, keygen: str) -> tuple[str, str]:
    """Identity file and recipient."""
    if not (folder / "identity").exists():
        run(keygen, "-o", str(folder / "identity"))
    shown = subprocess.run([keygen, "-y", str(folder / "identity")], capture_output=True, text=True, check=True)
    return str(folder / "identity"), shown.stdout.strip()


def rows(rounds: int = 5, size_bytes: int = SIZE_BYTES) -> Iterator[Row]:
    """The table."""
    with memory_folder(4 * size_bytes) as folder:
        source, out = random_file(folder / "source", size_bytes), folder / "out"
        content = source.read_bytes()
        acts = {"seal": lambda: seal(source, out), "limit": lambda: limit(content, out)}
        age, keygen, ipfs = peer("age", "age/bin"), peer("age-keygen", "age/bin"), peer("ipfs", "kubo/0.42.0")
        if age and keygen:
            _, recipient = age_keys(folder, keygen)
            acts["age"] = lambda: run(age, "-r", recipient, "-o", str(out), str(source))
            if ipfs:
                repo = str(folder / "repo")
                run(ipfs, "init", "--profile", "unixfs-v1-2025", IPFS_PATH=repo)
                pipe = f"'{age}' -r {recipient} '{source}' | '{ipfs}' add --only-hash --quieter"
                acts["age | ipfs add --only-hash"] = lambda: run("sh", "-c", pipe, IPFS_PATH=repo)
        if peer("crypt4gh", "none"):
            secret, public = crypt4gh_keys(folder)
            acts["crypt4gh encrypt"] = lambda: run(
                "crypt4gh", "encrypt", "--sk", secret, "--recipient_pk", public, stdin=source, stdout=out
            )
        best = in_turns(rounds, [out], **acts)
        slow = [name for name in acts if name not in ("seal", "limit")]
        ours = best["seal"]
        rate = f"{ours.seconds:.2f} s, {size_bytes / ours.seconds / 1e9:.2f} GB/s"
        reached = best["limit"].seconds / ours.seconds
        yield Row("seal", rate, f"limit {best['limit'].seconds:.2f} s", reached, "≥ 0.85", reached >= 0.85)
        effort = best["limit"].cpu_seconds / ours.cpu_seconds
        shown = f"{ours.cpu_seconds:.2f} s of processor time"
        yield Row("seal, processor time", shown, f"limit {best['limit'].cpu_seconds:.2f} s", effort)
        for name in slow:
            times = best[name].seconds / ours.seconds
            goal = "≥ 2.2" if "|" in name else ""
            effort = best[name].cpu_seconds / ours.cpu_seconds
            yield Row("seal, processor time", shown, f"{name} {best[name].cpu_seconds:.2f} s", effort)
            yield Row("seal", rate, f"{name} {best[name].seconds:.2f} s", times, goal, times >= 2.2 if goal else None)
