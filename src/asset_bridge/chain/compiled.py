"""The compiled contracts that this release carries: interface, creation code, and what their run-time code must be.

Source: `src/asset_bridge/chain/artefacts/`, written by tools/build_artefacts.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from asset_bridge.chain.encoding import encode
from asset_bridge.keys.keccak import keccak


@dataclass(frozen=True, slots=True)
class Artefact:
    """A compiled contract, as committed. Its run-time code is what it was compiled to and, behind that, its immutables."""

    name: str
    abi: list[dict[str, Any]]
    bytecode: bytes
    code_bytes: int
    code_hash: bytes

    def is_code_of(self, code: bytes) -> bool:
        """Whether this run-time code is this contract's, whatever its immutables are."""
        return len(code) >= self.code_bytes and keccak(code[: self.code_bytes]) == self.code_hash

    def creation(self, *args: object) -> bytes:
        """The data of the transaction that creates it."""
        inputs: list[dict[str, Any]] = next((i["inputs"] for i in self.abi if i["type"] == "constructor"), [])
        return self.bytecode + encode([_kind(item) for item in inputs], list(args))


def _kind(item: dict[str, Any]) -> str:
    """The ABI type of an argument, a struct's components written out."""
    if not item["type"].startswith("tuple"):
        return str(item["type"])
    inner = ",".join(_kind(part) for part in item["components"])
    return f"({inner}){item['type'].removeprefix('tuple')}"


@cache
def artefact(name: str) -> Artefact:
    """A committed artefact by contract name."""
    content = json.loads(files("asset_bridge.chain.artefacts").joinpath(f"{name}.json").read_text())
    bytecode, code_hash = (
        bytes.fromhex(content[key].removeprefix("0x")) for key in ("bytecode", "code_hash_without_immutables")
    )
    return Artefact(name, content["abi"], bytecode, content["code_bytes_without_immutables"], code_hash)
