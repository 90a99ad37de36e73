"""Compile the contracts and write their artefacts, or compare the committed ones with a fresh compilation.

Source: spec/contracts.md §9. Promises: the same sources and compiler give the same bytes; `--check` exits 1 and names what
differs; a contract whose deployed code would pass the limit of EIP-170 is refused.
Does not promise: to deploy anything.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from eth_hash.auto import keccak
from vyper.compiler import compile_from_file_input
from vyper.compiler.input_bundle import FilesystemInputBundle

ROOT = Path(__file__).resolve().parent.parent
CONTRACTS = ROOT / "contracts"
ARTEFACTS = ROOT / "src" / "asset_bridge" / "chain" / "artefacts"
COMPILER = "vyper 0.4.3"
MAX_CODE_BYTES = 24_576  # EIP-170


def deployables() -> list[Path]:
    """The contracts that are deployed: CamelCase files of contracts/, not of its folders."""
    return sorted(CONTRACTS.glob("*.vy"))


def immutable_bytes(layout: dict[str, Any]) -> int:
    """Bytes that the constructor appends to the code: the last end of a nested layout of immutables."""
    ends = [0]
    for entry in layout.values():
        if isinstance(entry.get("offset"), int):
            ends.append(entry["offset"] + entry["length"])
        else:
            ends.append(immutable_bytes(entry))
    return max(ends)


def build(path: Path) -> dict[str, Any]:
    """The artefact of one contract: ABI, creation code, digest of the code without immutables, and its deployed size."""
    bundle = FilesystemInputBundle([CONTRACTS])
    out = compile_from_file_input(
        bundle.load_file(path.name),
        input_bundle=bundle,
        output_formats=["abi", "bytecode", "bytecode_runtime", "layout"],
    )
    runtime = bytes.fromhex(out["bytecode_runtime"].removeprefix("0x"))
    size_bytes = len(runtime) + immutable_bytes(out["layout"].get("code_layout", {}))
    if size_bytes > MAX_CODE_BYTES:
        raise SystemExit(f"{path.name}: {size_bytes} bytes of code, the limit is {MAX_CODE_BYTES}")
    return {
        "name": path.stem,
        "compiler": COMPILER,
        "abi": out["abi"],
        "bytecode": out["bytecode"],
        "code_size_bytes": size_bytes,
        "code_bytes_without_immutables": len(runtime),
        "code_hash_without_immutables": "0x" + keccak(runtime).hex(),
    }


def render(artefact: dict[str, Any]) -> str:
    """The file's text: one ABI entry a line, so that a change is readable in review."""
    lines = [f'  "{key}": {json.dumps(value)}' for key, value in artefact.items() if key != "abi"]
    entries = ",\n".join("    " + json.dumps(entry, sort_keys=True) for entry in artefact["abi"])
    return "{\n" + ",\n".join(lines) + f',\n  "abi": [\n{entries}\n  ]\n}}\n'


def main() -> int:
    """Write or check every artefact."""
    parser = argparse.ArgumentParser(description="Compile the contracts into src/asset_bridge/chain/artefacts.")
    parser.add_argument("--check", action="store_true", help="compare with the committed files and change nothing")
    check = parser.parse_args().check
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    paths = deployables()
    differing = sorted({p.stem for p in ARTEFACTS.glob("*.json")} - {p.stem for p in paths})
    for path in paths:
        artefact = build(path)
        target = ARTEFACTS / f"{path.stem}.json"
        text = render(artefact)
        if not check:
            target.write_text(text)
        elif not target.is_file() or target.read_text() != text:
            differing.append(path.stem)
        print(f"{path.stem}: {artefact['code_size_bytes']} bytes of code")
    if check and differing:
        print(
            f"artefacts differ from the sources: {', '.join(differing)}; run tools/build_artefacts.py", file=sys.stderr
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
