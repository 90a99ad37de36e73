"""A node's endpoint document: where it is reached and by which TLS key, signed by its operator.

Source: spec/documents.md §8, protocol §2. Its digest stands in the NodeRegistry; the signature lets a reader name a liar also when
the document came from elsewhere. Promises: a decoded document was signed by the operator it names.
Does not promise: that the operator is the one of the registry (`expect` compares), or that the URL answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from asset_bridge.chain.records import Node, NodeKind
from asset_bridge.errors import BridgeError, InputError, TamperedError
from asset_bridge.keys.address import checksum, is_address
from asset_bridge.keys.keccak import keccak
from asset_bridge.keys.signing import recover_digest
from asset_bridge.trade.documents.canonical import bad, counting, decode_json, encode_json, hex_bytes, require_fields
from asset_bridge.vault.network import is_url

FORMAT = "asset-bridge/endpoint/1"
PREFIX = b"asset-bridge/1/endpoint\0"
MAX_URLS = 8
_WHAT = "the endpoint document"
_KINDS = {NodeKind.LIGHT: "light", NodeKind.TEE: "tee", NodeKind.STORAGE: "storage"}


class DigestSigner(Protocol):
    """An account that signs digests (chain.keys.AccountKey is one)."""

    address: str

    def sign_digest(self, digest: bytes) -> bytes:
        """65 bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a node is. `tls_pin` is the SHA-256 of its TLS public key, or None without a key of its own."""

    kind: NodeKind
    node_id: bytes
    operator: str
    chain_id: int
    registry: str
    urls: tuple[str, ...]
    tls_pin: bytes | None = None

    def _table(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "kind": _KINDS[self.kind],
            "node_id": "0x" + self.node_id.hex(),
            "operator": self.operator,
            "chain_id": self.chain_id,
            "registry": self.registry,
            "urls": list(self.urls),
            "tls_pin": None if self.tls_pin is None else "0x" + self.tls_pin.hex(),
        }

    def sign(self, key: DigestSigner) -> bytes:
        """The document, signed by the operator's account.

        Raises:
            InputError(trade.endpoint): `key` is not the operator's, or a field is malformed.
        """
        if key.address != self.operator:
            raise InputError("trade.endpoint", "an endpoint document is signed by the operator it names")
        table = self._table()
        signature = key.sign_digest(keccak(PREFIX + encode_json(table)))
        document = encode_json({**table, "signature": "0x" + signature.hex()})
        try:
            Endpoint.decode(document)
        except TamperedError as error:
            raise InputError("trade.endpoint", error.message) from None
        return document

    @staticmethod
    def decode(document: bytes) -> Endpoint:
        """Read a document and check its signature.

        Raises:
            TamperedError(trade.document): not what `sign` writes.
            TamperedError(trade.endpoint): signed by somebody else than the operator it names.
        """
        table = decode_json(document, _WHAT)
        fields = {"format", "kind", "node_id", "operator", "chain_id", "registry", "urls", "tls_pin", "signature"}
        require_fields(table, _WHAT, fields)
        kinds = {name: kind for kind, name in _KINDS.items()}
        urls, operator = table["urls"], table["operator"]
        if table["format"] != FORMAT or not isinstance(table["kind"], str) or table["kind"] not in kinds:
            raise bad(_WHAT, f"does not have the format {FORMAT}", actor="operator")
        if not is_address(operator) or not is_address(table["registry"]):
            raise bad(_WHAT, "names no EIP-55 address", actor="operator")
        if not isinstance(urls, list) or not 1 <= len(urls) <= MAX_URLS or not all(is_url(url) for url in urls):
            raise bad(_WHAT, f"does not name 1 to {MAX_URLS} URLs", actor="operator")
        signature = hex_bytes(table.pop("signature"), "the signature", 65)
        try:
            signer = recover_digest(keccak(PREFIX + encode_json(table)), signature).to_uncompressed_bytes()
        except BridgeError:
            raise _forged() from None
        if checksum(keccak(signer[1:])[-20:]) != operator:
            raise _forged()
        pin = table["tls_pin"]
        return Endpoint(
            kind=kinds[table["kind"]],
            node_id=hex_bytes(table["node_id"], "the node id", 32),
            operator=operator,
            chain_id=counting(table["chain_id"], "the chain id"),
            registry=table["registry"],
            urls=tuple(urls),
            tls_pin=None if pin is None else hex_bytes(pin, "the TLS pin", 32),
        )

    def expect(self, node: Node, chain_id: int, registry: str) -> None:
        """Compare with the registry's record; TamperedError trade.endpoint when the document is of another node."""
        same = (node.node_id, node.operator, node.kind, chain_id, registry)
        if same != (self.node_id, self.operator, self.kind, self.chain_id, self.registry):
            raise TamperedError(
                "trade.endpoint",
                f"the endpoint document of node 0x{node.node_id.hex()[:8]}… is of another node",
                hint="its operator must renew it",
                actor="operator",
            )


def _forged() -> TamperedError:
    return TamperedError(
        "trade.endpoint",
        "the endpoint document was not signed by the operator it names",
        hint="its operator must renew it",
        actor="operator",
    )
