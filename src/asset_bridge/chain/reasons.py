"""From a revert's "contract: reason" to the product's error, the same for the twin and the real chain.

Source: spec/contracts.md (the reasons), spec/chain.md §5 (the codes). A reason is text from an endpoint, so only reasons that
the contracts can give are shown; anything else becomes `chain.reverted` without its text.
"""

from __future__ import annotations

import re

from asset_bridge.chain.encoding import EncodingError, decode
from asset_bridge.errors import RefusedError

ERROR_STRING = bytes.fromhex("08c379a0")  # Error(string)
_PREFIXES = {"registry": "registry", "ledger": "ledger", "exchange": "exchange", "verifier": "verifier"}
_REASON = re.compile(r"(?P<contract>[a-z_]+): (?P<reason>[a-z0-9][a-z0-9 '_/,()-]{0,90})")


def reason_of(data: bytes) -> str:
    """The text of an `Error(string)` revert, or an empty string."""
    if data[:4] != ERROR_STRING:
        return ""
    try:
        (text,) = decode(["string"], data[4:], exact=False)
    except EncodingError:
        return ""
    return text if isinstance(text, str) else ""


def refused(reason: str) -> RefusedError:
    """RefusedError("chain.<contract>.<reason-slug>") for a contract's reason."""
    match = _REASON.fullmatch(reason)
    if match is None:
        return RefusedError(
            "chain.reverted",
            "The contract refused the transaction and gave no reason that this version knows.",
            hint="run: asset-bridge doctor",
            actor="you",
        )
    slug = re.sub(r"[^a-z0-9]+", "-", match["reason"]).strip("-")
    return RefusedError(
        f"chain.{match['contract'].replace('_', '-')}.{slug}",
        f"The contract refused: {match['contract']}: {match['reason']}.",
        hint="run: asset-bridge status, which shows the state, who must act and until when",
        actor="you",
    )
