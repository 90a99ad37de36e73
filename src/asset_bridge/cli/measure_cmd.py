"""`asset-bridge evidence measure` and `evidence manifest`: what a build will measure, and who says so."""

from __future__ import annotations

import time
from pathlib import Path

import click

from asset_bridge.attestation.claims import KINDS
from asset_bridge.attestation.measured import manifest
from asset_bridge.attestation.measured.manifest import Manifest, Measured
from asset_bridge.attestation.measured.save_area import PROCESSORS
from asset_bridge.cli.app import App, common, examples
from asset_bridge.cli.output import moment
from asset_bridge.client.measure import SnpGuest, builder_key, content, files_of, snp_measured, write_manifest
from asset_bridge.errors import InputError

_file = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(
    "measure",
    epilog=examples(
        "asset-bridge evidence measure --firmware OVMF.amdsev.fd --kernel vmlinuz --initrd initrd --command-line 'ro console=ttyS0'",
        "asset-bridge evidence measure --firmware OVMF.amdsev.fd --kernel vmlinuz --initrd initrd --command-line ro \\\n"
        "    --processors 2 --processors 4 --manifest release.manifest --key builder.pem --release 1.0.0 --source COMMIT \\\n"
        "    --valid-from 1798761600 --valid-until 1830297600",
    ),
)
@click.option("--firmware", type=_file, required=True, help="The virtual firmware, with SEV metadata.")
@click.option("--kernel", type=_file, help="The kernel of a measured direct boot.")
@click.option("--initrd", type=_file, help="Its initrd.")
@click.option("--command-line", default="", help="The kernel's command line, with the root hash of the disk in it.")
@click.option("--processor", type=click.Choice(sorted(PROCESSORS)), default="EPYC-Genoa", show_default=True)
@click.option(
    "--processors", type=int, multiple=True, default=(2,), show_default=True, help="How many; may be repeated."
)
@click.option("--host-data", default="00" * 32, help="HOST_DATA of the launch, 32 bytes of hex [zeros].")
@click.option("--manifest", "path", type=click.Path(path_type=Path), help="Sign the result into this file, too.")
@click.option("--key", type=_file, help="The builder's Ed25519 key, PEM.")
@click.option("--release", default="", help="The release's version, for the manifest.")
@click.option("--source", default="", help="The source commit, for the manifest.")
@click.option("--valid-from", type=int, default=0, help="Unix seconds; the same for every builder.")
@click.option("--valid-until", type=int, default=0, help="Unix seconds; the same for every builder.")
@common
def measure_command(
    app: App,
    *,
    firmware: Path,
    kernel: Path | None,
    initrd: Path | None,
    command_line: str,
    processor: str,
    processors: tuple[int, ...],
    host_data: str,
    path: Path | None,
    key: Path | None,
    release: str,
    source: str,
    valid_from: int,
    valid_until: int,
) -> None:
    """Compute the SEV-SNP measurement of a build offline. Two builders who get the same can sign one manifest."""
    guest = SnpGuest(
        firmware, kernel, initrd, command_line, processor, PROCESSORS[processor], hex_bytes(host_data, "--host-data")
    )
    measured = snp_measured(guest, processors)
    lines = [line for item in measured for line in _lines(item)]
    data: dict[str, object] = {"measured": [_json(item) for item in measured]}
    if kernel is None:
        lines.append("warning    no kernel: what the firmware boots from disk is NOT in this measurement")
    following = "evidence verify FILE"
    if path is not None:
        if key is None or not (release and source and 0 < valid_from < valid_until):
            raise InputError(
                "cli.manifest", "a manifest needs --key, --release, --source, --valid-from and --valid-until"
            )
        made = Manifest(release, source, measured, files_of(guest), valid_from, valid_until)
        count = write_manifest(path, made, builder_key(key))
        lines.append(f"manifest   {path}, signed by {count} builder{'s' if count > 1 else ''}")
        data["signatures"] = count
        following = f"evidence manifest {path} --builder KEY --builder KEY --needed 2"
    app.result(data, lines, next_command=app.command(following))


@click.command(
    "manifest",
    epilog=examples(
        "asset-bridge evidence manifest release.manifest",
        "asset-bridge evidence manifest release.manifest --builder 5f3a… --builder 91c0… --needed 2",
    ),
)
@click.argument("file", type=_file)
@click.option("--builder", multiple=True, help="The Ed25519 key of a builder you trust, 32 bytes of hex.")
@click.option("--needed", type=int, default=2, show_default=True, help="How many of them must have signed.")
@click.option("--at", "at", type=int, default=None, help="Judge as of this moment, Unix seconds [now].")
@common
def manifest_command(app: App, *, file: Path, builder: tuple[str, ...], needed: int, at: int | None) -> None:
    """Verify the signed manifest of a build, and print what a policy must list for it."""
    data = content(file)
    if not builder:
        keys = manifest.signers(data)
        said = [f"signed by  {key.hex()}" for key in keys] or ["signed by  nobody"]
        app.result(
            {"verified": False, "signers": keys},
            [*said, "nothing was verified: name the builders you trust with --builder"],
            next_command=app.command(f"evidence manifest {file} --builder KEY"),
        )
        return
    trusted = {hex_bytes(text, "--builder") for text in builder}
    found = manifest.verify(data, trusted, needed, now=int(time.time()) if at is None else at)
    lines = [
        f"release    {found.version}, from source {found.source}, valid until {moment(found.valid_until)}",
        *(f"file       {item.sha256.hex()}  {item.size_bytes:>12,}  {item.name}" for item in found.files),
        *(line for item in found.measured for line in _lines(item)),
        "",
        "for the policy:",
    ]
    for item in found.measured:
        build = f"{found.version} {found.source[:12]}, {KINDS[item.kind].vendor}, {item.note}".replace('"', "'")
        lines += ["[[measurement]]", f'id = "0x{item.id.hex()}"', f'build = "{build}"']
    app.result(
        {
            "verified": True,
            "version": found.version,
            "source": found.source,
            "valid_until": found.valid_until,
            "measured": [_json(item) for item in found.measured],
        },
        lines,
        next_command=app.command("policy check POLICY"),
    )


def hex_bytes(text: str, option: str) -> bytes:
    """32 bytes from hex; InputError(cli.manifest)."""
    try:
        data = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        data = b""
    if len(data) != 32:
        raise InputError("cli.manifest", f"{option} is not 32 bytes of hex")
    return data


def _lines(item: Measured) -> list[str]:
    return [
        f"code       measurement id 0x{item.id.hex()}  ({item.note})",
        *(f"             {name} {value.hex()}" for name, value in item.registers.items()),
    ]


def _json(item: Measured) -> dict[str, object]:
    return {"id": item.id, "kind": item.kind, "registers": dict(item.registers), "note": item.note}
