"""`python -m asset_bridge.nodes FOLDER`: run the node that FOLDER/node.toml describes. What starts a node in the background calls.

Source: design §7. The passphrase comes from --passphrase-file; --while-open N ends the node when file descriptor N closes.
Exit status and error text are those of the command line (spec/cli.md).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import asset_bridge.lean  # noqa: F401  before the first import of httpx
from asset_bridge.errors import BridgeError
from asset_bridge.nodes.node_file import NodeFile
from asset_bridge.nodes.run import run_node
from asset_bridge.processes import end_with
from asset_bridge.vault.passphrase import passphrase_from_file


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
