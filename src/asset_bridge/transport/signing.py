"""Signed HTTP requests: RFC 9421 with an Ethereum account's key.

Source: spec/node-http.md §2 (RFC 9421, RFC 9530, the ERC-8128 profile). One form only: label `eth`, five covered parts in a fixed order,
four parameters in a fixed order. Whoever signs builds the text; whoever verifies takes the parameters out by one strict pattern, builds
the text again and compares, so two spellings of one request cannot exist.
Promises: method, authority, path, query and body are covered; a signature is valid for at most 60 seconds; high-s is refused.
Does not promise: that a request is new (nonces.py does), nor that its signer may do what it asks (the route's `allow` does).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Protocol

from coincurve import PublicKey

from asset_bridge.errors import RefusedError
from asset_bridge.keys.address import checksum
from asset_bridge.keys.keccak import keccak

MAX_VALID_SECONDS = 60  # spec/node-http.md §2.3
CLOCK_SKEW_SECONDS = 5
NONCE_BYTES = 16
_COVERED = '("@authority" "@method" "@path" "@query" "content-digest")'
_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
_INPUT = re.compile(
    r'eth=(\("@authority" "@method" "@path" "@query" "content-digest"\)'
    r';created=(0|[1-9][0-9]{0,14});expires=(0|[1-9][0-9]{0,14});nonce="([A-Za-z0-9_-]{22})"'
    r';keyid="erc8128:([1-9][0-9]{0,19}):(0x[0-9a-f]{40})")'
)
_SIGNATURE = re.compile(r"eth=:([A-Za-z0-9+/]{87}=):")


class AccountSigner(Protocol):
    """An account's key, wherever it lives."""

    @property
    def address(self) -> str:
        """EIP-55."""
        ...

    def sign_digest(self, digest: bytes) -> bytes:
        """65 bytes r ‖ s ‖ v over 32 bytes; v is 27 or 28, s is low."""
        ...


@dataclass(frozen=True, slots=True)
class SignedBy:
    """Who signed a request. `nonce` is not yet consumed."""

    address: str
    nonce: bytes
    expires_at: int


def recover(digest: bytes, signature: bytes) -> str:
    """The EIP-55 address that signed `digest`.

    Raises:
        RefusedError(transport.signature): not 65 bytes, v other than 27 and 28, s in the high half, or no such key.
    """
    if len(digest) != 32 or len(signature) != 65 or signature[64] not in (27, 28):
        raise _refused("the signature is not 65 bytes r, s, v")
    if int.from_bytes(signature[32:64], "big") > _HALF_ORDER:
        raise _refused("the signature's s is in the high half")
    try:
        key = PublicKey.from_signature_and_message(signature[:64] + bytes([signature[64] - 27]), digest, hasher=None)
    except Exception as error:  # coincurve raises bare Exception and ValueError
        raise _refused("no key makes this signature") from error
    return checksum(keccak(key.format(compressed=False)[1:])[12:])


def content_digest(body: bytes, sha256: bytes | None = None) -> str:
    """RFC 9530, sha-256 only, also for an empty body; `sha256` where the caller has it already."""
    return f"sha-256=:{base64.b64encode(sha256 or hashlib.sha256(body).digest()).decode()}:"


def sign_request(
    signer: AccountSigner,
    *,
    chain_id: int,
    method: str,
    authority: str,
    path: str,
    query: str,
    body: bytes,
    created_at: int,
    nonce: bytes,
    valid_seconds: int = MAX_VALID_SECONDS,
    body_sha256: bytes | None = None,
) -> dict[str, str]:
    """The three headers of a signed request. `path` and `query` as sent (percent-encoded); `query` without its question mark."""
    digest = content_digest(body, body_sha256)
    text = base64.urlsafe_b64encode(nonce).decode().rstrip("=")
    parameters = (
        f'{_COVERED};created={created_at};expires={created_at + valid_seconds};nonce="{text}"'
        f';keyid="erc8128:{chain_id}:{signer.address.lower()}"'
    )
    base = _signature_base(authority, method, path, query, digest, parameters)
    signature = signer.sign_digest(_eip191(base))
    return {
        "content-digest": digest,
        "signature-input": f"eth={parameters}",
        "signature": f"eth=:{base64.b64encode(signature).decode()}:",
    }


def verify_request(
    headers: Mapping[str, str],
    *,
    method: str,
    authorities: Container[str],
    path: str,
    query: str,
    body: bytes,
    chain_id: int,
    now: float,
) -> SignedBy:
    """Who signed this request; the caller consumes the nonce afterwards.

    Args:
        headers: lower-case names; a name that came twice must have been refused or joined before.
        authorities: the names (host or host:port, lower case) under which this server is reached.
    Raises:
        RefusedError(transport.unsigned): no signature. (transport.signature): malformed, or by another key.
        (transport.other-target): signed for another host or chain. (transport.digest): the body differs.
        (transport.clock): not yet or no longer valid, or valid for longer than 60 seconds.
    """
    given_input, given_signature = headers.get("signature-input"), headers.get("signature")
    if given_input is None or given_signature is None:
        raise RefusedError(
            "transport.unsigned", "This request must be signed.", hint="Sign it as spec/node-http.md §2 says."
        )
    parsed, value = _INPUT.fullmatch(given_input), _SIGNATURE.fullmatch(given_signature)
    if parsed is None or value is None:
        raise _refused("the signature headers do not have the one accepted form")
    parameters, created, expires, nonce_text, chain, address = parsed.groups()
    created_at, expires_at = int(created), int(expires)
    nonce = base64.urlsafe_b64decode(nonce_text + "==")
    if base64.urlsafe_b64encode(nonce).decode().rstrip("=") != nonce_text:
        raise _refused("the nonce is not canonical base64url")
    authority = headers.get("host", "").lower()
    if int(chain) != chain_id or authority not in authorities:
        raise RefusedError(
            "transport.other-target",
            "This request was signed for another chain, or came to a host name that this node does not answer to.",
            hint="Use the URL from the node's endpoint document.",
        )
    digest = headers.get("content-digest", "")
    if not hmac.compare_digest(digest.encode(), content_digest(body).encode()):
        raise RefusedError("transport.digest", "The body is not the one that Content-Digest names.")
    if not (created_at < expires_at <= created_at + MAX_VALID_SECONDS):
        raise RefusedError("transport.clock", "A signature must be valid for 1 to 60 seconds.")
    if created_at > now + CLOCK_SKEW_SECONDS or expires_at < now - CLOCK_SKEW_SECONDS:
        raise RefusedError(
            "transport.clock",
            "The signature is not valid now by this node's clock.",
            hint="Check your clock, sign again.",
        )
    base = _signature_base(authority, method, path, query, digest, parameters)
    try:
        signature = base64.b64decode(value.group(1), validate=True)
    except binascii.Error as error:
        raise _refused("the signature is not base64") from error
    signer = recover(_eip191(base), signature)
    if signer.lower() != address:
        raise _refused("another key than the named one signed this request")
    return SignedBy(signer, nonce, expires_at)


def _signature_base(authority: str, method: str, path: str, query: str, digest: str, parameters: str) -> bytes:
    """RFC 9421 §2.5 for our five parts."""
    return (
        f'"@authority": {authority}\n"@method": {method}\n"@path": {path}\n"@query": ?{query}\n'
        f'"content-digest": {digest}\n"@signature-params": {parameters}'
    ).encode()


def _eip191(message: bytes) -> bytes:
    """The personal-message digest, so that no signed request can be mistaken for a transaction or typed data."""
    return bytes(keccak(b"\x19Ethereum Signed Message:\n" + str(len(message)).encode() + message))


def _refused(why: str) -> RefusedError:
    return RefusedError("transport.signature", f"The request's signature does not verify: {why}.")
