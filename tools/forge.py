"""Put forge and the Solidity compiler of the proofs into the user's cache folder, and say where they are.

    python tools/forge.py       fetch them where they are missing, and print forge's path

Both come by npm: `@foundry-rs/forge-…` carries the binary, `solc` is the compiler as a script, which a wrapper of a few lines
shows to forge as the program it expects. Promises: what is used was checked against the sha512 in tools/forge.lock.json.
Does not promise: other platforms.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools.anvil import cache_folder  # noqa: E402

LOCK = Path(__file__).resolve().parent / "forge.lock.json"
PACKAGE = "@foundry-rs/forge-linux-amd64"
WRAPPER = """#!/usr/bin/env node
// forge's view of solc: --version, and standard JSON from input to output.
const solc = require("solc");
if (process.argv.includes("--version")) {
  console.log("solc, the solidity compiler commandline interface\\nVersion: " + solc.version());
} else {
  const parts = [];
  process.stdin.on("data", (part) => parts.push(part));
  process.stdin.on("end", () => process.stdout.write(solc.compile(Buffer.concat(parts).toString())));
}
"""


class ForgeMissingError(Exception):
    """There is no forge and none could be fetched; the message says why."""


def folder() -> Path:
    """Where the pinned packages lie once they are fetched."""
    lock = json.loads(LOCK.read_text())
    return cache_folder() / "forge" / f"{lock['forge']}-solc-{lock['solc']}"


def programs() -> tuple[Path, Path]:
    """forge and the wrapper of solc, whether or not they are there."""
    return folder() / "node_modules" / PACKAGE / "bin" / "forge", folder() / "solc"


def missing_forge() -> str | None:
    """Why there can be no forge here, or None."""
    if not shutil.which("node"):
        return "no node, which the Solidity compiler of the proofs runs on"
    if all(os.access(path, os.X_OK) for path in programs()):
        return None
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return f"forge is pinned for Linux x86_64, not for {platform.system()} {platform.machine()}"
    return None if shutil.which("npm") else "no forge, and no npm to fetch it with"


def obtain_forge() -> tuple[Path, Path]:
    """forge and solc, fetched where they are missing.

    Raises:
        ForgeMissingError: see `missing_forge`, or npm failed.
    """
    if reason := missing_forge():
        raise ForgeMissingError(reason)
    target = folder()
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two workers fetch it once
        if not all(os.access(path, os.X_OK) for path in programs()):
            _fetch(target)
    return programs()


def _fetch(target: Path) -> None:
    pinned = json.loads(LOCK.read_text())["packages"]
    wanted = {
        name: entry["version"] for name, entry in pinned.items()
    }  # all by name: the lock says nothing of who needs whom
    project = {"name": "asset-bridge-proofs", "version": "1.0.0", "private": True, "dependencies": wanted}
    entries = {"": project, **{f"node_modules/{name}": entry for name, entry in pinned.items()}}
    lock = {"name": project["name"], "version": "1.0.0", "lockfileVersion": 3, "requires": True, "packages": entries}
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="fetch-") as made:
        place = Path(made) / "packages"
        place.mkdir()
        (place / "package.json").write_text(json.dumps(project))
        (place / "package-lock.json").write_text(json.dumps(lock))
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True)
        if done.returncode:
            raise ForgeMissingError(f"npm could not fetch forge and solc:\n{done.stderr.strip()}")
        (place / "node_modules" / PACKAGE / "bin" / "forge").chmod(0o755)
        (place / "solc").write_text(WRAPPER)
        (place / "solc").chmod(0o755)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(place, target)


if __name__ == "__main__":
    try:
        print(obtain_forge()[0])
    except ForgeMissingError as error:
        print(f"forge: error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
