"""Between network.toml (vault) and the chain room's deployment, which may not import each other."""

from __future__ import annotations

from collections.abc import Sequence

from asset_bridge.chain.network import Deployment
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
