"""Put the development chain (anvil) into the user's cache folder, and say where it is.

Used by tools/setup.py with nothing but the standard library. The binary comes from the platform package of
`@foundry-rs/anvil`, because the npm command `anvil` is a wrapper: killing that leaves the real process running.

Promises: a binary appears under its name only after npm checked the package against the sha512 in
tools/anvil.lock.json; where that holds no sha512 for the platform, it says so and records what it got.
Does not promise: anything about PATH; an `anvil` there is used as it is.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

LOCK = Path(__file__).resolve().parent / "anvil.lock.json"
# (system, machine) as Python names them → the platform package's suffix.
SUFFIXES = {
    ("Linux", "x86_64"): "linux-amd64",
    ("Linux", "aarch64"): "linux-arm64",
    ("Darwin", "arm64"): "darwin-arm64",
}


class AnvilMissingError(Exception):
    """There is no anvil and none could be fetched; the message says why and what to do."""


def cache_folder() -> Path:
    """The folder of things fetched once per user: the same rule as in the product's chain room."""
    if own := os.environ.get("ASSET_BRIDGE_CACHE"):
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(shared) if os.path.isabs(shared) else Path.home() / ".cache") / "asset-bridge"


def locked_version() -> str:
    """The version that the project pins."""
    return str(json.loads(LOCK.read_text())["version"])


def cached_anvil() -> Path:
    """Where the pinned anvil lies once it is fetched."""
    return cache_folder() / "anvil" / locked_version() / "anvil"


def find_anvil() -> Path | None:
    """The anvil that the product would start: the environment's, else the cache's, else PATH's."""
    if named := os.environ.get("ASSET_BRIDGE_ANVIL"):
        if os.access(named, os.X_OK):
            return Path(named)
        raise AnvilMissingError(f"ASSET_BRIDGE_ANVIL names {named}, which is not a program: correct it or unset it")
    if os.access(cached_anvil(), os.X_OK):
        return cached_anvil()
    on_path = shutil.which("anvil")
    return Path(on_path) if on_path else None


def fetch_anvil(npm: list[str], say: Callable[[str], None]) -> Path:
    """Fetch the pinned anvil with `npm` (a command and its first arguments) into the cache.

    Raises:
        AnvilMissingError: no package for this platform, npm failed, or the binary does not run.
    """
    here = (platform.system(), platform.machine())
    if here not in SUFFIXES:
        raise AnvilMissingError(
            f"there is no anvil for {here[0]} {here[1]}: put one on PATH or name it in ASSET_BRIDGE_ANVIL"
        )
    locked = json.loads(LOCK.read_text())
    name, version = f"@foundry-rs/anvil-{SUFFIXES[here]}", locked["version"]
    integrity = locked["packages"][name]
    if integrity is None:
        say(f"note: tools/anvil.lock.json pins no sha512 of {name}; npm's own check against the registry applies")
    target = cached_anvil()
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that the last step is a rename and an interrupted run leaves no half binary.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="fetch-") as folder:
        write_npm_project(Path(folder), name, version, integrity)
        verb = "ci" if integrity else "install"
        command = [*npm, verb, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise AnvilMissingError(f"npm could not fetch {name}@{version}:\n{done.stderr.strip()}")
        binary = Path(folder, "node_modules", *name.split("/"), "bin", "anvil")
        binary.chmod(0o755)
        shown = subprocess.run([binary, "--version"], capture_output=True, text=True)
        if shown.returncode or version not in shown.stdout:
            raise AnvilMissingError(f"{name}@{version} does not run here: {(shown.stderr or shown.stdout).strip()}")
        got = json.loads(Path(folder, "package-lock.json").read_text())["packages"][f"node_modules/{name}"]
        (target.parent / "integrity.txt").write_text(f"{name}@{version} {got['integrity']}\n")
        os.replace(binary, target)
    return target


def write_npm_project(folder: Path, name: str, version: str, integrity: str | None) -> None:
    """A project that needs one package, with a lock that holds its sha512 and no address."""
    project = {"name": "asset-bridge-tools", "version": "1.0.0", "private": True, "dependencies": {name: version}}
    Path(folder, "package.json").write_text(json.dumps(project))
    if integrity is None:
        return
    entries = {"": {**project}, f"node_modules/{name}": {"version": version, "integrity": integrity}}
    lock = {"name": project["name"], "version": "1.0.0", "lockfileVersion": 3, "requires": True, "packages": entries}
    Path(folder, "package-lock.json").write_text(json.dumps(lock))
