"""Golden vectors of spec/contracts.md: ids, packed hashes and every EIP-712 digest, for fixed inputs.

Computed with eth-abi and eth-account only, so that contracts, adapter and twin can each be compared with a third party.
Run without arguments to write spec/vectors/contracts/*.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eth_abi import encode
from eth_account.messages import encode_typed_data
from eth_hash.auto import keccak

TARGET = Path(__file__).resolve().parents[2] / "spec" / "vectors" / "contracts"

# Type strings as in spec/contracts.md §2, by contract whose domain they are signed for.
MESSAGES: dict[str, str] = {
    "StorageReceipt": "bytes32 body,uint64 length,bytes32[] nodes,uint64 blockNumber,bytes32 light,uint64 epoch",
    "Form": "uint256 chainId,address exchange,bytes32 asset,bytes32 orderNonce,bytes32 hybridKey,bytes32 application",
    "OrderKey": "bytes32 order,bytes32 node,uint64 epoch,bytes32 kemKey,uint64 expires",
    "Accept": "bytes32 order,uint32 generation,uint8 slot,bytes32 kfrag,bytes32 kemKey,bytes32 node,uint64 epoch",
    "Fetch": "bytes32 order,uint32 generation",
    "Receipt": "bytes32 order,uint32 generation,uint8 slot,bytes32 kfrag,bytes32 cfrag,bytes32 fetch,uint64 blockNumber,"
    "bytes32 blockHash,bytes32 node,uint64 epoch",
    "Ack": "bytes32 receipt,bytes32 node,uint64 epoch",
    "Destroyed": "bytes32 order,uint32 generation,uint8 slot,bytes32 kemKey,bytes32 node,uint64 epoch,uint8 reason",
    "Request": "bytes32 order,address fetchSigner,uint256 periods,bytes32 card,uint64 formLength",
    "Cancel": "bytes32 order",
    "Pay": "bytes32 order,address token,uint256 price,bytes32 table",
    "AcceptDelivery": "bytes32 order",
    "AgreeRefund": "bytes32 order",
    "Claim": "bytes32 account,address token",
    "Approve": "bytes32 order,uint32 generation,uint8 threshold,bytes precursor,bytes shares,bytes sealedShares,"
    "bytes sealedKpq,bytes32 reply,uint64 replyLength",
    "Deny": "bytes32 order,bytes32 reply,uint64 replyLength",
    "Revoke": "bytes32 order",
    "Reseal": "bytes32 order,bytes32 table,uint8 slot,bytes replacement,bytes sealedShare",
    "Regenerate": "bytes32 order,uint32 generation,uint8 threshold,bytes precursor,bytes shares,bytes sealedShares",
    "Challenge": "bytes32 order",
    "SetProfile": "address provider,bytes32 profile,address payee,address recovery",
    "ProposeChange": "address provider,address owner,address payee,address recovery",
    "CancelChange": "address provider",
    "List": "bytes32 asset,bytes32 offer,bytes32 description,bytes32 supersedes",
    "SetOffer": "bytes32 asset,bytes32 offer",
    "Retire": "bytes32 asset",
    "Register": "bytes32 node,uint8 kind,bytes32 epoch",
    "Renew": "bytes32 node,uint64 number,bytes32 epoch",
}
NODE_MESSAGES = ("StorageReceipt", "Form", "OrderKey", "Accept", "Fetch", "Receipt", "Ack", "Destroyed")


def fields_of(name: str) -> list[tuple[str, str]]:
    """(type, name) of each field; verbs end with their nonce and deadline."""
    text = MESSAGES[name] + ("" if name in NODE_MESSAGES else ",uint256 nonce,uint64 deadline")
    return [(field.split()[0], field.split()[1]) for field in text.split(",")]


def type_string(name: str) -> str:
    """The EIP-712 type string."""
    return f"{name}({','.join(f'{kind} {field}' for kind, field in fields_of(name))})"


def digest(name: str, chain_id: int, contract: str, values: dict[str, Any]) -> bytes:
    """The 32 bytes that are signed, computed by eth-account."""
    signable = encode_typed_data(
        domain_data={"name": "asset-bridge", "version": "1", "chainId": chain_id, "verifyingContract": contract},
        message_types={name: [{"type": kind, "name": field} for kind, field in fields_of(name)]},
        message_data={field: values[field] for _, field in fields_of(name)},
    )
    return keccak(b"\x19" + signable.version + signable.header + signable.body)


# spec §1: label, chain id, contract, then what each id is made of.
ASSET_ID_TYPES = [
    "string",
    "uint256",
    "address",
    "address",
    "bytes32",
    "bytes32",
    "bytes32",
    "bytes",
    "bytes",
    "bytes",
    "bytes32",
    "bytes32",
    "uint256",
]
ORDER_ID_TYPES = [
    "string",
    "uint256",
    "address",
    "bytes32",
    "address",
    "bytes",
    "bytes32",
    "bytes32",
    "bytes32",
    "address",
    "uint256",
    "bytes32",
]


def node_id(operator: str, salt: bytes) -> bytes:
    """spec §1."""
    return keccak(encode(["address", "bytes32"], [operator, salt]))


def asset_id(chain_id: int, ledger: str, provider: str, listing: dict[str, Any]) -> bytes:
    """spec §1; `listing` holds header, capsule, package, pk_a, w, signer, pq_commit, body_digest, body_length."""
    return keccak(
        encode(
            [
                "string",
                "uint256",
                "address",
                "address",
                "bytes32",
                "bytes32",
                "bytes32",
                "bytes",
                "bytes",
                "bytes",
                "bytes32",
                "bytes32",
                "uint256",
            ],
            ["asset-bridge/asset/1", chain_id, ledger, provider]
            + [keccak(listing[part]) for part in ("header", "capsule", "package")]
            + [listing[part] for part in ("pk_a", "w", "signer", "pq_commit", "body_digest", "body_length")],
        )
    )


def order_id(chain_id: int, exchange: str, consumer: str, asset: bytes, request: dict[str, Any]) -> bytes:
    """spec §1; `request` holds pk_b, hybrid_key, form, terms, token, price, order_nonce."""
    return keccak(
        encode(
            [
                "string",
                "uint256",
                "address",
                "bytes32",
                "address",
                "bytes",
                "bytes32",
                "bytes32",
                "bytes32",
                "address",
                "uint256",
                "bytes32",
            ],
            ["asset-bridge/order/1", chain_id, exchange, asset, consumer]
            + [request[part] for part in ("pk_b", "hybrid_key", "form", "terms", "token", "price", "order_nonce")],
        )
    )


OFFER_TYPES = ["uint256", "address", "bytes32", "uint256", "bytes32"]
TERMS_TYPES = ["bytes32", "address", "address", "address", "address", "uint256", "uint256", "uint8", "bytes32"]


def key_commitment(capsule: bytes, pk_a: bytes, signer_address: str) -> bytes:
    """spec §3."""
    return keccak(keccak(capsule[:66]) + pk_a + bytes.fromhex(signer_address[2:]))


def card(commitment: bytes, credits_packed: bytes) -> bytes:
    """spec §3."""
    return keccak(commitment + keccak(credits_packed))


def offer_hash(offer: tuple[Any, ...]) -> bytes:
    """spec §3."""
    return keccak(encode(OFFER_TYPES, offer))


def basis(terms: tuple[Any, ...], card_hash: bytes) -> bytes:
    """spec §4."""
    return keccak(encode([*TERMS_TYPES, "bytes32"], [*terms, card_hash]))


def table_hash(pk_b: bytes, table: bytes) -> bytes:
    """spec §4."""
    return keccak(pk_b + table)


def core(basis_hash: bytes, table: bytes = bytes(32), delivery: bytes = bytes(32)) -> bytes:
    """spec §4; `table` and `delivery` are the hashes."""
    return keccak(basis_hash + table + delivery)


def _fixed(kind: str, field: str) -> Any:
    """A fixed input for a field: bytes from its name, so that no two fields agree."""
    seed = keccak(field.encode())
    if kind == "bytes32":
        return seed
    if kind == "bytes32[]":
        return sorted([keccak(seed + bytes([i])) for i in range(3)])
    if kind == "bytes":
        return seed * 3
    if kind == "address":
        return "0x" + seed[:20].hex()
    if field == "chainId":
        return 31337
    bits = int(kind.removeprefix("uint"))
    return int.from_bytes(seed, "big") >> (256 - bits)


def _json(value: Any) -> Any:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    if isinstance(value, dict):
        return {key: _json(item) for key, item in value.items()}
    return str(value) if isinstance(value, int) and value > 2**53 else value


def vectors() -> dict[str, Any]:
    """Every golden file's content by file name."""
    contract = "0x" + keccak(b"contract")[:20].hex()
    provider, consumer = ("0x" + keccak(name)[:20].hex() for name in (b"provider", b"consumer"))
    point = {name: b"\x02" + keccak(name.encode()) for name in ("pk_a", "w", "signer", "pk_b")}
    listing = {
        "header": keccak(b"header") * 4,
        "capsule": (keccak(b"capsule") * 4)[:98],
        "package": (keccak(b"package") * 5)[:137],
        "pk_a": point["pk_a"],
        "w": point["w"],
        "signer": point["signer"],
        "pq_commit": keccak(b"pq_commit"),
        "body_digest": keccak(b"body"),
        "body_length": 1_234_567,
    }
    request = {
        "pk_b": point["pk_b"],
        "hybrid_key": keccak(b"hybrid"),
        "form": keccak(b"form"),
        "terms": keccak(b"terms"),
        "token": "0x" + "00" * 20,
        "price": 10**18 + 7,
        "order_nonce": keccak(b"order nonce"),
    }
    asset = asset_id(31337, contract, provider, listing)
    order = order_id(31337, contract, consumer, asset, request)
    signer_address = "0x" + keccak(b"signer address")[:20].hex()
    credits_packed = keccak(b"light") + keccak(b"storage 1") + keccak(b"storage 2")
    commitment = key_commitment(listing["capsule"], listing["pk_a"], signer_address)
    card_hash = card(commitment, credits_packed)
    periods = sum(
        value << (32 * i) for i, value in enumerate((31_536_000, 172_800, 259_200, 259_200, 1_209_600, 2_592_000))
    )
    offer = (request["price"], request["token"], request["terms"], periods, card_hash)
    terms = (asset, provider, consumer, consumer, request["token"], request["price"], periods, 2, point["pk_b"][1:])
    table = b"\x02" + (1).to_bytes(4, "big") + point["w"] + bytes(range(157)) * 3
    ids = {
        "chain_id": 31337,
        "contract": contract,
        "provider": provider,
        "consumer": consumer,
        "listing": listing,
        "request": request,
        "operator": provider,
        "salt": keccak(b"salt"),
        "signer_address": signer_address,
        "credits": credits_packed,
        "offer": offer,
        "terms": terms,
        "table": table,
        "node_id": node_id(provider, keccak(b"salt")),
        "asset_id": asset,
        "order_id": order,
        "key_commitment": commitment,
        "card": card_hash,
        "offer_hash": offer_hash(offer),
        "basis": basis(terms, card_hash),
        "table_hash": table_hash(point["pk_b"], table),
        "core": core(basis(terms, card_hash), table_hash(point["pk_b"], table)),
    }
    messages = []
    for name in MESSAGES:
        values = {field: _fixed(kind, field) for kind, field in fields_of(name)}
        messages.append(
            {
                "type": type_string(name),
                "type_hash": keccak(type_string(name).encode()),
                "chain_id": 31337,
                "contract": contract,
                "values": values,
                "digest": digest(name, 31337, contract, values),
            }
        )
    return {"ids.json": _json(ids), "messages.json": _json(messages)}


def main() -> None:
    """Write the golden files."""
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, content in vectors().items():
        (TARGET / name).write_text(json.dumps(content, indent=1) + "\n")
    (TARGET / "VERSION").write_text("1\n")


if __name__ == "__main__":
    main()
