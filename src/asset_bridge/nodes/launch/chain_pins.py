"""The chain endpoints that a TEE node is held to: pinned TLS keys, a checkpoint, and the configuration that its evidence binds.

Source: protocol §6, spec/attestation.md §4. Promises: with `rpc_pins` in node.toml every endpoint of network.toml has
a pin, each connection shows that key or fails, and every endpoint has the checkpoint's block; only then is there a
configuration to bind. Without pins there is none, and the node says `chain_view: operator`. Does not promise: that
the endpoints are run by others than the operator; a policy names them.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from asset_bridge.attestation.configuration import ChainConfiguration, Endpoint
from asset_bridge.chain.adapter import RpcChain
from asset_bridge.chain.keys import address_bytes
from asset_bridge.errors import BridgeError, InputError, TamperedError
from asset_bridge.nodes.node_file import NodeFile
from asset_bridge.transport.tls import pinned_context

FINALITY = "finalized"
_PIN = re.compile(r"(https://[^ /]+) (?:0x)?([0-9a-f]{64})")
_CHECKPOINT = re.compile(r"([1-9][0-9]{0,17}):(?:0x)?([0-9a-f]{64})")


def pins_of(file: NodeFile, urls: Sequence[str]) -> dict[str, bytes]:
    """The pin of each endpoint's URL, or nothing where node.toml has none; InputError(nodes.chain-pins)."""
    if not file.rpc_pins:
        return {}
    by_origin: dict[str, bytes] = {}
    for text in file.rpc_pins:
        parsed = _PIN.fullmatch(text)
        if parsed is None:
            raise _refused(f"{text!r} is not an https origin and the SHA-256 of its TLS key")
        by_origin[parsed[1]] = bytes.fromhex(parsed[2])
    missing = [origin_of(url) for url in urls if origin_of(url) not in by_origin]
    if missing:
        raise _refused(f"no pin for the chain endpoint {missing[0]}")
    return {url: by_origin[origin_of(url)] for url in urls}


def contexts(pins: Mapping[str, bytes]) -> dict[str, ssl.SSLContext]:
    """A TLS context for each URL that accepts its pinned key only.

    Raises: TamperedError(transport.pin), UnavailableError(transport.down).
    """
    found = {}
    for url, pin in pins.items():
        parts = urlsplit(url)
        found[url] = pinned_context(parts.hostname or "", parts.port or 443, pin)
    return found


def configuration(file: NodeFile, chain: RpcChain) -> ChainConfiguration | None:
    """What the node's evidence binds, after every endpoint has shown the checkpoint's block; None without pins.

    Raises: InputError(nodes.chain-pins): no checkpoint. TamperedError(nodes.checkpoint): an endpoint is on another chain.
    """
    urls = [endpoint.url for endpoint in chain.endpoints.all]
    pins = pins_of(file, urls)
    if not pins:
        return None
    parsed = _CHECKPOINT.fullmatch(file.checkpoint)
    if parsed is None:
        raise _refused('pinned endpoints need checkpoint = "NUMBER:HASH" of a block long final')
    number, block_hash = int(parsed[1]), bytes.fromhex(parsed[2])
    for endpoint in chain.endpoints.all:
        header = chain.endpoints.header(endpoint, number)
        if header is None or header.ref.hash != block_hash:
            raise TamperedError(
                "nodes.checkpoint",
                f"the chain endpoint {endpoint.name} does not have the checkpoint's block {number}",
                hint="compare the checkpoint with a source you trust, then the endpoint",
                actor="operator",
            )
    return ChainConfiguration(
        chain_id=chain.chain_id,
        registry=address_bytes(chain.registry),
        ledger=address_bytes(chain.ledger),
        exchanges=(address_bytes(chain.exchange),),
        finality=FINALITY,
        endpoints=tuple(Endpoint(origin_of(url), pins[url]) for url in urls),
        checkpoint_number=number,
        checkpoint_hash=block_hash,
    )


def origin_of(url: str) -> str:
    """Scheme, host and port: what a policy names; the path may hold an access key."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")


def _refused(why: str) -> BridgeError:
    return InputError(
        "nodes.chain-pins",
        f"node.toml: {why}",
        hint="docs/explain/tee.md says what an attested chain view needs",
        actor="operator",
    )
