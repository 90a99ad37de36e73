"""Put halmos, which proves properties of compiled contracts, into an environment of its own in the user's cache folder.

    python tools/halmos.py      install it where it is missing, and print its path

Its pins differ from the project's, so it shares nothing with .venv. Promises: every package is the file whose hash stands in
tools/halmos.lock. Does not promise: other platforms than Linux x86_64 with Python 3.11.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools.anvil import cache_folder  # noqa: E402

LOCK = Path(__file__).resolve().parent / "halmos.lock"


class HalmosMissingError(Exception):
    """There is no halmos and none could be installed; the message says why."""


def program() -> Path:
    """halmos, whether or not it is there; another lock has another folder."""
    return cache_folder() / "halmos" / hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16] / "bin" / "halmos"


def missing_halmos() -> str | None:
    """Why there can be no halmos here, or None."""
    if os.access(program(), os.X_OK):
        return None
    here = (platform.system(), platform.machine(), sys.version_info[:2])
    if here != ("Linux", "x86_64", (3, 11)):
        return f"halmos is pinned for Linux x86_64 with Python 3.11, not for {here[0]} {here[1]} {here[2]}"
    return None


def obtain_halmos() -> Path:
    """halmos, installed where it is missing.

    Raises:
        HalmosMissingError: see `missing_halmos`, or pip failed.
    """
    if reason := missing_halmos():
        raise HalmosMissingError(reason)
    target = program().parent.parent
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two workers install it once
        if not os.access(program(), os.X_OK):
            shutil.rmtree(target, ignore_errors=True)
            venv.create(target, with_pip=True)
            pip = [str(target / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            done = subprocess.run(
                [*pip, "--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", str(LOCK)],
                capture_output=True,
                text=True,
            )
            if done.returncode:
                shutil.rmtree(target, ignore_errors=True)
                raise HalmosMissingError(f"pip could not install halmos:\n{done.stderr.strip()[-2000:]}")
    return program()


if __name__ == "__main__":
    try:
        print(obtain_halmos())
    except HalmosMissingError as error:
        print(f"halmos: error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
