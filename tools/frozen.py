"""Keep the golden files under spec/vectors/ as they are until their format's version moves.

    python tools/frozen.py            fail where a golden file changed, vanished or is not recorded
    python tools/frozen.py --accept   record new files, and changed ones of a room whose VERSION went up

Each folder spec/vectors/<room>/ holds a file VERSION with an integer; spec/vectors/manifest.json holds, for each
room, the version and the sha256 of every file at that version.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

VECTORS = Path(__file__).resolve().parent.parent / "spec" / "vectors"


def main(arguments: list[str], vectors: Path = VECTORS) -> int:
    """Check, or accept what may be accepted; 1 when something is not as it must be."""
    accept = arguments == ["--accept"]
    path = vectors / "manifest.json"
    recorded = json.loads(path.read_text()) if path.exists() else {}
    problems: list[str] = []
    for room in sorted({*recorded, *(folder.name for folder in vectors.iterdir() if folder.is_dir())}):
        now = state_of(vectors / room)
        then = recorded.get(room, {"version": 0, "files": {}})
        found = differences(room, then, now, accept)
        problems += found
        if accept and not found:
            recorded[room] = now
    if accept:
        path.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")
    for problem in problems:
        print(f"frozen: {problem}")
    return 1 if problems else 0


def state_of(folder: Path) -> dict:
    """The version and the digests of one room as they are."""
    version = folder / "VERSION"
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path != version]
    return {
        "version": int(version.read_text()) if version.exists() else 0,
        "files": {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
    }


def differences(room: str, then: dict, now: dict, accept: bool) -> list[str]:
    """What stands between a room and its record, in sentences; `accept` allows new files and a moved version."""
    if now["version"] < 1:
        return [f"spec/vectors/{room}/VERSION is missing: write 1 into it"]
    if now["version"] < then["version"]:
        return [f"{room}: VERSION went back from {then['version']} to {now['version']}"]
    if now["version"] > then["version"]:
        return [] if accept else [f"{room}: VERSION moved to {now['version']}; run tools/frozen.py --accept"]
    problems = []
    for name in sorted({*then["files"], *now["files"]}):
        before, after = then["files"].get(name), now["files"].get(name)
        if before is None and not accept:
            problems.append(f"{room}/{name} is new; run tools/frozen.py --accept")
        elif before is not None and after is None:
            problems.append(f"{room}/{name} is gone: a frozen format needs a new VERSION for that")
        elif before is not None and before != after:
            problems.append(f"{room}/{name} changed: a frozen format needs a new VERSION for that")
    return problems


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
