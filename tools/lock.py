"""Write requirements.lock and tools/node.lock: every version and every hash, no addresses.

Run by `make lock` with the project's own Python 3.11; what is locked keeps its version, `make lock UPGRADE=1` takes the
newest. Resolves once for this machine, then asks pip which file
each supported target (platform × Python) would take of exactly those versions, and writes the hashes of all of
them. pip alone talks to the index, with whatever index the machine is configured for; its address is not written.

Promises: the same versions on every target; a package that has no wheel for a target is named on the screen.
Does not promise: to build anything from source, or to lock Windows.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# (name, pip platform tags from new to old): what the product supports; cryptography has no wheel for Intel Macs.
PLATFORMS = {
    "linux x86-64": ("manylinux_2_34_x86_64", "manylinux_2_28_x86_64", "manylinux2014_x86_64", "manylinux_2_5_x86_64"),
    "linux arm64": ("manylinux_2_34_aarch64", "manylinux_2_28_aarch64", "manylinux2014_aarch64"),
    "macos arm64": ("macosx_15_0_arm64", "macosx_14_0_arm64", "macosx_12_0_arm64", "macosx_11_0_arm64"),
}
PYTHONS = ("3.11", "3.12", "3.13")

# Needed to install the project itself in place without a build environment of its own.
BUILD_REQUIREMENTS = ("hatchling>=1.27", "editables>=0.5")
# pip evaluates markers for the machine it runs on, so what is for one target only is resolved beside the rest.
ONE_TARGET = ("umbral-pre", "crypt4gh")


def main(arguments: list[str]) -> int:
    """Write both lock files; versions locked before stay unless `arguments` holds --upgrade."""
    upgrade = "--upgrade" in arguments
    known = {} if upgrade else locked(ROOT / "requirements.lock")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["demo"], *extras["test"], *extras["check"], *BUILD_REQUIREMENTS]
    ours = [line for line in wanted if not line.startswith(("asset-bridge", *ONE_TARGET))]
    special = [line for line in wanted if line.startswith(ONE_TARGET)]
    pins = {name: version for name, (version, _) in report(ours, constraints=list(known)).items()}
    fresh = {name: version for name, version in pins.items() if f"{name}=={version}" not in known}
    print(f"resolved {len(pins)} packages, {len(fresh)} of them not locked before")
    hashes = {name: set(known.get(f"{name}=={version}", ())) for name, version in pins.items()}
    for target, tags in PLATFORMS.items() if fresh else ():
        for python in PYTHONS:
            found, missing = files_for(fresh, tags, python)
            for name, digest in found.items():
                hashes[name].add(digest)
            print(
                f"{target}, Python {python}: {len(found)} wheels" + "".join(f"\n    no wheel of {n}" for n in missing)
            )
    # Only where its marker holds (the machine that runs this is one of them): it has no file for other targets.
    marked = {canonical(re.split("[<>=!~ ;]", line)[0]): line.split(";", 1)[1] for line in ours if ";" in line}
    lines = [
        entry(f"{name}=={pins[name]}" + (f" ;{marked[name]}" if name in marked else ""), hashes[name])
        for name in sorted(pins)
    ]
    for requirement in special:
        name, marker = requirement.split(";", 1)
        wanted_here = report([name.strip()], constraints=[*known, *(f"{n}=={v}" for n, v in pins.items())])
        for other, (version, digest) in wanted_here.items():
            if other not in pins:
                lines.append(entry(f"{other}=={version} ;{marker}", {digest}))
    write(ROOT / "requirements.lock", lines)

    node_known = {} if upgrade else locked(ROOT / "tools" / "node.lock")
    node = {name: version for name, (version, _) in report(extras["node"], constraints=list(node_known)).items()}
    digests = {name: set(node_known.get(f"{name}=={version}", ())) for name, version in node.items()}
    for tags in PLATFORMS.values():
        for name, digest in files_for({n: v for n, v in node.items() if not digests[n]}, tags, "3.11")[0].items():
            digests[name].add(digest)
    write(ROOT / "tools" / "node.lock", [entry(f"{name}=={node[name]}", digests[name]) for name in sorted(node)])
    return 0


def files_for(pins: dict[str, str], tags: tuple[str, ...], python: str) -> tuple[dict[str, str], list[str]]:
    """The digest of the wheel of each pin for one target, and the names of those that have none."""
    left, missing = dict(pins), []
    while left:
        options = ["--no-deps", "--only-binary", ":all:", "--target", "unused", "--python-version", python]
        for tag in tags:
            options += ["--platform", tag]
        try:
            found = report([f"{name}=={version}" for name, version in left.items()], *options)
        except subprocess.CalledProcessError as error:
            absent = re.search(r"No matching distribution found for ([A-Za-z0-9_.-]+?)==", error.stderr)
            if absent is None or canonical(absent[1]) not in left:
                raise
            missing.append(canonical(absent[1]))
            del left[canonical(absent[1])]
            continue
        return {name: digest for name, (_, digest) in found.items()}, missing
    return {}, missing


def locked(path: Path) -> dict[str, set[str]]:
    """The requirements of a lock file, name==version → sha256 of its files."""
    found: dict[str, set[str]] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        if match := re.match(r"[A-Za-z0-9][^ ;]*==[^ ;\\]+", line):
            digests = found.setdefault(match[0], set())
        elif digest := re.search(r"--hash=sha256:([0-9a-f]{64})", line):
            digests.add(digest[1])
    return found


def report(requirements: list[str], *options: str, constraints: Sequence[str] = ()) -> dict[str, tuple[str, str]]:
    """What pip would install under `constraints`: name → (version, sha256)."""
    with tempfile.TemporaryDirectory() as folder:
        out, bounds = Path(folder, "report.json"), Path(folder, "constraints.txt")
        bounds.write_text("\n".join(constraints))
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
        command += ["--report", str(out), "-c", str(bounds), *options, *requirements]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
        items = json.loads(out.read_text())["install"]
    return {
        canonical(item["metadata"]["name"]): (
            item["metadata"]["version"],
            item["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for item in items
    }


def canonical(name: str) -> str:
    """The one spelling of a package's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def entry(requirement: str, digests: set[str]) -> str:
    """One requirement with its hashes, in pip's format."""
    if not digests:
        raise SystemExit(f"no file of {requirement} fits any supported target")
    return requirement + "".join(f" \\\n    --hash=sha256:{digest}" for digest in sorted(digests))


def write(path: Path, lines: list[str]) -> None:
    """Write a lock file."""
    path.write_text(
        "# Made by `make lock` (tools/lock.py): versions and hashes, no addresses.\n" + "\n".join(lines) + "\n"
    )
    print(f"wrote {path.relative_to(ROOT)}: {len(lines)} packages")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
