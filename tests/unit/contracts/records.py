"""Deploying artefacts, roles with keys, and the preimages of assets and orders, for the contract tests.

Everything is built from spec/contracts.md by tools/vectors/contracts.py and eth-abi, not by the product's own adapter.
The kfrags here are random bytes with true receiver-side signatures: the contracts look at nothing else of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import boa
import pytest
from boa.contracts.abi.abi_contract import ABIContract
from coincurve import PrivateKey
from eth.exceptions import Revert
from eth_abi import decode, encode
from eth_hash.auto import keccak
from eth_utils import to_checksum_address
from vyper.compiler import compile_from_file_input
from vyper.compiler.input_bundle import FilesystemInputBundle

from tools.vectors import contracts as spec

# Another folder in a run of tools/contract_mutants.py.
COMMITTED = Path(__file__).resolve().parents[3] / "src" / "asset_bridge" / "chain" / "artefacts"
ARTEFACTS = Path(os.environ.get("ASSET_BRIDGE_ARTEFACTS", COMMITTED))
MOCKS = Path(__file__).resolve().parents[3] / "contracts" / "mocks"
ZERO = "0x" + "00" * 20
DAY = 86_400
HOUR = 3_600
START = 1_800_000_000
SIMULATED, TDX = 255, 1
LIGHT, TEE, STORAGE = 1, 2, 3
NAMES = ["approve", "pay", "deliver", "window", "answer", "access"]
STATES = [
    "none",
    "requested",
    "approved",
    "denied",
    "cancelled",
    "expired",
    "paid",
    "delivered",
    "revoked",
    "refunded",
    "settled",
]


def pack_periods(**seconds: int) -> int:
    """Periods as one word; a day where nothing is given."""
    values = [seconds.get(name, DAY) for name in NAMES]
    return sum(value << (32 * (5 - i)) for i, value in enumerate(values))


def abi_of(name: str) -> list[dict[str, Any]]:
    """The committed ABI."""
    abi: list[dict[str, Any]] = json.loads((ARTEFACTS / f"{name}.json").read_text())["abi"]
    return abi


def deploy(name: str, *arguments: Any) -> ABIContract:
    """Deploy a committed artefact."""
    artefact = json.loads((ARTEFACTS / f"{name}.json").read_text())
    abi = artefact["abi"]
    inputs = next((e["inputs"] for e in abi if e["type"] == "constructor"), [])
    types = [_canonical(entry) for entry in inputs]
    code = bytes.fromhex(artefact["bytecode"][2:]) + encode(types, arguments)
    address, _ = boa.env.deploy_code(bytecode=code)
    return boa.loads_abi(json.dumps(abi), name=name).at(address)


@cache
def _compiled(name: str) -> tuple[str, bytes]:
    bundle = FilesystemInputBundle([MOCKS])
    made = compile_from_file_input(
        bundle.load_file(f"{name}.vy"), input_bundle=bundle, output_formats=["abi", "bytecode"]
    )
    return json.dumps(made["abi"]), bytes.fromhex(made["bytecode"][2:])


def mock(name: str, *arguments: Any) -> ABIContract:
    """Deploy one of contracts/mocks."""
    abi, code = _compiled(name)
    inputs = next((e["inputs"] for e in json.loads(abi) if e["type"] == "constructor"), [])
    address, _ = boa.env.deploy_code(bytecode=code + encode([_canonical(entry) for entry in inputs], arguments))
    return boa.loads_abi(abi, name=name).at(address)


@contextmanager
def refuses(reason: str) -> Iterator[None]:
    """The call inside reverts with exactly this reason."""
    try:
        yield
    except boa.BoaError as error:
        output = bytes(error.call_trace.computation.output)
        assert output[:4] == keccak(b"Error(string)")[:4], f"reverted with {output.hex()} in place of {reason}"
        assert decode(["string"], output[4:])[0] == reason
    else:
        raise AssertionError(f"no refusal: {reason}")


def deploy_refused(reason: str, name: str, *arguments: Any) -> None:
    """Deploying reverts with exactly this reason."""
    with pytest.raises(Revert) as refusal:
        deploy(name, *arguments)
    assert decode(["string"], refusal.value.args[0][4:])[0] == reason


def _canonical(entry: dict[str, Any]) -> str:
    if entry["type"].startswith("tuple"):
        return f"({','.join(_canonical(part) for part in entry['components'])}){entry['type'][5:]}"
    return str(entry["type"])


class Role:
    """A key with its address, its signatures and a counter of nonces."""

    def __init__(self, name: str) -> None:
        self.key = PrivateKey(keccak(name.encode()))
        public = self.key.public_key.format(compressed=False)
        self.point = self.key.public_key.format()
        self.y = public[33:]
        self.address = to_checksum_address(keccak(public[1:])[12:])
        self.nonce = 0
        boa.env.set_balance(self.address, 10**24)

    def sign(self, digest: bytes) -> bytes:
        """r, s, v; 65 bytes."""
        raw = self.key.sign_recoverable(digest, hasher=None)
        return raw[:64] + bytes([raw[64] + 27])

    def compact(self, digest: bytes) -> bytes:
        """EIP-2098, 64 bytes."""
        raw = self.key.sign_recoverable(digest, hasher=None)
        return raw[:32] + (int.from_bytes(raw[32:64], "big") | raw[64] << 255).to_bytes(32, "big")


@dataclass
class Node:
    """A registered node."""

    node_id: bytes
    operator: Role
    signer: Role
    epoch: int = 1


@dataclass
class Order:
    """All that a caller must bring again."""

    order_id: bytes
    asset: Asset
    terms: tuple[Any, ...]
    pk_b: bytes
    table: bytes = b""
    progress: bytes = b""
    shares: bytes = b""
    sealed: bytes = b""
    receipts: bytes = b""
    nodes: list[Node] = field(default_factory=list)

    @property
    def table_hash(self) -> bytes:
        return spec.table_hash(self.pk_b, self.table) if self.table else bytes(32)

    @property
    def progress_hash(self) -> bytes:
        return keccak(self.progress) if self.progress else bytes(32)

    @property
    def card(self) -> bytes:
        return self.asset.card

    def row(self, slot: int) -> bytes:
        return self.table[38 + 157 * slot : 38 + 157 * (slot + 1)]


@dataclass
class Asset:
    """A listed asset."""

    asset_id: bytes
    capsule: bytes
    pk_a: bytes
    signer: Role
    credits: bytes
    offer: tuple[Any, ...]

    @property
    def commitment(self) -> bytes:
        return spec.key_commitment(self.capsule, self.pk_a, self.signer.address)

    @property
    def card(self) -> bytes:
        return spec.card(self.commitment, self.credits)

    @property
    def parts(self) -> tuple[Any, ...]:
        return (keccak(self.capsule[:66]), self.pk_a[0], self.pk_a[1:], self.signer.address, keccak(self.credits))


def account_of(role: Role) -> bytes:
    """The credit account of an address."""
    return bytes(12) + bytes.fromhex(role.address[2:])
