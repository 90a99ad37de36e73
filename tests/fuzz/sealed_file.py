"""Coverage-guided runs of the targets of test_sealed_file_parsers.py; libFuzzer's own limits stop a target that hangs or grows.

Run: python -m tests.fuzz.sealed_file TARGET [RUNS]        (needs atheris; the corpus grows in tests/fuzz/corpus/sealed-TARGET)
     python -m tests.fuzz.sealed_file --each RUNS FOLDER [TARGET...] (each, or those named, in its own process; what is new goes to FOLDER)
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

with atheris.instrument_imports(include=["asset_bridge.ipld", "asset_bridge.sealing", "asset_bridge.vault.crypt4gh"]):
    from tests.fuzz import test_sealed_file_parsers as targets

from tests.fuzz import guided  # noqa: E402

if __name__ == "__main__":
    raise SystemExit(guided.main(sys.argv[1:], "sealed-", targets.TARGETS, targets.SEEDS, targets.feed))
