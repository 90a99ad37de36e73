"""Golden files of spec/signed-verb.md: documents of fixed acts, with the digest of each, computed with eth-abi and eth-account only.

Run without arguments to write spec/vectors/signed-verb/.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_hash.auto import keccak
from eth_utils import to_checksum_address

from tools.vectors.contracts import digest, order_id, type_string

TARGET = Path(__file__).resolve().parents[2] / "spec" / "vectors" / "signed-verb"
CHAIN_ID, DEADLINE = 31337, 1_800_000_000
SECRET = keccak(b"signed verb vector")
ACCOUNT = Account.from_key(SECRET).address
ADDRESSES = {name: to_checksum_address(keccak(name.encode())[12:]) for name in ("Exchange", "Grants")}
LATER = ("regenerate.json",)  # added when digests.json was frozen
TOKEN = to_checksum_address(keccak(b"token")[12:])


def _bytes(name: str, length: int) -> bytes:
    out = b""
    while len(out) < length:
        out += keccak(name.encode() + bytes([len(out) // 32]))
    return out[:length]


def _hex(raw: bytes) -> str:
    return "0x" + raw.hex()


def document(
    contract: str, function: str, message: str, act: str, arguments: dict[str, Any], values: dict[str, Any]
) -> Any:
    """One document and the digest that is signed."""
    nonce = _bytes(f"nonce {function}", 32)
    fields = {**values, "nonce": int.from_bytes(nonce, "big"), "deadline": DEADLINE}
    signed = digest(message, CHAIN_ID, ADDRESSES[contract], fields)
    until = datetime.fromtimestamp(DEADLINE, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return {
        "format": "asset-bridge/signed-verb/1",
        "says": f"Account {ACCOUNT} {act}. Anyone may submit this once, until {until}.",
        "chain_id": CHAIN_ID,
        "contract": ADDRESSES[contract],
        "contract_name": contract,
        "function": function,
        "type": type_string(message),
        "arguments": arguments,
        "account": ACCOUNT,
        "nonce": _hex(nonce),
        "deadline": DEADLINE,
        "signature": _hex(bytes(Account.unsafe_sign_hash(signed, SECRET).signature)),
    }, _hex(signed)


def documents() -> dict[str, Any]:
    """Every golden document by its file's name."""
    order = _bytes("order", 32)
    periods, card, asset = 7 << 160 | 5, _bytes("card", 32), _bytes("asset", 32)
    request = {
        "pk_b": b"\x02" + _bytes("pk_b", 32), "hybrid_key": _bytes("hybrid", 32), "form": _bytes("form", 32),
        "terms": _bytes("terms", 32), "token": TOKEN, "price": 10**18 + 1, "order_nonce": _bytes("order nonce", 32),
    }  # fmt: skip
    asked = order_id(CHAIN_ID, ADDRESSES["Exchange"], ACCOUNT, asset, request)
    offer = {"price": str(request["price"]), "token": TOKEN, "terms": _hex(request["terms"]), "periods": str(periods)}
    shares = {
        "precursor": _bytes("precursor", 33), "shares": _bytes("shares", 411), "sealed_shares": _bytes("sealed", 639),
        "sealed_kpq": _bytes("kpq", 1168), "reply": _bytes("reply", 32),
    }  # fmt: skip
    named = {"sealedShares": shares["sealed_shares"], "sealedKpq": shares["sealed_kpq"]}
    return {
        "cancel.json": document(
            "Exchange", "cancel", "Cancel", f"withdraws order {_hex(order)}", {"order_id": _hex(order)}, {"order": order}
        ),
        "claim.json": document(
            "Exchange", "claim", "Claim", f"takes out what the Exchange owes to account {ACCOUNT.lower()} in {TOKEN}",
            {"token": TOKEN, "account": _hex(bytes(12) + bytes.fromhex(ACCOUNT[2:]))},
            {"account": bytes(12) + bytes.fromhex(ACCOUNT[2:]), "token": TOKEN},
        ),
        "request.json": document(
            "Exchange", "request", "Request", f"asks for asset {_hex(asset)}, as order {_hex(asked)}",
            {
                "asset_id": _hex(asset), "provider": TOKEN, "offer": {**offer, "card": _hex(card)}, "fetch_signer": ACCOUNT,
                "pk_b_sign": 2, "pk_b_x": _hex(request["pk_b"][1:]), "hybrid_key": _hex(request["hybrid_key"]),
                "form": _hex(request["form"]), "form_length": 900, "order_nonce": _hex(request["order_nonce"]),
            },
            {"order": asked, "fetchSigner": ACCOUNT, "periods": periods, "card": card, "formLength": 900},
        ),
        "approve.json": document(
            "Grants", "approve", "Approve", f"approves order {_hex(order)}: 2 of 3 shares must act together",
            {"order_id": _hex(order), "threshold": 2, **{n: _hex(v) for n, v in shares.items()}, "reply_length": 77},
            {"order": order, "generation": 1, "threshold": 2, **shares, **named, "replyLength": 77},
        ),
        "regenerate.json": document(
            "Grants", "regenerate", "Regenerate", f"replaces all shares of order {_hex(order)}: 2 of 3 new shares must act together",
            {
                "order_id": _hex(order), "threshold": 2, **{n: _hex(shares[n]) for n in ("precursor", "shares", "sealed_shares")},
                "accepts": _hex(_bytes("accepts", 195)), "consent": _hex(_bytes("consent", 125)),
            },
            {"order": order, "generation": 2, "threshold": 2, **shares, **named},
        ),
    }  # fmt: skip


def main() -> None:
    """Write the files."""
    TARGET.mkdir(parents=True, exist_ok=True)
    made = documents()
    for name, (value, _) in made.items():
        (TARGET / name).write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    digests = {name: digest for name, (_, digest) in sorted(made.items())}
    later = {name: digests.pop(name) for name in LATER}
    for name, content in (("digests.json", digests), ("digests-2.json", later)):
        (TARGET / name).write_text(json.dumps(content, indent=2) + "\n")
    (TARGET / "VERSION").write_text("1\n")


if __name__ == "__main__":
    main()
