"""kubo's settings for a storage node: what we set in a kubo of ours, and what a kubo of the operator's own must have.

Source: kubo 0.42.0 docs/config.md; docs/howto/storage-kubo.md says why each. Promises: `wrong_settings` names each setting that lets a node
lose or keep damaged what it has acknowledged. Does not promise: to see how its daemon was started (`--enable-gc`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SETTINGS: dict[str, Any] = {
    # One process asks: our node. Others come to our node, which verifies what it sends.
    "Gateway.NoFetch": True,
    "Gateway.DeserializedResponses": False,
    "Gateway.ExposeRoutingAPI": False,
    "Gateway.DisableHTMLErrors": True,
    # What was acknowledged is on disk; what is read was checked.
    "Datastore.HashOnRead": True,
    "Datastore.WriteThrough": True,
    "Datastore.BloomFilterSize": 0,
    "Datastore.BlockKeyCacheSize": 0,  # with it, kubo would not write a good copy over one that it believes to have
    # Nobody is told what is here, nobody is asked for what is not.
    "Bootstrap": [],
    "Routing.Type": "none",
    "Provide.Enabled": False,
    "AutoConf.Enabled": False,
    "AutoTLS.Enabled": False,
    "AutoNAT.ServiceMode": "disabled",
    "Discovery.MDNS.Enabled": False,
    "DNS.Resolvers": {},
    "Ipns.DelegatedPublishers": [],
    "Routing.DelegatedRouters": [],
    "Swarm.DisableNatPortMap": True,
    "Swarm.EnableHolePunching": False,
    "Swarm.RelayClient.Enabled": False,
    "Swarm.RelayService.Enabled": False,
    "Swarm.Transports.Network.Relay": False,
    "Swarm.Transports.Network.QUIC": False,
    "Swarm.Transports.Network.WebTransport": False,
    "Swarm.Transports.Network.WebRTCDirect": False,
    "HTTPRetrieval.Enabled": False,
    "Import.FastProvideRoot": False,
    "Plugins.Plugins.telemetry.Config.Mode": "off",
    "Version.SwarmCheckEnabled": False,
}

_NEEDED = {
    "Datastore.HashOnRead": (False, "damaged blocks are sent as if they were good"),
    "Datastore.BlockKeyCacheSize": (
        65_536,
        "a good copy is not written over a damaged block, so the audit cannot repair",
    ),
    "Datastore.WriteThrough": (True, "a good copy is not written over a damaged block, so the audit cannot repair"),
}
"""Setting → kubo's own default, and what goes wrong with another value than SETTINGS has."""


def wrong_settings(config: Mapping[str, Any]) -> list[str]:
    """One sentence for each setting of a running kubo that must be another."""
    found = []
    for name, (default, harm) in _NEEDED.items():
        value = _get(config, name)
        value = default if value is None else value
        if value != SETTINGS[name]:
            found.append(f"{name} is {_shown(value)} and must be {_shown(SETTINGS[name])}: {harm}")
    spec = _get(config, "Datastore.Spec")
    if any(one.get("type") == "flatfs" and one.get("sync") is not True for one in datastores(spec)):
        found.append("flatfs `sync` in Datastore.Spec must be true: a power cut leaves empty block files")
    return found


def datastores(spec: Any) -> list[dict[str, Any]]:
    """A datastore's description and those below it."""
    if not isinstance(spec, dict):
        return []
    found = [spec]
    below: Sequence[Any] = [*spec.get("mounts", []), *([spec["child"]] if "child" in spec else [])]
    for one in below:
        found += datastores(one)
    return found


def set_in(config: dict[str, Any], name: str, value: Any) -> None:
    """Set `A.B.C` in a configuration."""
    *above, last = name.split(".")
    for part in above:
        below = config.get(part)
        if not isinstance(below, dict):
            below = config[part] = {}
        config = below
    config[last] = value


def _get(config: Mapping[str, Any], name: str) -> Any:
    found: Any = config
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
