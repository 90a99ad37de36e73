"""Run or renew the node that a node.toml describes; what `python -m asset_bridge.nodes` and `node start` both call.

Source: protocol §2, design §7.
"""

from __future__ import annotations

from collections.abc import Callable

from asset_bridge.errors import RefusedError
from asset_bridge.nodes.launch import light, storage, tee
from asset_bridge.nodes.launch.base import Started, begin
from asset_bridge.nodes.node_file import NodeFile
from asset_bridge.nodes.serve import configure_logs
from asset_bridge.vault.network import Network
from asset_bridge.vault.passphrase import Passphrase

RUNNERS: dict[str, Callable[[Started], None]] = {"storage": storage.run, "tee": tee.run, "light": light.run}


def run_node(file: NodeFile, passphrase: Passphrase, network: Network | None = None) -> None:
    """Start the node and serve until a signal; with `network` for that Exchange in place of the home's own."""
    configure_logs()
    RUNNERS[file.kind](begin(file, passphrase, network))


def renew_node(file: NodeFile, passphrase: Passphrase, network: Network | None = None) -> int:
    """Renew the registration of a light or storage node that does not run now; returns its epoch.

    Raises:
        RefusedError(nodes.renew): a TEE node, whose registration is evidence of a running process.
    """
    if file.kind == "tee":
        raise RefusedError(
            "nodes.renew",
            "a TEE node renews itself while it runs: its registration is evidence of that very process",
            hint="asset-bridge node start tee",
            actor="operator",
        )
    node = begin(file, passphrase, network)
    return node.register_plain(node.endpoint())
