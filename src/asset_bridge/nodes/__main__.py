"""`python -m asset_bridge.nodes FOLDER`: run the node that FOLDER/node.toml describes. What starts a node in the background calls.

Source: design §7. The passphrase comes from --passphrase-file; --while-open N ends the node when file descriptor N closes.
Exit status and error text are those of the command line (spec/cli.md).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from asset_bridge.errors import BridgeError
from asset_bridge.nodes.launch import light, storage, tee
from asset_bridge.nodes.launch.base import Started, begin
from asset_bridge.nodes.node_file import NodeFile
from asset_bridge.nodes.processes import end_with
from asset_bridge.nodes.serve import configure_logs
from asset_bridge.vault.passphrase import Passphrase, passphrase_from_file


def run_node(file: NodeFile, passphrase: Passphrase) -> None:
    """Start the node and serve until a signal."""
    configure_logs()
    node = begin(file, passphrase)
    runners: dict[str, Callable[[Started], None]] = {"storage": storage.run, "tee": tee.run, "light": light.run}
    runners[file.kind](node)


def main() -> int:
    """Parse, run, report."""
    parser = argparse.ArgumentParser(prog="asset-bridge-node", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--passphrase-file", type=Path, required=True)
    parser.add_argument("--while-open", type=int, metavar="N")
    options = parser.parse_args()
    if options.while_open is not None:
        end_with(options.while_open)
    try:
        run_node(NodeFile.load(options.folder.absolute()), passphrase_from_file(options.passphrase_file))
    except BridgeError as error:
        print(f"asset-bridge-node: error: {error.message} [{error.code}]. {error.hint}", file=sys.stderr)  # noqa: T201
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
