"""Put geth, the second EVM of the tests, into the user's cache folder, and say where it is.

    python tools/geth.py        build it where it is missing (about two minutes), and print its path

`go install` builds it from the module proxy; the version is pinned, and Go checks the source against its checksum database. Promises: a
binary appears under its name only when the build is complete. Does not promise: anything where there is no Go.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools.anvil import cache_folder  # noqa: E402

# 1.17.9 and 1.17.10 do not build by `go install`: their modules have replace directives.
VERSION = "1.17.8"
BUILD_SECONDS = 1_800


class GethMissingError(Exception):
    """There is no geth and none could be built; the message says why."""


def cached_geth() -> Path:
    """Where the pinned geth lies once it is built."""
    return cache_folder() / "geth" / VERSION / "geth"


def missing_geth() -> str | None:
    """Why there can be no geth here, or None."""
    named = os.environ.get("ASSET_BRIDGE_GETH")
    if named and not os.access(named, os.X_OK):
        return f"ASSET_BRIDGE_GETH names {named}, which is not a program"
    if named or os.access(cached_geth(), os.X_OK) or shutil.which("go"):
        return None
    return "no geth, and no Go to build it with: install Go, or name a geth in ASSET_BRIDGE_GETH"


def obtain_geth() -> Path:
    """The geth to use: the environment's, else the cache's, else a fresh build put there.

    Raises:
        GethMissingError: see `missing_geth`, or the build failed.
    """
    if reason := missing_geth():
        raise GethMissingError(reason)
    if named := os.environ.get("ASSET_BRIDGE_GETH"):
        return Path(named)
    target = cached_geth()
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two workers build it once
        if not os.access(target, os.X_OK):
            _build(target)
    return target


def _build(target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="build-") as folder:
        module = f"github.com/ethereum/go-ethereum/cmd/geth@v{VERSION}"
        environment = {**os.environ, "GOBIN": folder}
        done = subprocess.run(
            ["go", "install", module], env=environment, capture_output=True, text=True, timeout=BUILD_SECONDS
        )
        if done.returncode:
            raise GethMissingError(f"go could not build {module}:\n{done.stderr.strip()[-2000:]}")
        os.replace(Path(folder) / "geth", target)


if __name__ == "__main__":
    try:
        print(obtain_geth())
    except GethMissingError as error:
        print(f"geth: error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
