"""`asset-bridge policy check`: a policy file in plain words, and what a security officer should look at twice."""

from __future__ import annotations

from pathlib import Path

import click

from asset_bridge.attestation.configuration import ATTESTED_VIEW
from asset_bridge.attestation.policy import Policy
from asset_bridge.cli.app import App, common, examples
from asset_bridge.cli.evidence_cmd import read_policy

_BROKEN_PRODUCTS = {"Milan": "reports of Milan can be forged by software since 2026 (arXiv 2605.12990)"}


@click.group("policy", epilog=examples("asset-bridge policy check policy.toml"))
def policy() -> None:
    """Look at a policy: which TEE nodes may hold a share of your keys."""


@policy.command(
    "check", epilog=examples("asset-bridge policy check policy.toml", "asset-bridge policy check policy.toml --json")
)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@common
def check(app: App, *, file: Path) -> None:
    """Read the policy in FILE: is it usable, whom does it trust, and what in it is weak."""
    found = read_policy(file)
    assert found is not None  # a file was given
    warnings = weak_points(found)
    data = {
        "chain_id": found.chain_id, "threshold": found.threshold, "shares": found.shares, "chain_view": found.chain_view,
        "names_nobody": found.names_nobody, "simulated": found.allow_simulated, "boot_only": found.allow_boot_only,
        "vendors": [rule.name for rule in found.vendors], "measurements": len(found.measurements),
        "operators": list(found.operators.values()), "platforms": len(found.platforms), "warnings": warnings,
    }  # fmt: skip
    lines = [*_told(found), *(f"warning    {text}" for text in warnings)]
    app.result(data, lines, next_command=app.command(f"approve ORDER --policy {file}"))


def _told(found: Policy) -> list[str]:
    rules = []
    for rule in found.vendors:
        products = ", ".join(sorted(rule.products)) or "any product"
        statuses = ", ".join(sorted(rule.tcb_statuses)) or "no status word"
        floor = ", ".join(f"{name} ≥ {value}" for name, value in sorted(rule.tcb_floor.items()))
        rules.append(f"accepts    {rule.name}: {products}; {statuses}{'; ' + floor if floor else ''}")
    spread = [name for name in ("operator", "platform", "vendor") if getattr(found.spread, name)]
    places = "any machine" if found.any_platform else f"{len(found.platforms)} named machines"
    limit = "one " + ", ".join(spread) if spread else "(no rule)"
    view = "the word of each operator"
    if found.chain_view == ATTESTED_VIEW:
        view = "attested, through " + ", ".join(endpoint.origin for endpoint in found.endpoints)
    return [
        f"chain      {found.chain_id}",
        f"shares     {found.threshold} of {found.shares} open an asset; fewer than {found.threshold} on {limit}",
        *rules,
        *(f"code       0x{key.hex()[:16]}…  {build}" for key, build in found.measurements.items()),
        *(f"operator   {name}  0x{address.hex()}" for address, name in found.operators.items()),
        f"machines   {places}",
        f"chain view {view}",
        f"age        a report is at most {found.max_age_seconds} s old; a challenge is answered within {min(60, found.max_age_seconds)} s",
    ]


def weak_points(found: Policy) -> list[str]:
    """What in a usable policy deserves a second look."""
    checks = [
        (found.names_nobody, "it names no operator, vendor or measurement, so it accepts no node"),
        (found.allow_simulated, "simulated evidence is accepted: nothing is protected from the operators (development only)"),
        (found.allow_boot_only, "boot-only evidence is accepted: operators can read their nodes' memory"),
        (found.chain_view != ATTESTED_VIEW, "operators may show their nodes a chain of their own, without your revocations"),
        (found.any_platform, "any machine is accepted: one attestation key taken out of one machine anywhere is enough"),
        (not found.spread.vendor, "one broken maker of silicon may hold enough shares"),
        (not found.spread.platform, "one machine may hold enough shares"),
        (not found.spread.operator, "one operator may hold enough shares"),
        (len(found.operators) < found.shares, f"it names {len(found.operators)} operators for {found.shares} shares on distinct operators"),
    ]  # fmt: skip
    if found.chain_view == ATTESTED_VIEW and not found.endpoints:
        checks.append((True, "chain_view is attested and no [[rpc]] is named, so every node is refused"))
    for rule in found.vendors:
        for product, why in _BROKEN_PRODUCTS.items():
            if rule.name in ("sev-snp", "azure") and (not rule.products or product in rule.products):
                checks.append((True, f"{rule.name} accepts {product}: {why}"))
        late = sorted(rule.tcb_statuses - {"UpToDate"})
        checks.append((bool(late), f"{rule.name} accepts machines whose vendor says {', '.join(late)}"))
        checks.append(
            (rule.name == "sev-snp" and not rule.tcb_floor, "sev-snp has no tcb_floor, and AMD signs no status word")
        )
    return [text for true, text in checks if true]
