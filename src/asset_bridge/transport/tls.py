"""Where a node may listen.

Source: spec/node-http.md §5. Promises: no plain HTTP outside the machine, unless the operator says that a proxy ends TLS in front of it.
"""

from __future__ import annotations

import ipaddress

from asset_bridge.errors import RefusedError


def is_loopback(host: str) -> bool:
    """Whether `host` is `localhost` or a loopback address. Other names are not resolved: they count as public."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_bind(host: str, *, has_tls: bool, behind_proxy: bool) -> None:
    """Raises RefusedError(transport.no-tls) for plain HTTP on an address that other machines reach."""
    if not (is_loopback(host) or has_tls or behind_proxy):
        raise RefusedError(
            "transport.no-tls",
            f"{host} can be reached from other machines, and no TLS certificate is configured.",
            hint="Give --tls-cert and --tls-key, or --behind-proxy if a proxy ends TLS in front of this node.",
            actor="operator",
        )
