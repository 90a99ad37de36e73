"""A coverage-guided run of one target of test_sealed_file_parsers.py; libFuzzer's own limits of time and memory stop it.

Run: python -m tests.fuzz.sealed_file TARGET [RUNS]     (needs atheris; the corpus grows in tests/fuzz/corpus/sealed-TARGET)
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

with atheris.instrument_imports(include=["asset_bridge.ipld", "asset_bridge.sealing", "asset_bridge.vault.crypt4gh"]):
    from tests.fuzz import test_sealed_file_parsers as targets


def main(arguments: list[str]) -> None:
    """Fuzz one target."""
    name, runs = arguments[0], arguments[1] if len(arguments) > 1 else "20000"
    folder = targets.CORPUS / f"sealed-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "honest").write_bytes(targets.SEEDS[name])
    flags = [f"-runs={runs}", "-max_len=20000", "-timeout=1", "-malloc_limit_mb=64", str(folder)]
    atheris.Setup([sys.argv[0], *flags], lambda data: targets.feed(name, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
