"""The one kind of multiaddress that we read: an HTTP service on this machine, as kubo writes it into its `api` file."""

from __future__ import annotations

import re

from asset_bridge.errors import InputError

_LOOPBACK = re.compile(r"/ip4/(127\.\d{1,3}\.\d{1,3}\.\d{1,3})/tcp/([1-9]\d{0,4})(?:/http)?")


def loopback_url(text: str) -> str:
    """`/ip4/127.0.0.1/tcp/5001` as `http://127.0.0.1:5001`. InputError(ipfs.multiaddr): anything else, other machines included."""
    match = _LOOPBACK.fullmatch(text.strip())
    if match is None:
        raise InputError("ipfs.multiaddr", "not the multiaddress of a service on this machine", actor="operator")
    return f"http://{match[1]}:{match[2]}"
