"""The launch digest of an SEV-SNP guest, by our own code and by sev-snp-measure: two programs that share nothing agree."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from sevsnpmeasure import guest, vcpu_types
from sevsnpmeasure.sev_mode import SevMode
from sevsnpmeasure.vmm_types import VMMType

from asset_bridge.attestation.measured.save_area import PROCESSORS
from asset_bridge.attestation.measured.snp_launch import DirectBoot, Firmware, launch_digest
from tests.support import firmware

KERNEL, INITRD, LINE = b"kernel" * 5000, b"initrd" * 777, "ro root=/dev/mapper/root roothash=" + "5e" * 32
REAL = [Path("/usr/share/ovmf/OVMF.fd"), Path("/usr/share/ovmf/OVMF.amdsev.fd")]


def other(folder: Path, image: bytes, processors: int, signature: int, features: int, boot: DirectBoot | None) -> bytes:
    """What sev-snp-measure says."""
    paths = {"ovmf": image}
    if boot is not None:
        paths |= {"kernel": boot.kernel, "initrd": boot.initrd}
    for name, data in paths.items():
        (folder / name).write_bytes(data)
    kernel, initrd, line = (
        (str(folder / "kernel"), str(folder / "initrd"), boot.command_line) if boot else (None, None, None)
    )
    found: bytes = guest.calc_launch_digest(
        SevMode.SEV_SNP, processors, signature, str(folder / "ovmf"), kernel, initrd, line, features, "", VMMType.QEMU
    )
    return found


def test_both_know_the_same_processors() -> None:
    assert {name: vcpu_types.CPU_SIGS[name] for name in PROCESSORS} == PROCESSORS


@pytest.mark.parametrize("processors", [1, 2, 7, 64])
@pytest.mark.parametrize("boot", [None, DirectBoot(KERNEL, INITRD, LINE), DirectBoot(KERNEL, b"", "")])
def test_digests_agree(tmp_path: Path, processors: int, boot: DirectBoot | None) -> None:
    made = firmware.image()
    for name in ("EPYC-Milan", "EPYC-Genoa"):
        for features in (1, 0x21):
            ours = launch_digest(Firmware(made), processors, PROCESSORS[name], boot, features)
            assert ours == other(tmp_path, made, processors, PROCESSORS[name], features, boot), (name, features)


def test_digests_agree_over_many_images(tmp_path: Path) -> None:
    numbers = random.Random(11)
    for _ in range(20):
        made = firmware.image(
            numbers.randrange(2, 40), reset=numbers.randrange(1 << 32), fill=numbers.randrange(1, 256),
            hashes=(0x810000 + 16 * numbers.randrange(245), 0x400),
        )  # fmt: skip
        boot = DirectBoot(numbers.randbytes(999), numbers.randbytes(99), "console=ttyS0")
        signature = numbers.randrange(1 << 32)
        assert launch_digest(Firmware(made), 3, signature, boot) == other(tmp_path, made, 3, signature, 1, boot)


@pytest.mark.parametrize("path", [path for path in REAL if path.exists()] or [None], ids=str)
def test_digests_agree_on_the_firmware_of_this_machine(tmp_path: Path, path: Path | None) -> None:
    """Where a distribution's firmware is installed; the images above have every kind of section that it has, and more."""
    made = path.read_bytes() if path is not None else firmware.image(512)
    assert launch_digest(Firmware(made), 4, PROCESSORS["EPYC-Genoa"]) == other(
        tmp_path, made, 4, PROCESSORS["EPYC-Genoa"], 1, None
    )
