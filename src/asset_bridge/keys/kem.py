"""The key types that HPKE seals to, one for each label, so that no envelope reaches the wrong kind of key.

Implements spec/keys.md K10-K12. `Share*`: X25519, a TEE node's key made for one order. `Form*` and
`ConsumerHybrid*`: X-Wing (ML-KEM-768 with X25519), from a 32-byte seed.
Promises: one encoding a key (32 or 1,216 bytes), an invalid one is refused as `keys.kem-key`; secrets do not show.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import NoReturn, Self

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey

from asset_bridge.errors import DefectError, TamperedError
from asset_bridge.keys.checks import fixed

SHARE_KEY_BYTES = 32
HYBRID_SEED_BYTES = 32
MLKEM_PUBLIC_BYTES = 1184  # FIPS 203, ML-KEM-768
MLKEM_SEED_BYTES = 64
HYBRID_PUBLIC_BYTES = MLKEM_PUBLIC_BYTES + 32


class _Public:
    __slots__ = ("_encoded",)
    _encoded: bytes

    def to_bytes(self) -> bytes:
        """The one encoding."""
        return self._encoded

    def digest(self) -> bytes:
        """SHA-256 of the encoding: how the chain and every context name this key."""
        return hashlib.sha256(self._encoded).digest()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, _Public) and self._encoded == other._encoded

    def __hash__(self) -> int:
        return hash(self._encoded)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.digest().hex()})"


class _Secret:
    __slots__ = ("_secret",)
    _secret: bytes

    @classmethod
    def generate(cls, randbytes: Callable[[int], bytes]) -> Self:
        """A fresh key from the caller's randomness."""
        return cls(randbytes(32))

    @classmethod
    def from_bytes(cls, secret: bytes) -> Self:
        """The key from its 32 secret bytes."""
        return cls(secret)

    def __init__(self, secret: bytes) -> None:
        self._secret = fixed("secret key", secret, 32)

    def to_secret_bytes(self) -> bytes:
        """The 32 secret bytes."""
        return self._secret

    def __eq__(self, other: object) -> bool:
        same_type = type(self) is type(other) and isinstance(other, _Secret)
        return same_type and hmac.compare_digest(self._secret, other._secret)  # type: ignore[attr-defined]

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(hidden)"

    def __reduce__(self) -> NoReturn:
        raise DefectError("keys.secret-copied", "a secret key must not be pickled or copied")


class SharePublicKey(_Public):
    """Where one share of one order is sealed to: X25519."""

    __slots__ = ()

    def __init__(self, encoded: bytes) -> None:
        if not isinstance(encoded, bytes) or len(encoded) != SHARE_KEY_BYTES:
            raise TamperedError("keys.kem-key", "a share key must have exactly 32 bytes")
        # One key, one encoding: values of p = 2^255-19 and above, and the ignored top bit, are other spellings.
        if int.from_bytes(encoded, "little") >= 2**255 - 19:
            raise TamperedError("keys.kem-key", "a share key must be in its canonical form")
        self._encoded = encoded

    @classmethod
    def from_bytes(cls, encoded: bytes) -> SharePublicKey:
        """Parse 32 bytes; TamperedError(keys.kem-key) for any other length or a second spelling."""
        return cls(encoded)

    def native(self) -> X25519PublicKey:
        """The library's object, for this room's HPKE."""
        return X25519PublicKey.from_public_bytes(self._encoded)


class ShareSecretKey(_Secret):
    """The secret half, in a TEE node's memory only."""

    __slots__ = ("_native", "_public")

    def __init__(self, secret: bytes) -> None:
        super().__init__(secret)
        self._native = X25519PrivateKey.from_private_bytes(self._secret)
        self._public = SharePublicKey(self._native.public_key().public_bytes_raw())

    def native(self) -> X25519PrivateKey:
        """The library's object, for this room's HPKE."""
        return self._native

    def public_key(self) -> SharePublicKey:
        """The public half."""
        return self._public


class _HybridPublic(_Public):
    __slots__ = ("_native",)

    def __init__(self, encoded: bytes) -> None:
        if not isinstance(encoded, bytes) or len(encoded) != HYBRID_PUBLIC_BYTES:
            raise TamperedError("keys.kem-key", "a hybrid key must have exactly 1,216 bytes")
        if int.from_bytes(encoded[MLKEM_PUBLIC_BYTES:], "little") >= 2**255 - 19:
            raise TamperedError("keys.kem-key", "the X25519 half must be in its canonical form")
        try:
            lattice = MLKEM768PublicKey.from_public_bytes(encoded[:MLKEM_PUBLIC_BYTES])
        except ValueError:  # FIPS 203 §7.2: a coefficient of q or more
            raise TamperedError("keys.kem-key", "the ML-KEM half is not a valid key") from None
        curve = X25519PublicKey.from_public_bytes(encoded[MLKEM_PUBLIC_BYTES:])
        self._encoded, self._native = encoded, MLKEM768X25519PublicKey(lattice, curve)

    @classmethod
    def from_bytes(cls, encoded: bytes) -> Self:
        """Parse 1,216 bytes; TamperedError(keys.kem-key) for anything else."""
        return cls(encoded)

    def native(self) -> MLKEM768X25519PublicKey:
        """The library's object, for this room's HPKE."""
        return self._native


class _HybridSecret(_Secret):
    __slots__ = ("_native", "_public_bytes")

    def __init__(self, secret: bytes) -> None:
        super().__init__(secret)
        # X-Wing's own expansion of a seed, so that any implementation of it opens with these 32 bytes.
        expanded = hashlib.shake_256(self._secret).digest(MLKEM_SEED_BYTES + 32)
        lattice = MLKEM768PrivateKey.from_seed_bytes(expanded[:MLKEM_SEED_BYTES])
        curve = X25519PrivateKey.from_private_bytes(expanded[MLKEM_SEED_BYTES:])
        self._native = MLKEM768X25519PrivateKey(lattice, curve)
        self._public_bytes = lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()

    def native(self) -> MLKEM768X25519PrivateKey:
        """The library's object, for this room's HPKE."""
        return self._native


class FormPublicKey(_HybridPublic):
    """Where consumers seal their application forms to."""

    __slots__ = ()


class FormSecretKey(_HybridSecret):
    """A provider's key for the forms that consumers send."""

    __slots__ = ()

    def public_key(self) -> FormPublicKey:
        """The public half, for the provider's profile."""
        return FormPublicKey(self._public_bytes)


class ConsumerHybridPublicKey(_HybridPublic):
    """Where a provider seals K_pq and the reply of one order to."""

    __slots__ = ()


class ConsumerHybridSecretKey(_HybridSecret):
    """A consumer's key of one order."""

    __slots__ = ()

    def public_key(self) -> ConsumerHybridPublicKey:
        """The public half, which travels signed inside the form."""
        return ConsumerHybridPublicKey(self._public_bytes)
