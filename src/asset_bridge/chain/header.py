"""Block headers from an endpoint, and the hash that they must have.

Source: spec/chain.md §2. On chains with Ethereum's own header the hash is recomputed from the fields, so an endpoint cannot lie
about a single one of them (time above all) without changing the hash that the endpoints compare. Other chains have headers of
their own; there the fields are only compared between endpoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from asset_bridge.chain.encoding import rlp
from asset_bridge.chain.endpoint import Endpoint
from asset_bridge.chain.records import BlockRef
from asset_bridge.keys.keccak import keccak

ETHEREUM_HEADERS = frozenset({1, 11155111, 17000, 560048, 31337, 1337})
# (field, byte length or None for a quantity); the second group was added fork by fork and may be absent from the end
_FIELDS: tuple[tuple[str, int | None], ...] = (
    ("parentHash", 32),
    ("sha3Uncles", 32),
    ("miner", 20),
    ("stateRoot", 32),
    ("transactionsRoot", 32),
    ("receiptsRoot", 32),
    ("logsBloom", 256),
    ("difficulty", None),
    ("number", None),
    ("gasLimit", None),
    ("gasUsed", None),
    ("timestamp", None),
    ("extraData", -1),
    ("mixHash", 32),
    ("nonce", 8),
)
_LATER: tuple[tuple[str, int | None], ...] = (
    ("baseFeePerGas", None),
    ("withdrawalsRoot", 32),
    ("blobGasUsed", None),
    ("excessBlobGas", None),
    ("parentBeaconBlockRoot", 32),
    ("requestsHash", 32),
)


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of a block that we use."""

    ref: BlockRef
    parent_hash: bytes
    state_root: bytes
    base_fee_wei: int
    gas_limit: int


def read_header(endpoint: Endpoint, value: object, chain_id: int) -> Header:
    """A checked header from `eth_getBlockBy…`'s answer.

    Raises:
        UnavailableError(chain.endpoint-down): malformed. TamperedError(chain.lying-endpoint): the hash is not that of the fields.
    """
    block = endpoint.as_object(value)
    claimed = endpoint.as_bytes(block.get("hash"), 32)
    if chain_id in ETHEREUM_HEADERS and keccak(rlp(_fields(endpoint, block))) != claimed:
        raise endpoint.lying("a block's hash is not the hash of its header")
    return Header(
        BlockRef(endpoint.as_int(block.get("number")), claimed, endpoint.as_int(block.get("timestamp"))),
        endpoint.as_bytes(block.get("parentHash"), 32),
        endpoint.as_bytes(block.get("stateRoot"), 32),
        endpoint.as_int(block["baseFeePerGas"]) if "baseFeePerGas" in block else 0,
        endpoint.as_int(block.get("gasLimit")),
    )


def _fields(endpoint: Endpoint, block: dict[str, Any]) -> list[bytes]:
    present = [field for field in _LATER if block.get(field[0]) is not None]
    items = []
    for name, length in (*_FIELDS, *present):
        value = block.get(name)
        if length is None:
            number = endpoint.as_int(value)
            items.append(number.to_bytes((number.bit_length() + 7) // 8, "big"))
        else:
            items.append(endpoint.as_bytes(value, length if length >= 0 else None))
    return items
