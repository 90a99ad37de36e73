"""The in-memory twin of the chain: the model of the contracts, and a chain with blocks, time and reorgs around it."""

from asset_bridge.chain.twin.chain import ChainTwin, TwinAccount

__all__ = ["ChainTwin", "TwinAccount"]
