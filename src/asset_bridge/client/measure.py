"""What a build measures, from its files; and the signed manifest that builders make of it together.

Source: spec/attestation.md §12. Promises: a second builder's signature joins only when his build gives the very same manifest; a manifest
file is written whole or not at all. Does not promise: that the files came from the source that the manifest names; that two builders, each
on his own machine, get the same bytes is what speaks for it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from asset_bridge.attestation.measured import manifest
from asset_bridge.attestation.measured.manifest import File, Manifest, Measured
from asset_bridge.attestation.measured.snp_launch import DirectBoot, Firmware, launch_digest
from asset_bridge.errors import InputError

MAX_FILE_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class SnpGuest:
    """How a guest is started. `kernel` None: the firmware boots from a disk, which is then not in the measurement."""

    firmware: Path
    kernel: Path | None
    initrd: Path | None
    command_line: str
    processor: str
    signature: int
    host_data: bytes


def snp_measured(guest: SnpGuest, processors: Sequence[int]) -> tuple[Measured, ...]:
    """One measurement for each number of processors; InputError(attestation.firmware | attestation.processors | client.measure)."""
    firmware = Firmware(content(guest.firmware))
    boot = None
    if guest.kernel is not None:
        initrd = b"" if guest.initrd is None else content(guest.initrd)
        boot = DirectBoot(content(guest.kernel), initrd, guest.command_line)
    found = []
    for number in processors:
        digest = launch_digest(firmware, number, guest.signature, boot)
        registers = {"measurement": digest, "host_data": guest.host_data}
        found.append(Measured("amd-sev-snp", registers, f"QEMU, {guest.processor}, {number} processors"))
    return tuple(found)


def files_of(guest: SnpGuest) -> tuple[File, ...]:
    """Size and digest of each measured file, by its name alone: paths of a builder's machine are nobody's business."""
    paths = [path for path in (guest.firmware, guest.kernel, guest.initrd) if path is not None]
    return tuple(File(path.name, path.stat().st_size, hashlib.sha256(content(path)).digest()) for path in paths)


def write_manifest(path: Path, made: Manifest, key: Ed25519PrivateKey) -> int:
    """Sign into `path`: a new file, or another builder's with the very same manifest; how many signed it now.

    Raises: InputError(client.manifest-differs): the file holds another manifest. TamperedError(attestation.manifest).
    """
    if path.exists():
        found = content(path)
        if manifest.read(found) != made:
            raise InputError(
                "client.manifest-differs",
                f"{path} is the manifest of another build: {_difference(manifest.read(found), made)}",
                hint="both builders need the same source, the same tools and the same dates; then build again",
            )
        data = manifest.add_signature(found, key)
    else:
        data = manifest.sign(made, [key])
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return len(manifest.signers(data))


def builder_key(path: Path) -> Ed25519PrivateKey:
    """A builder's key, PEM; InputError(client.builder-key)."""
    try:
        key = load_pem_private_key(content(path), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(
            "client.builder-key",
            f"{path} holds no Ed25519 private key in PEM without a passphrase",
            hint="openssl genpkey -algorithm ed25519 -out builder.pem",
        )
    return key


def content(path: Path) -> bytes:
    """A file's bytes; InputError(client.measure)."""
    try:
        if path.stat().st_size <= MAX_FILE_BYTES:
            return path.read_bytes()
        reason = "it is larger than 2 GiB"
    except OSError as error:
        reason = error.strerror or "it cannot be read"
    raise InputError("client.measure", f"the file {path} cannot be used: {reason}")


def _difference(found: Manifest, made: Manifest) -> str:
    names = {"version": "version", "source": "source", "measured": "measurements", "files": "files"}
    other = [word for name, word in names.items() if getattr(found, name) != getattr(made, name)]
    return "other " + ", ".join(other or ["dates"])
