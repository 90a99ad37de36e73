"""A build's manifest: which files make which measurements, signed by those who built it and got the same.

Implements spec/attestation.md §12. Promises: `verify` gives a manifest only when enough different builders, all of them in the caller's
list, signed exactly these bytes, and it is valid at `now`. Does not promise: that the code is good, or that a builder looked at it; a
policy lists a measurement because somebody trusts the build.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from asset_bridge.attestation import cbor
from asset_bridge.attestation.claims import KINDS, measurement_id
from asset_bridge.attestation.refusal import EvidenceRefused
from asset_bridge.errors import BridgeError, InputError, RefusedError, TamperedError

MAX_MANIFEST_BYTES = 256 * 1024
MAX_BUILDERS = 16
VERSION = 1
_DOMAIN = b"ASSET-BRIDGE-MANIFEST-v1\0"
_MAX_TEXT_BYTES = 256


@dataclass(frozen=True, slots=True)
class Measured:
    """One way to run the build, and the registers that it then shows. `note` says how: machine type, processors, memory."""

    kind: str
    registers: Mapping[str, bytes]
    note: str

    @property
    def id(self) -> bytes:
        """The measurement id that registry and policy list."""
        return measurement_id(self.kind, self.registers)


@dataclass(frozen=True, slots=True)
class File:
    """A file that was measured, or that the measured files were made of."""

    name: str
    size_bytes: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a build is. Times are Unix seconds; `source` names the commit."""

    version: str
    source: str
    measured: tuple[Measured, ...]
    files: tuple[File, ...]
    valid_from: int
    valid_until: int

    def encode(self) -> bytes:
        """The bytes that builders sign; EvidenceRefused(format) for a value outside the encoding."""
        measured: list[cbor.Value] = [
            {1: item.kind, 2: dict(item.registers.items()), 3: item.note} for item in self.measured
        ]
        files: list[cbor.Value] = [{1: item.name, 2: item.size_bytes, 3: item.sha256} for item in self.files]
        return cbor.encode(
            {
                1: VERSION,
                2: self.version,
                3: self.source,
                4: measured,
                5: files,
                6: self.valid_from,
                7: self.valid_until,
            }
        )


def sign(manifest: Manifest, keys: Sequence[Ed25519PrivateKey]) -> bytes:
    """The signed manifest; more signatures can be added with `add_signature`."""
    return _signed(manifest.encode(), [_signature(manifest.encode(), key) for key in keys])


def add_signature(data: bytes, key: Ed25519PrivateKey) -> bytes:
    """The same manifest with this builder's signature too; what `read` raises."""
    body, signatures = _parts(data)
    return _signed(body, [*signatures, _signature(body, key)])


def read(data: bytes) -> Manifest:
    """The manifest in a file, whoever signed it: to look at, or to sign. TamperedError(attestation.manifest)."""
    return _manifest(_parts(data)[0])


def signers(data: bytes) -> list[bytes]:
    """The keys that a file says signed it; nothing is verified. TamperedError(attestation.manifest)."""
    return [key for key, _ in _parts(data)[1]]


def verify(data: bytes, builders: Collection[bytes], needed: int, *, now: int) -> Manifest:
    """The manifest that at least `needed` of `builders` (32-byte Ed25519 keys) signed, at `now`.

    Raises:
        InputError(attestation.builders): fewer builders are named than signatures needed, or none is needed.
        TamperedError(attestation.manifest): not a manifest in its one encoding.
        TamperedError(attestation.manifest-signature): a signature of a named builder that does not verify, or too few of them.
        RefusedError(attestation.manifest-expired): not valid at `now`.
    """
    if not 1 <= needed <= len(set(builders)):
        raise InputError(
            "attestation.builders", f"{needed} signatures of {len(set(builders))} named builders cannot be had"
        )
    body, signatures = _parts(data)
    good: set[bytes] = set()
    for key, signature in signatures:
        if key not in builders:
            continue  # anybody may sign; it counts for nothing
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, _DOMAIN + body)
        except (InvalidSignature, ValueError):
            raise TamperedError(
                "attestation.manifest-signature", "a builder's signature is not over this manifest", actor="operator"
            ) from None
        good.add(key)
    if len(good) < needed:
        raise TamperedError(
            "attestation.manifest-signature",
            f"{len(good)} of the named builders signed this manifest, and {needed} are needed",
            hint="two builders who get the same measurements sign the same bytes; ask the second for its signature",
            actor="operator",
        )
    manifest = _manifest(body)
    if not manifest.valid_from <= now < manifest.valid_until:
        raise RefusedError(
            "attestation.manifest-expired", "the manifest is not valid at this time", hint="take the newest release's"
        )
    return manifest


def _signature(body: bytes, key: Ed25519PrivateKey) -> tuple[bytes, bytes]:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw), key.sign(_DOMAIN + body)


def _signed(body: bytes, signatures: Sequence[tuple[bytes, bytes]]) -> bytes:
    by_key: list[cbor.Value] = [[key, signature] for key, signature in sorted(dict(signatures).items())]
    return cbor.encode({1: body, 2: by_key})


def _parts(data: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    if len(data) > MAX_MANIFEST_BYTES:
        raise _malformed()
    try:
        fields = cbor.decode_map(data, {1, 2})
        body, listed = fields[1], fields[2]
        if not isinstance(body, bytes) or not isinstance(listed, list) or len(listed) > MAX_BUILDERS:
            raise _malformed()
        pairs = [item if isinstance(item, list) and len(item) == 2 else [0, 0] for item in listed]
        found = [(cbor.field_bytes({0: key}, 0, 32), cbor.field_bytes({0: name}, 0, 64)) for key, name in pairs]
    except EvidenceRefused:
        raise _malformed() from None
    if [key for key, _ in found] != sorted({key for key, _ in found}):  # one signature a builder, in one order
        raise _malformed()
    return body, found


def _manifest(body: bytes) -> Manifest:
    try:
        fields = cbor.decode_map(body, set(range(1, 8)))
        if cbor.field_int(fields, 1) != VERSION:
            raise _malformed()
        return Manifest(
            cbor.field_text(fields, 2, _MAX_TEXT_BYTES),
            cbor.field_text(fields, 3, _MAX_TEXT_BYTES),
            tuple(_measured(item) for item in _list(fields[4])),
            tuple(_file(item) for item in _list(fields[5])),
            cbor.field_int(fields, 6),
            cbor.field_int(fields, 7),
        )
    except EvidenceRefused:
        raise _malformed() from None


def _list(value: cbor.Value) -> list[dict[int | str, cbor.Value]]:
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
        raise _malformed()
    return [item for item in value if isinstance(item, dict)]


def _measured(item: dict[int | str, cbor.Value]) -> Measured:
    registers = item.get(2)
    if set(item) != {1, 2, 3} or item[1] not in KINDS or not isinstance(registers, dict) or not registers:
        raise _malformed()
    named = {str(name): value for name, value in registers.items() if isinstance(value, bytes)}
    if len(named) != len(registers):
        raise _malformed()
    return Measured(cbor.field_text(item, 1, 32), named, cbor.field_text(item, 3, _MAX_TEXT_BYTES))


def _file(item: dict[int | str, cbor.Value]) -> File:
    if set(item) != {1, 2, 3}:
        raise _malformed()
    return File(cbor.field_text(item, 1, _MAX_TEXT_BYTES), cbor.field_int(item, 2), cbor.field_bytes(item, 3, 32))


def _malformed() -> BridgeError:
    return TamperedError("attestation.manifest", "the file is not a manifest of a build", actor="operator")
