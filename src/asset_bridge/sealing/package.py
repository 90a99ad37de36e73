"""The key package: what the capsule's key encrypts, tying capsule, ciphertext and content together.

Implements spec/sealed-file.md §6 (rules S36 to S39).
Promises: fixed size, one encoding; `check_against` compares it with what the chain and the header say before a key is
derived from it.
Does not promise: secrecy; it is a secret until the capsule's key has sealed it. Its repr hides K_pre.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from asset_bridge.errors import InputError, TamperedError
from asset_bridge.sealing.header import CONTAINER_ID_BYTES, SealedHeader

PACKAGE_VERSION = 1
PACKAGE_BYTES = 97
_K_PRE_BYTES = 32
_DIGEST_BYTES = 32
_MAX_UINT64 = 2**64 - 1


@dataclass(frozen=True, slots=True)
class KeyPackage:
    """Container id, K_pre, digest and length of the body, length of the content."""

    container_id: bytes
    k_pre: bytes = field(repr=False)
    body_digest: bytes
    body_length_bytes: int
    content_length_bytes: int

    def __post_init__(self) -> None:
        sizes = (len(self.container_id), len(self.k_pre), len(self.body_digest))
        lengths_fit = all(0 <= n <= _MAX_UINT64 for n in (self.body_length_bytes, self.content_length_bytes))
        if sizes != (CONTAINER_ID_BYTES, _K_PRE_BYTES, _DIGEST_BYTES) or not lengths_fit:
            raise InputError("sealing.package", "a field of the key package has the wrong size")

    def encode(self) -> bytes:
        """The 97 bytes."""
        lengths = self.body_length_bytes.to_bytes(8, "big") + self.content_length_bytes.to_bytes(8, "big")
        return bytes((PACKAGE_VERSION,)) + self.container_id + self.k_pre + self.body_digest + lengths

    @classmethod
    def decode(cls, encoded: bytes) -> KeyPackage:
        """Read a package.

        Raises:
            TamperedError(sealing.package): not 97 bytes of version 1.
        """
        encoded = bytes(encoded)
        if len(encoded) != PACKAGE_BYTES or encoded[0] != PACKAGE_VERSION:
            raise TamperedError(
                "sealing.package", "the key package is malformed or of another version", actor="provider"
            )
        return cls(
            encoded[1:17],
            encoded[17:49],
            encoded[49:81],
            int.from_bytes(encoded[81:89], "big"),
            int.from_bytes(encoded[89:], "big"),
        )

    def check_against(self, *, header: bytes, body_digest: bytes, body_length_bytes: int) -> None:
        """Check that this package belongs to the listed header and body.

        Raises:
            TamperedError(sealing.package-mismatch): it names another container, digest or length.
            TamperedError(sealing.header), RefusedError(sealing.version): the header is malformed.
        """
        if self.container_id != SealedHeader.parse(header).container_id:
            raise _mismatch("container")
        if self.body_digest != body_digest:
            raise _mismatch("body digest")
        if self.body_length_bytes != body_length_bytes:
            raise _mismatch("body length")


def _mismatch(what: str) -> TamperedError:
    return TamperedError(
        "sealing.package-mismatch",
        f"the key package names another {what} than the listing",
        hint="the listing was made wrongly or someone changed it; ask another chain endpoint, then the provider",
        actor="provider",
    )
