"""Rules about the files of the repository that no other tool checks.

No source file over 500 lines; no address of a package registry and no path of the machine in any file; no stubs or
switched-off checks in the product. The registries' names come from the machine's own settings, so that this file
names none. Each rule yields sentences; no sentence means that the rule is kept.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
LINES_MAX = 500
SOURCES = (".py", ".vy", ".vyi")
# Spelled apart so that this file does not break its own rule.
STUBS = re.compile(
    "Not" + r"ImplementedError|TO" + "DO|FIX" + r"ME|pragma: no " + r"cover|mark\.x" + "fail|skip_" + "verification"
)


def main() -> int:
    """Print what breaks a rule; 1 when something does."""
    files = tracked()
    broken = [*too_long(files), *foreign_names(files), *stubs(files)]
    for sentence in broken:
        print(f"rules: {sentence}")
    return 1 if broken else 0


def tracked() -> dict[str, str]:
    """The text of every file that is in git or would be, by its path."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    texts = {}
    for name in sorted(filter(None, names)):
        try:
            texts[name] = (ROOT / name).read_text()
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue  # golden bytes, or deleted and not yet committed
    return texts


def too_long(files: dict[str, str]) -> Iterator[str]:
    """Source files that must be split."""
    for name, text in files.items():
        lines = text.count("\n")
        if name.endswith(SOURCES) and lines > LINES_MAX:
            yield f"{name} has {lines} lines; split it, the limit is {LINES_MAX}"


def foreign_names(files: dict[str, str]) -> Iterator[str]:
    """Files that name a registry or this machine."""
    words = {*registry_hosts(), f"{ROOT}/", f"{Path.home()}/"}
    pattern = re.compile("|".join(re.escape(word) for word in sorted(words)))
    for name, text in files.items():
        for number, line in enumerate(text.splitlines(), 1):
            if found := pattern.search(line):
                yield f"{name}:{number} names {found[0]}; take it out"


def registry_hosts() -> set[str]:
    """Host names of the package registries that this machine uses."""
    from pip._internal.models.index import PyPI

    hosts = {PyPI.netloc, PyPI.file_storage_domain}
    asked = [[sys.executable, "-m", "pip", "config", "get", "global.index-url"]]
    if npm := shutil.which("npm"):
        asked.append([npm, "config", "get", "registry"])
    for command in asked:
        answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()
        hosts.add(urlsplit(answer).hostname or "")
    for proxy in os.environ.get("GOPROXY", "").split(","):
        hosts.add(urlsplit(proxy).hostname or "")
    return {host for host in hosts if "." in host and not host[0].isdigit()}


def stubs(files: dict[str, str]) -> Iterator[str]:
    """Places in the product or its tests that stand in for something, or switch a check off."""
    for name, text in files.items():
        if not name.startswith(("src/", "contracts/", "packages/", "tests/")):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if found := STUBS.search(line):
                yield f"{name}:{number} holds {found[0]}"


if __name__ == "__main__":
    raise SystemExit(main())
