"""`asset-bridge evidence verify`: what a file of attestation evidence proves, in plain words."""

from __future__ import annotations

import time
from pathlib import Path

import click

from asset_bridge.attestation.claims import KINDS
from asset_bridge.attestation.policy import Policy
from asset_bridge.attestation.policy_file import parse
from asset_bridge.attestation.refusal import EXPLAINED
from asset_bridge.attestation.verifiers import hardware
from asset_bridge.cli.app import App, common, examples
from asset_bridge.cli.collateral_cmd import fetch_command
from asset_bridge.cli.measure_cmd import manifest_command, measure_command
from asset_bridge.cli.output import moment
from asset_bridge.client.evidence_file import Examined, as_json, collateral_of, examine, read
from asset_bridge.client.verifiers import verifiers_for

_TIERS = {
    "hardware": "genuine hardware that keeps memory secret from its operator, as far as the vendor's word goes",
    "boot_only": "how a machine booted; its operator can still read its memory",
    "simulated": "NOTHING: it is simulated",
}
_file = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group(
    "evidence",
    epilog=examples(
        "asset-bridge evidence verify node.evidence", "asset-bridge evidence verify td.quote --collateral c.json"
    ),
)
def evidence() -> None:
    """Look at attestation evidence offline."""


@evidence.command(
    "verify",
    epilog=examples(
        "asset-bridge evidence verify node.evidence --policy policy.toml",
        "asset-bridge evidence verify td.quote --collateral collateral.json --at 1786622400",
        "asset-bridge evidence verify report.bin --certificate vcek.der --certificate ask-ark.pem",
    ),
)
@click.argument("file", type=_file)
@click.option("--policy", type=_file, help="Judge it by this policy too; also names a simulator's root.")
@click.option("--collateral", type=_file, multiple=True, help="Intel's collateral (JSON) [HOME/collateral].")
@click.option("--certificate", type=_file, multiple=True, help="AMD's certificates, PEM or DER.")
@click.option("--kind", type=click.Choice(sorted(KINDS)), default=None, help="For a vendor's own bytes [as they look].")
@click.option("--at", "at", type=int, default=None, help="Judge as of this moment, Unix seconds [now].")
@common
def verify_command(
    app: App,
    *,
    file: Path,
    policy: Path | None,
    collateral: tuple[Path, ...],
    certificate: tuple[Path, ...],
    kind: str | None,
    at: int | None,
) -> None:
    """Verify evidence in FILE: a node's, or a vendor's own quote, report or document. Nothing is sent anywhere."""
    rules = read_policy(policy)
    found = examine(
        read(file),
        verifiers_for(rules) if rules is not None else hardware(),
        now=int(time.time()) if at is None else at,
        kind=kind or "",
        collateral=[read(path) for path in collateral],
        certificates=[read(path) for path in certificate],
        named=collateral_of(app.home / "collateral"),
        policy=rules,
    )
    app.result(as_json(found), lines_of(found), next_command=app.command("node list tee"))


evidence.add_command(fetch_command)
evidence.add_command(measure_command)
evidence.add_command(manifest_command)


def read_policy(path: Path | None) -> Policy | None:
    """The policy of a file, or None without one."""
    return None if path is None else parse(read(path).decode("utf-8", "replace"))


def lines_of(found: Examined) -> list[str]:
    """What was found, for people."""
    report, tcb = found.report, found.report.tcb
    warnings = [
        text
        for true, text in (
            (report.debug, "debug mode: its memory can be read from outside; no policy accepts this"),
            (report.migratable, "its memory may be moved to another machine; no policy accepts this"),
            (
                report.vmpl > 0,
                f"it runs at VMPL {report.vmpl}, not at the most privileged level; no policy accepts this",
            ),
            (
                tcb.status not in ("", "UpToDate"),
                f"the vendor says {tcb.status}: {', '.join(tcb.advisories) or 'no advisory'}",
            ),
        )
        if true
    ]
    lines = [
        f"signatures good: they lead to the root {report.root.hex()[:16]}…, valid until {moment(report.not_after)}",
        f"kind       {found.kind}, product {report.product or '–'}, signed by {report.signer}",
        f"proves     {_TIERS[found.tier]}",
        f"level      {tcb.status or 'no status word'}  {' '.join(f'{name}={value}' for name, value in tcb.components.items())}".rstrip(),
        f"code       measurement id 0x{found.measurement_id.hex()}",
        *(f"             {name} {value.hex()}" for name, value in report.measurements.items()),
        f"machine    platform id 0x{found.platform_id.hex()}",
        f"identity   0x{found.evidence_digest.hex()}",
        *(f"warning    {text}" for text in warnings),
    ]
    if found.binding is None:
        lines += [
            f"data       {report.report_data.hex() or '–'}",
            "binds      no node of this network: these are a vendor's own bytes, so no node can be trusted for them",
        ]
    else:
        bound = found.binding
        nonce = (
            "made for registration" if not any(bound.nonce) else f"answers the challenge 0x{bound.nonce.hex()[:16]}…"
        )
        lines += [
            f"binds      node 0x{bound.node_id.hex()}, epoch {bound.epoch}, signing key 0x{bound.signing_address.hex()}",
            f"           chain {bound.chain_id}, registry 0x{bound.registry.hex()}, operator 0x{bound.operator.hex()}; {nonce}",
        ]
    if found.policy_codes is not None:
        lines += [f"policy     refuses: {EXPLAINED[code]} [{code.value}]" for code in found.policy_codes] or [
            "policy     accepts what the file shows; a trade also asks the registry and sends its own challenge"
        ]
    return lines
