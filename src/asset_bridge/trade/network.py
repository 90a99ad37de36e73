"""Between network.toml (vault) and the chain room's deployment, which may not import each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from asset_bridge.chain.network import Deployment
from asset_bridge.errors import InputError
from asset_bridge.vault.network import Contract, Network, Peer


def deployment_of(network: Network) -> Deployment:
    """The chain room's view of a network."""
    return Deployment.from_json(
        {
            "chain_id": network.chain_id,
            "deployed_block": network.deployed_block,
            "contracts": {
                name: {"address": contract.address, "code_hash": "0x" + contract.code_hash.hex()}
                for name, contract in network.contracts.items()
            },
        }
    )


def network_of(
    deployment: Deployment,
    name: str,
    rpc_urls: Sequence[str],
    light_urls: Sequence[str],
    storage_urls: Sequence[str],
) -> Network:
    """The network.toml of a deployment."""
    return Network(
        name=name,
        chain_id=deployment.chain_id,
        rpc_urls=tuple(rpc_urls),
        contracts={
            contract: Contract(deployment.address_of(contract), code_hash)
            for contract, code_hash in deployment.code_hashes.items()
        },
        deployed_block=deployment.deployed_block,
        light_nodes=tuple(Peer(url) for url in light_urls),
        storage_nodes=tuple(Peer(url) for url in storage_urls),
    )


def beside_of(
    old: Network,
    deployment: Deployment,
    *,
    name: str | None = None,
    rpc_urls: Sequence[str] = (),
    light_urls: Sequence[str] = (),
    storage_urls: Sequence[str] = (),
) -> Network:
    """The network.toml of an Exchange that was put beside another: the old file's name, endpoints and nodes, where no others are given."""
    new = network_of(deployment, name or old.name, rpc_urls or old.rpc_urls, light_urls, storage_urls)
    return replace(
        new,
        light_nodes=new.light_nodes or old.light_nodes,
        storage_nodes=new.storage_nodes or old.storage_nodes,
    )


def require_beside(own: Network, other: Network) -> None:
    """Raises InputError(trade.other-network) unless both name one chain, AssetLedger and NodeRegistry: one home can then work with both."""
    shared = ("AssetLedger", "NodeRegistry")

    def facts(network: Network) -> list[object]:
        return [network.chain_id, *(network.contracts.get(name) for name in shared)]

    if facts(own) != facts(other):
        raise InputError(
            "trade.other-network",
            f"The network {other.name} is not one of this home: it has another chain, AssetLedger or NodeRegistry.",
            hint="make a home of its own for it: asset-bridge init --network FILE --home FOLDER",
        )
