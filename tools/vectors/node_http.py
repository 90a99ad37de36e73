"""Write spec/vectors/node-http: signed requests under the profile of spec/node-http.md §2, with fixed keys, times and nonces.

Run: python tools/vectors/node_http.py [FOLDER]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from asset_bridge.chain.keys import AccountKey
from asset_bridge.transport.signing import sign_request

ROOT = Path(__file__).resolve().parents[2]
CASES = [
    (
        "get-block",
        "GET",
        "node.test",
        "/ipfs/bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
        "format=raw",
        b"",
    ),
    ("post-json", "POST", "light.example:8443", "/v1/uploads", "", b'{"purpose":"body"}'),
    ("put-bytes", "PUT", "127.0.0.1:40001", "/v1/bodies/x%20y/blocks/z", "", bytes(range(256))),
]


def build() -> dict[str, str]:
    """File name → content."""
    key = AccountKey(bytes(range(1, 33)))
    cases = []
    for number, (name, method, authority, path, query, body) in enumerate(CASES):
        request = {"method": method, "authority": authority, "path": path, "query": query}
        headers = sign_request(
            key, chain_id=31337, body=body, created_at=1_800_000_000, nonce=bytes([number]) * 16, **request
        )
        cases.append({"name": name, **request, "body": "0x" + body.hex(), "headers": headers})
    document = {"address": key.address, "chain_id": 31337, "secret": "0x" + bytes(range(1, 33)).hex(), "cases": cases}
    return {"signed-requests.json": json.dumps(document, indent=1) + "\n"}


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "spec" / "vectors" / "node-http"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in build().items():
        (folder / name).write_text(text)
