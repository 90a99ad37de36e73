"""Imported first by the programs (command line, nodes): leaves out what their libraries would load for nothing.

httpx loads a command line of its own, with rich and pygments, wherever those are installed; that is more than httpx itself. A module
that is None counts as not installed. A library that embeds `asset_bridge.client` is not touched: this file is for our processes only.
"""

import sys

sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
