"""The curve: secret scalars that cannot be computed with by accident, and canonical points.

Implements spec/keys.md K2-K6 over libsecp256k1 (coincurve's own cffi binding).
Promises: a `SecretScalar` has no arithmetic operator, shows nothing in `repr`, cannot be pickled or hashed; the only
library calls that see one are `secp256k1_ecdh` with a callback that returns the raw coordinates,
`secp256k1_ec_pubkey_create`, `secp256k1_ec_seckey_*` and (in signing) `secp256k1_ecdsa_sign_recoverable`, all
constant-time; an inverse is taken of a blinded value. Points have one encoding, 33 bytes compressed.
Does not promise: that Python erases a secret from memory, or that the interpreter's own copying is constant-time.
"""

from __future__ import annotations

import hmac
import itertools
from typing import Any, NoReturn

from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT

from asset_bridge.errors import DefectError, TamperedError
from asset_bridge.keys.checks import POINT_BYTES, fixed, unsigned

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141  # SEC 2 v2, §2.4.1
SCALAR_BYTES = 32
WIDE_BYTES = 48  # 384 bits mod n: bias below 2^-128

_CTX = GLOBAL_CONTEXT.ctx
_COMPRESSED, _UNCOMPRESSED = 258, 2  # SECP256K1_EC_COMPRESSED, SECP256K1_EC_UNCOMPRESSED (secp256k1.h)
_INVERSES = itertools.count()  # of this process; it changes no result
_ONE = (1).to_bytes(SCALAR_BYTES, "big")
_TWO_256 = ((1 << 256) % ORDER).to_bytes(SCALAR_BYTES, "big")
_new, _buffer, _NULL = ffi.new, ffi.buffer, ffi.NULL
_move = ffi.memmove
_PUBKEY, _SIZE, _BYTES_32, _BYTES_65 = (
    ffi.typeof(name) for name in ("secp256k1_pubkey *", "size_t *", "unsigned char[32]", "unsigned char[65]")
)


@ffi.callback("int(unsigned char *, unsigned char *, unsigned char *, void *)")  # type: ignore[untyped-decorator]
def _raw_coordinates(out: Any, x: Any, y: Any, _data: Any) -> int:
    _move(out, x, 32)
    _move(out + 32, y, 32)
    return 1


def _add_bytes(value: bytes, tweak: bytes) -> bytes:
    out = _new(_BYTES_32, value)
    if not lib.secp256k1_ec_seckey_tweak_add(_CTX, out, tweak):
        raise DefectError("keys.curve", "a sum of scalars is zero or an operand is out of range")
    return _buffer(out)[:]  # type: ignore[no-any-return]


def _multiply_bytes(value: bytes, tweak: bytes) -> bytes:
    out = _new(_BYTES_32, value)
    if not lib.secp256k1_ec_seckey_tweak_mul(_CTX, out, tweak):
        raise DefectError("keys.curve", "a product of scalars has an operand out of range")
    return _buffer(out)[:]  # type: ignore[no-any-return]


def _multiply_add_bytes(value: bytes, factor: bytes, summand: bytes) -> bytes:
    out = _new(_BYTES_32, value)
    if not lib.secp256k1_ec_seckey_tweak_mul(_CTX, out, factor) or not lib.secp256k1_ec_seckey_tweak_add(
        _CTX, out, summand
    ):
        raise DefectError("keys.curve", "a product or sum of scalars is zero or an operand is out of range")
    return _buffer(out)[:]  # type: ignore[no-any-return]


class Point:
    """A point of the curve other than infinity. Public; equal when its 33 bytes are equal."""

    __slots__ = ("_coordinates", "_encoded", "_raw")

    def __init__(self, raw: Any, encoded: bytes | None = None, coordinates: Any = None) -> None:
        # None: made of `coordinates`, 04 ‖ x ‖ y, or of the encoding when it is needed, since most points are only sent
        self._raw = raw
        self._encoded = encoded
        self._coordinates = coordinates

    @classmethod
    def from_bytes(cls, encoded: bytes) -> Point:
        """Parse the 33-byte compressed form; TamperedError(keys.point) for anything else."""
        raw = _new(_PUBKEY)
        if not isinstance(encoded, bytes) or len(encoded) != POINT_BYTES:
            raise TamperedError("keys.point", "a point must have exactly 33 bytes, compressed")
        if not lib.secp256k1_ec_pubkey_parse(_CTX, raw, encoded, POINT_BYTES):
            raise TamperedError("keys.point", "33 bytes are not a point of the curve")
        return cls(raw, encoded)

    def to_bytes(self) -> bytes:
        """The 33-byte compressed form."""
        if self._encoded is None:
            self._encoded = self._serialize(POINT_BYTES, _COMPRESSED)
        return self._encoded

    def to_uncompressed_bytes(self) -> bytes:
        """04 ‖ x ‖ y, 65 bytes; an account's address is taken from the last 64."""
        return self._serialize(65, _UNCOMPRESSED)

    def _serialize(self, length_bytes: int, flag: int) -> bytes:
        out = _new(_BYTES_65)
        lib.secp256k1_ec_pubkey_serialize(_CTX, out, _new(_SIZE, length_bytes), self.raw, flag)
        return _buffer(out, length_bytes)[:]  # type: ignore[no-any-return]

    @property
    def raw(self) -> Any:
        """The library's own struct; read-only, for this room."""
        if self._raw is None:
            raw = _new(_PUBKEY)
            if self._coordinates is None:
                lib.secp256k1_ec_pubkey_parse(_CTX, raw, self._encoded, POINT_BYTES)
            else:
                lib.secp256k1_ec_pubkey_parse(_CTX, raw, self._coordinates, 65)
            self._raw = raw  # whole, or other threads would see an empty one
        return self._raw

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    def __repr__(self) -> str:
        return f"Point({self.to_bytes().hex()})"


class SecretScalar:
    """A secret number in 1..n-1. No operators: the functions below are the only ones that take it."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        if not isinstance(value, bytes) or len(value) != SCALAR_BYTES:
            raise TamperedError("keys.scalar", "a scalar must have exactly 32 bytes")
        if not lib.secp256k1_ec_seckey_verify(_CTX, value):
            raise TamperedError("keys.scalar", "a scalar must be at least 1 and below the order of the curve")
        self._value = value

    @classmethod
    def from_bytes(cls, value: bytes) -> SecretScalar:
        """The canonical 32-byte form, big-endian; TamperedError(keys.scalar) for 0 and for n and above."""
        return cls(value)

    @classmethod
    def from_wide(cls, value: bytes) -> SecretScalar:
        """48 uniform bytes reduced mod n, without a branch on the value (K3)."""
        wide = value if isinstance(value, bytes) and len(value) == WIDE_BYTES else fixed("wide", value, WIDE_BYTES)
        try:
            return cls(_multiply_add_bytes(bytes(16) + wide[:16], _TWO_256, wide[16:]))
        except DefectError:  # a zero upper part, a lower part of n or more: one value in 2^127
            return cls((int.from_bytes(wide, "big") % ORDER).to_bytes(SCALAR_BYTES, "big"))

    @classmethod
    def from_digest(cls, digest: bytes) -> SecretScalar:
        """(digest mod (n-1)) + 1: Umbral's digest-to-scalar for a digest of secrets (R3)."""
        try:
            return cls(_add_bytes(fixed("digest", digest, SCALAR_BYTES), _ONE))
        except DefectError:  # 0, n-1 and above: one digest in 2^127
            return cls((int.from_bytes(digest, "big") % (ORDER - 1) + 1).to_bytes(SCALAR_BYTES, "big"))

    def to_secret_bytes(self) -> bytes:
        """The 32 secret bytes, for sealing and for the functions of this room only."""
        return self._value

    def public_key(self) -> Point:
        """secret · G."""
        raw = _new(_PUBKEY)
        lib.secp256k1_ec_pubkey_create(_CTX, raw, self._value)
        return Point(raw)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretScalar) and hmac.compare_digest(self._value, other._value)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "SecretScalar(hidden)"

    def __reduce__(self) -> NoReturn:
        raise DefectError("keys.secret-copied", "a secret scalar must not be pickled or copied")


def shared_point(secret: SecretScalar, point: Point) -> Point:
    """secret · point, constant-time (ECDH without its hash)."""
    out = _new(_BYTES_65)
    out[0] = 4
    if not lib.secp256k1_ecdh(_CTX, out + 1, point.raw, secret.to_secret_bytes(), _raw_coordinates, _NULL):
        raise DefectError("keys.curve", "the curve library refused a valid scalar")
    # The library makes the compressed form: a secret byte as a Python number shows in the cache (the timing study sees one parity bit).
    return Point(None, None, out)


def shared_points(*pairs: tuple[SecretScalar, Point]) -> list[Point]:
    """As `shared_point`, of several that are all sent: each comes encoded, and one set of the library's buffers does for all."""
    raw, size, encoded, out = _new(_PUBKEY), _new(_SIZE, POINT_BYTES), _new(_BYTES_65), _new(_BYTES_65)
    out[0], coordinates, points = 4, out + 1, []
    for secret, point in pairs:
        if not lib.secp256k1_ecdh(_CTX, coordinates, point.raw, secret.to_secret_bytes(), _raw_coordinates, _NULL):
            raise DefectError("keys.curve", "the curve library refused a valid scalar")
        lib.secp256k1_ec_pubkey_parse(_CTX, raw, out, 65)
        lib.secp256k1_ec_pubkey_serialize(_CTX, encoded, size, raw, _COMPRESSED)
        points.append(Point(None, _buffer(encoded, POINT_BYTES)[:]))
    return points


def secret_add(left: SecretScalar, right: SecretScalar) -> SecretScalar:
    """left + right mod n; DefectError(keys.curve) if the sum is zero."""
    return SecretScalar(_add_bytes(left.to_secret_bytes(), right.to_secret_bytes()))


def secret_subtract(left: SecretScalar, right: SecretScalar) -> SecretScalar:
    """left - right mod n; DefectError(keys.curve) if they are equal."""
    negated = _new(_BYTES_32, right.to_secret_bytes())
    lib.secp256k1_ec_seckey_negate(_CTX, negated)
    return SecretScalar(_add_bytes(left.to_secret_bytes(), bytes(_buffer(negated))))


def secret_multiply(left: SecretScalar, right: SecretScalar) -> SecretScalar:
    """left · right mod n."""
    return SecretScalar(_multiply_bytes(left.to_secret_bytes(), right.to_secret_bytes()))


def secret_inverse(secret: SecretScalar) -> SecretScalar:
    """1 / secret mod n. The variable-time inversion sees only secret · blind, which tells nothing about secret (K4).

    The blind is another one in every call, although nothing random is at hand: its key is the secret, its message a count. With a blind
    of the secret alone the same secret always took the same time, which the timing study found.
    """
    value, message = secret.to_secret_bytes(), b"asset-bridge/1/inverse-blind" + next(_INVERSES).to_bytes(8, "big")
    blind = SecretScalar.from_wide(hmac.digest(value, message, "sha512")[:WIDE_BYTES])
    blinded = int.from_bytes(_multiply_bytes(value, blind.to_secret_bytes()), "big")
    inverse = pow(blinded, -1, ORDER).to_bytes(SCALAR_BYTES, "big")
    return SecretScalar(_multiply_bytes(inverse, blind.to_secret_bytes()))


def respond(nonce: SecretScalar, secret: SecretScalar, challenge: int) -> int:
    """nonce + secret · challenge mod n, the response that a protocol publishes (s of a capsule, z of a proof).

    The one way out of the secret type besides sealing; a test lists who calls it (K5). Each nonce is used for one challenge.
    DefectError(keys.curve) if the response is zero, which no nonce gives but one in 2^256.
    """
    factor = unsigned("scalar", challenge, SCALAR_BYTES)
    return int.from_bytes(_multiply_add_bytes(secret.to_secret_bytes(), factor, nonce.to_secret_bytes()), "big")


def multiply_public(point: Point, scalar: int) -> Point:
    """scalar · point in variable time: for scalars that everybody may know, 1..n-1."""
    raw = _new(_PUBKEY, point.raw[0])
    if not lib.secp256k1_ec_pubkey_tweak_mul(_CTX, raw, unsigned("scalar", scalar, SCALAR_BYTES)):
        raise TamperedError("keys.scalar", "a scalar must be at least 1 and below the order of the curve")
    return Point(raw)


def public_times_base(scalar: int) -> Point:
    """scalar · G for a scalar that everybody may know, 1..n-1; TamperedError(keys.scalar) otherwise."""
    raw = _new(_PUBKEY)
    if not lib.secp256k1_ec_pubkey_create(_CTX, raw, unsigned("scalar", scalar, SCALAR_BYTES)):
        raise TamperedError("keys.scalar", "a scalar must be at least 1 and below the order of the curve")
    return Point(raw)


def add_points(*points: Point) -> Point:
    """The sum; TamperedError(keys.point) when it is infinity, which honest values never give."""
    raw = _new(_PUBKEY)
    if not lib.secp256k1_ec_pubkey_combine(_CTX, raw, [point.raw for point in points], len(points)):
        raise TamperedError("keys.point", "points add up to infinity")
    return Point(raw)


def same_point(left: Point, right: Point) -> bool:
    """Equality without encoding both sides."""
    return bool(lib.secp256k1_ec_pubkey_cmp(_CTX, left.raw, right.raw) == 0)


GENERATOR = public_times_base(1)
