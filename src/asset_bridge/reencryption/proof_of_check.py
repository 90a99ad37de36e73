"""The one token that lets a verified object be built; only the functions that verify pass it.

Implements spec/reencryption.md R1. Promises: building `Capsule`, `VerifiedKeyFrag` or `VerifiedCapsuleFrag` without it
is a defect (also by `dataclasses.replace`), so no call site can skip a check by accident; a test searches the source
for other users of the token. Does not promise: protection from code in the same process that wants to cheat.
"""

from __future__ import annotations

from asset_bridge.errors import DefectError

CHECKED = object()


def require_checked(token: object) -> None:
    """DefectError(reencryption.unchecked) unless the caller is one of the verifying functions."""
    if token is not CHECKED:
        raise DefectError("reencryption.unchecked", "a verified object was built without its check")
