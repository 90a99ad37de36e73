"""Measured builds: the launch digest, what of it changes with what, firmware that does not fit, and signed manifests."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from asset_bridge.attestation import cbor
from asset_bridge.attestation.claims import measurement_id
from asset_bridge.attestation.measured import manifest
from asset_bridge.attestation.measured.manifest import File, Manifest, Measured
from asset_bridge.attestation.measured.save_area import PROCESSORS
from asset_bridge.attestation.measured.snp_launch import DirectBoot, Firmware, launch_digest
from asset_bridge.cli import main
from asset_bridge.errors import BridgeError, InputError
from tests.support import firmware

GENOA = PROCESSORS["EPYC-Genoa"]
BOOT = DirectBoot(b"kernel", b"initrd", "ro")


def digest(
    image: bytes | None = None, processors: int = 2, signature: int = GENOA, boot: DirectBoot | None = BOOT
) -> bytes:
    return launch_digest(Firmware(image or firmware.image()), processors, signature, boot)


def test_everything_that_starts_is_in_the_digest() -> None:
    """One change each, and each gives another digest."""
    changed = firmware.image()
    found = {
        digest(), digest(processors=3), digest(signature=GENOA + 1), digest(boot=None), digest(firmware.image(fill=9)),
        digest(boot=replace(BOOT, kernel=b"kerne1")), digest(boot=replace(BOOT, initrd=b"")),
        digest(boot=replace(BOOT, command_line="rw")), digest(firmware.image(reset=0x80B008)),
        digest(changed[:4096] + bytes([changed[4096] ^ 1]) + changed[4097:]),
        digest(firmware.image(sections=firmware.SECTIONS[1:])),
    }  # fmt: skip
    assert len(found) == 11
    assert all(len(item) == 48 for item in found)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (b"", "whole pages"),
        (bytes(4095), "whole pages"),
        (bytes(8192), "no table"),
        (firmware.image()[:-32] + b"\xff" * 4096 + bytes(32), "no table"),
        (firmware.image(hashes=None), "no place for kernel hashes"),
        (firmware.image(hashes=(0, 0)), "no place for kernel hashes"),
        (firmware.image(hashes=(0x820C00, 0x400)), "not in the section"),
        (firmware.image(hashes=(0x810FF0, 0x400)), "not in the section"),
        (firmware.image(sections=firmware.SECTIONS[:-1]), "no section for kernel hashes"),
        (firmware.image(sections=(*firmware.SECTIONS, (0x900000, 0x1000, 9))), "kind 9"),
        (firmware.image(sections=(*firmware.SECTIONS, (0x900001, 0x1000, 1))), "whole pages"),
        (firmware.image().replace(b"ASEV", b"ASEW"), "another form"),
        (firmware.image().replace(firmware.RESET, bytes(16)), "no reset block"),
        (firmware.image().replace(firmware.METADATA, bytes(16)), "no SEV metadata"),
        (firmware.image().replace(b"\x16\x00" + firmware.RESET, b"\x01\x00" + firmware.RESET), "wrong length"),
    ],
)
def test_firmware_that_does_not_fit(image: bytes, words: str) -> None:
    with pytest.raises(InputError) as caught:
        launch_digest(Firmware(image), 2, GENOA, BOOT)
    assert caught.value.code == "attestation.firmware"
    assert words in caught.value.message


@pytest.mark.parametrize("processors", [0, -1, 513])
def test_numbers_of_processors(processors: int) -> None:
    with pytest.raises(InputError) as caught:
        digest(processors=processors)
    assert caught.value.code == "attestation.processors"


# ── manifests ──
KEYS = [Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in range(1, 5)]
PUBLIC = [key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw) for key in KEYS]
FROM, UNTIL = 1_800_000_000, 1_900_000_000
BUILD = Manifest(
    "1.0.0",
    "a" * 40,
    (Measured("amd-sev-snp", {"measurement": b"m" * 48, "host_data": bytes(32)}, "QEMU, 2 processors"),),
    (File("vmlinuz", 6, b"k" * 32), File("initrd", 9, b"i" * 32)),
    FROM,
    UNTIL,
)


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(BridgeError) as caught:
        act()
    return caught.value.code


def test_a_manifest_that_two_builders_signed() -> None:
    data = manifest.add_signature(manifest.sign(BUILD, KEYS[:1]), KEYS[1])
    assert data == manifest.sign(BUILD, KEYS[1::-1])
    assert manifest.verify(data, PUBLIC[:3], 2, now=FROM) == BUILD == manifest.read(data)
    assert BUILD.measured[0].id == measurement_id("amd-sev-snp", BUILD.measured[0].registers)
    assert manifest.add_signature(data, KEYS[0]) == data  # the same builder counts once


def test_who_signed_and_when() -> None:
    data = manifest.sign(BUILD, KEYS[:2])
    for builders, needed, now, code in (
        (PUBLIC[:2], 3, FROM, "attestation.builders"),
        (PUBLIC[:2], 0, FROM, "attestation.builders"),
        ([PUBLIC[0], PUBLIC[0]], 2, FROM, "attestation.builders"),
        (PUBLIC[1:], 2, FROM, "attestation.manifest-signature"),
        (PUBLIC[2:], 1, FROM, "attestation.manifest-signature"),
        (PUBLIC[:2], 2, FROM - 1, "attestation.manifest-expired"),
        (PUBLIC[:2], 2, UNTIL, "attestation.manifest-expired"),
    ):
        assert code_of(lambda b=builders, k=needed, t=now: manifest.verify(data, b, k, now=t)) == code


def test_every_flipped_bit_of_a_signed_manifest_is_refused() -> None:
    data = manifest.sign(BUILD, KEYS[:2])
    for at in range(len(data)):
        for bit in (0, 7):
            other = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
            found = code_of(lambda other=other: manifest.verify(other, PUBLIC[:2], 2, now=FROM))
            assert found in ("attestation.manifest", "attestation.manifest-signature"), (at, bit)


def signed(body: object, signatures: list[Any] | None = None) -> bytes:
    encoded = body if isinstance(body, bytes) else cbor.encode(body)  # type: ignore[arg-type]
    if signatures is None:
        signatures = [[PUBLIC[0], KEYS[0].sign(b"ASSET-BRIDGE-MANIFEST-v1\0" + encoded)]]
    return cbor.encode({1: encoded, 2: signatures})


def test_well_signed_bytes_that_are_no_manifest() -> None:
    good: Any = cbor.decode(BUILD.encode())
    assert manifest.verify(signed(good), PUBLIC[:1], 1, now=FROM) == BUILD
    wrong: list[Any] = [
        {**good, key: value}
        for key, value in ((1, 2), (2, 1), (3, "x" * 257), (4, []), (4, [1]), (5, [{1: "a"}]), (6, "x"), (8, 1))
    ]
    wrong += [
        {**good, 4: [{1: "other", 2: {"m": b""}, 3: ""}]},
        {**good, 4: [{1: "tpm2", 2: {}, 3: ""}]},
        {**good, 4: [{1: "tpm2", 2: {"m": 1}, 3: ""}]},
    ]
    wrong += [{**good, 5: [{1: "a", 2: 1, 3: b"short"}]}, b"junk", [1], 5]
    for body in wrong:
        assert (
            code_of(lambda body=body: manifest.verify(signed(body), PUBLIC[:1], 1, now=FROM)) == "attestation.manifest"
        )
    pair = [PUBLIC[0], bytes(64)]
    for signatures in ([pair, pair], [1], [[PUBLIC[0]]], [[b"short", bytes(64)]], [pair] * 17, [[PUBLIC[0], b""]]):
        assert code_of(lambda s=signatures: manifest.read(signed(good, s))) == "attestation.manifest", signatures
    assert code_of(lambda: manifest.read(b"junk")) == "attestation.manifest"
    assert code_of(lambda: manifest.read(bytes(300_000))) == "attestation.manifest"


# ── the commands ──
def run(capsys: pytest.CaptureFixture[str], home: Path, *arguments: str) -> tuple[int, str, str]:
    code: object = 0
    try:
        main.run([*arguments, "--home", str(home)])
    except SystemExit as stop:
        code = stop.code
    out = capsys.readouterr()
    return int(str(code or 0)), out.out, out.err


@pytest.fixture
def build(tmp_path: Path) -> list[str]:
    for name, data in (("fw", firmware.image()), ("vmlinuz", b"kernel"), ("initrd", b"initrd")):
        (tmp_path / name).write_bytes(data)
    for number, key in enumerate(KEYS[:2]):
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / f"{number}.pem").write_bytes(pem)
    names = {"firmware": "fw", "kernel": "vmlinuz", "initrd": "initrd"}
    paths = [word for option, name in names.items() for word in (f"--{option}", str(tmp_path / name))]
    return ["evidence", "measure", *paths, "--command-line", "ro"]


def signing(tmp_path: Path, key: int, until: int = UNTIL) -> list[str]:
    return [
        "--manifest", str(tmp_path / "m"), "--key", str(tmp_path / f"{key}.pem"), "--release", "1.0.0", "--source", "c0ffee",
        "--valid-from", str(FROM), "--valid-until", str(until),
    ]  # fmt: skip


def test_two_builders_sign_and_a_third_person_verifies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], build: list[str]
) -> None:
    assert (
        run(capsys, tmp_path, *build)[1].split()[3]
        == "0x" + measurement_id("amd-sev-snp", {"measurement": digest(), "host_data": bytes(32)}).hex()
    )
    assert "signed by 1 builder\n" in run(capsys, tmp_path, *build, *signing(tmp_path, 0))[1]
    assert "signed by 2 builders\n" in run(capsys, tmp_path, *build, *signing(tmp_path, 1))[1]
    look = ["evidence", "manifest", str(tmp_path / "m")]
    assert "nothing was verified" in run(capsys, tmp_path, *look)[1]
    trusted = [word for key in PUBLIC[:2] for word in ("--builder", key.hex())]
    status, out, _ = run(capsys, tmp_path, *look, *trusted, "--at", str(FROM), "--json")
    said = json.loads(out)
    assert (status, said["verified"], said["version"]) == (0, True, "1.0.0")
    assert said["measured"][0]["registers"]["measurement"] == "0x" + digest().hex()
    assert "[[measurement]]" in run(capsys, tmp_path, *look, *trusted, "--at", str(FROM))[1]
    for more, code in (
        (["--at", str(UNTIL)], "attestation.manifest-expired"),
        (["--at", str(FROM), "--needed", "3"], "attestation.builders"),
        (["--builder", "zz"], "cli.manifest"),
    ):
        assert f"[{code}]" in run(capsys, tmp_path, *look, *trusted, *more)[2]


def test_a_builder_whose_build_differs_cannot_sign(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], build: list[str]
) -> None:
    run(capsys, tmp_path, *build, *signing(tmp_path, 0))
    before = (tmp_path / "m").read_bytes()
    (tmp_path / "vmlinuz").write_bytes(b"another kernel")
    status, _, err = run(capsys, tmp_path, *build, *signing(tmp_path, 1))
    assert (status, "[client.manifest-differs]" in err, "measurements, files" in err) == (2, True, True)
    assert (tmp_path / "m").read_bytes() == before
    (tmp_path / "vmlinuz").write_bytes(b"kernel")
    assert "other dates" in run(capsys, tmp_path, *build, *signing(tmp_path, 1, UNTIL + 1))[2]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (["--manifest", "m"], "cli.manifest"),
        (["--host-data", "00"], "cli.manifest"),
        (["--processors", "0"], "attestation.processors"),
    ],
)
def test_what_a_person_mistypes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], build: list[str], more: list[str], code: str
) -> None:
    assert f"[{code}]" in run(capsys, tmp_path, *build, *more)[2]


def test_a_key_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str], build: list[str]) -> None:
    (tmp_path / "0.pem").write_text("junk")
    assert "[client.builder-key]" in run(capsys, tmp_path, *build, *signing(tmp_path, 0))[2]
    assert not (tmp_path / "m").exists()
