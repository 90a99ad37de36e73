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
CONTRACTS = ("NodeRegistry", "AssetLedger", "ReencryptionVerifier", "Exchange", "Grants", "Challenges")


def is_development(chain_id: int) -> bool:
    """Whether this chain id is a development chain; nothing else makes one."""
    return chain_id in DEVELOPMENT_CHAIN_IDS


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment: addresses (EIP-55) and keccak of the run-time code, by contract name."""

    chain_id: int
    addresses: Mapping[str, str]
    code_hashes: Mapping[str, bytes]
    deployed_block: int

    @property
    def registry(self) -> str:
        """Address of the NodeRegistry."""
        return self.addresses["NodeRegistry"]

    @property
    def ledger(self) -> str:
        """Address of the AssetLedger."""
        return self.addresses["AssetLedger"]

    @property
    def exchange(self) -> str:
        """Address of the Exchange."""
        return self.addresses["Exchange"]

    @property
    def grants(self) -> str:
        """Address of the Grants contract."""
        return self.addresses["Grants"]

    @property
    def is_development(self) -> bool:
        """Whether the chain id is a development chain's."""
        return is_development(self.chain_id)

    def address_of(self, contract: str) -> str:
        """The address of a contract by its CamelCase name."""
        return self.addresses[contract]

    def to_json(self) -> dict[str, object]:
        """The plain form that network.toml and `deploy --json` carry."""
        return {
            "chain_id": self.chain_id,
            "deployed_block": self.deployed_block,
            "contracts": {
                name: {"address": address, "code_hash": "0x" + self.code_hashes[name].hex()}
                for name, address in self.addresses.items()
            },
        }

    @classmethod
    def from_json(cls, value: object) -> Deployment:
        """Read `to_json`'s form.

        Raises:
            InputError(chain.network-file): a field is missing, unknown, of the wrong type or malformed.
        """
        try:
            if not isinstance(value, Mapping):
                raise TypeError
            contracts = value["contracts"]
            if set(contracts) != set(CONTRACTS):
                raise ValueError
            addresses = {name: checksum_address(address_bytes(one["address"])) for name, one in contracts.items()}
            hashes = {name: _hash(one["code_hash"]) for name, one in contracts.items()}
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
        return cls(chain_id, addresses, hashes, block)


def _hash(text: object) -> bytes:
    if not isinstance(text, str) or len(text) != 66 or not text.startswith("0x"):
        raise ValueError
    return bytes.fromhex(text[2:])
