"""The file key from its two halves, and the public commitment to the post-quantum half.

Implements spec/keys.md K8-K9. Promises: both halves are needed, and a different container gives a different key and
commitment. Does not promise: that the halves belong together; the sealed file's own tags show that.
"""

from __future__ import annotations

import hmac

from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from asset_bridge.errors import TamperedError
from asset_bridge.keys.checks import CONTAINER_ID_BYTES, fixed

HALF_BYTES = 32
FILE_KEY_BYTES = 32
PQ_COMMIT_BYTES = 32


def file_key(k_pre: bytes, k_pq: bytes, container_id: bytes) -> bytes:
    """HKDF-SHA-384(ikm = K_pre ‖ K_pq, salt = container id, info = "asset-bridge/1/file"), 32 bytes."""
    ikm = fixed("K_pre", k_pre, HALF_BYTES) + fixed("K_pq", k_pq, HALF_BYTES)
    salt = fixed("container id", container_id, CONTAINER_ID_BYTES)
    return HKDF(SHA384(), FILE_KEY_BYTES, salt, b"asset-bridge/1/file").derive(ikm)


def pq_commit(k_pq: bytes, container_id: bytes) -> bytes:
    """HKDF-SHA-384(ikm = K_pq, salt = container id, info = "asset-bridge/1/kpq-commit"), 32 bytes, public."""
    salt = fixed("container id", container_id, CONTAINER_ID_BYTES)
    hkdf = HKDF(SHA384(), PQ_COMMIT_BYTES, salt, b"asset-bridge/1/kpq-commit")
    return hkdf.derive(fixed("K_pq", k_pq, HALF_BYTES))


def check_pq_commit(k_pq: bytes, container_id: bytes, commit: bytes) -> None:
    """TamperedError(keys.pq-commit) unless `commit`, as listed, is the commitment to this K_pq."""
    if not hmac.compare_digest(pq_commit(k_pq, container_id), fixed("commitment", commit, PQ_COMMIT_BYTES)):
        raise TamperedError(
            "keys.pq-commit",
            "the post-quantum half that came with the approval is not the one that the listing commits to",
            hint="do not pay; ask the provider to approve again",
            actor="provider",
        )
