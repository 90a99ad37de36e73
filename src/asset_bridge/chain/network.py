"""What every command knows of its network: chain id, contract addresses, code hashes. One value, read from network.toml.

Source: design §7, spec/chain.md §1. The chain id alone decides what finality means; no setting can shorten it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from asset_bridge.chain.keys import address_bytes, checksum_address
from asset_bridge.errors import InputError

DEVELOPMENT_CHAIN_IDS = frozenset({31337, 1337})  # anvil, geth --dev
DEVELOPMENT_FINALITY_DEPTH = 2  # design §7: `finalized` stays 0 on a young development chain
CONTRACTS = ("NodeRegistry", "AssetLedger", "Exchange", "Challenges", "ReencryptionVerifier")


def is_development(chain_id: int) -> bool:
    """Whether this chain id is a development chain; nothing else makes one."""
    return chain_id in DEVELOPMENT_CHAIN_IDS


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment of the contracts. `code_hashes` = keccak of the run-time code by contract name."""

    chain_id: int
    registry: str
    ledger: str
    exchange: str
    challenges: str
    verifier: str
    code_hashes: Mapping[str, bytes]
    deployed_block: int

    @property
    def is_development(self) -> bool:
        """Whether the chain id is a development chain's."""
        return is_development(self.chain_id)

    def address_of(self, contract: str) -> str:
        """The address of a contract by its CamelCase name."""
        return {
            "NodeRegistry": self.registry,
            "AssetLedger": self.ledger,
            "Exchange": self.exchange,
            "Challenges": self.challenges,
            "ReencryptionVerifier": self.verifier,
        }[contract]

    def to_json(self) -> dict[str, object]:
        """The plain form that network.toml and `deploy --json` carry."""
        return {
            "chain_id": self.chain_id,
            "deployed_block": self.deployed_block,
            "contracts": {
                name: {"address": self.address_of(name), "code_hash": "0x" + self.code_hashes[name].hex()}
                for name in CONTRACTS
            },
        }

    @classmethod
    def from_json(cls, value: object) -> Deployment:
        """Read `to_json`'s form.

        Raises:
            InputError(chain.network-file): a field is missing, of the wrong type or malformed.
        """
        try:
            if not isinstance(value, Mapping):
                raise TypeError
            contracts = value["contracts"]
            addresses = {name: checksum_address(address_bytes(contracts[name]["address"])) for name in CONTRACTS}
            hashes = {name: _hash(contracts[name]["code_hash"]) for name in CONTRACTS}
            chain_id, block = value["chain_id"], value["deployed_block"]
            if type(chain_id) is not int or type(block) is not int or chain_id <= 0 or block < 0:
                raise TypeError
        except (KeyError, TypeError, ValueError, InputError):
            raise InputError(
                "chain.network-file",
                "The description of the network is incomplete or malformed.",
                hint="take network.toml from the operator again, or run: asset-bridge devnet up",
                actor="operator",
            ) from None
        return cls(
            chain_id,
            addresses["NodeRegistry"],
            addresses["AssetLedger"],
            addresses["Exchange"],
            addresses["Challenges"],
            addresses["ReencryptionVerifier"],
            hashes,
            block,
        )


def _hash(text: object) -> bytes:
    if not isinstance(text, str) or len(text) != 66 or not text.startswith("0x"):
        raise ValueError
    return bytes.fromhex(text[2:])
