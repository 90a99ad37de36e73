"""`asset-bridge governor`: who keeps the network's lists, what evidence counts, and how the office is handed on."""

from __future__ import annotations

from pathlib import Path

import click

from asset_bridge.chain.exchanges import LISTS
from asset_bridge.chain.records import ZERO_ADDRESS, Sent, Vendor
from asset_bridge.cli.app import App, WithDefault, common, examples
from asset_bridge.cli.governing import counting, govern, key_file_option
from asset_bridge.cli.session import consumer, token_of, yes_option
from asset_bridge.errors import InputError
from asset_bridge.trade.evidence import VENDOR_NAMES
from asset_bridge.trade.governor import (
    accept_governor,
    allow_evidence,
    forbid_evidence,
    propose_governor,
    require_successor,
)
from asset_bridge.trade.ports import ChainAccount
from asset_bridge.trade.register import vendor_of


@click.group(
    "governor",
    cls=WithDefault,
    epilog=examples("asset-bridge governor", "asset-bridge governor allow tdx 0x5d2f… --home governor"),
)
def governor() -> None:
    """Who keeps this network's lists, and which TEE nodes' evidence counts.

    Everybody can look. The governor lists vendors and measurements (an addition waits the network's delay, a removal counts at once),
    tokens (`tokens`) and Exchanges (`exchanges`), and can touch no money, order or asset.
    """


@governor.command("list")
@common
def list_(app: App) -> None:
    """Show the governors, the vendors and measurements that were ever listed, and from when on each counts."""
    with consumer(app, acting=False) as session:
        chain, now_at = session.chain, session.chain.block().timestamp
        offices = [
            {
                "contract": contract,
                "governor": chain.governor_of(contract),
                "proposed": chain.pending_governor_of(contract),
                "delay_seconds": chain.delay_seconds_of(contract),
            }
            for contract in LISTS
        ]
        vendors, measurements = chain.vendor_times(), chain.measurement_times()
        lines = []
        for one in offices:
            next_one = "" if one["proposed"] == ZERO_ADDRESS else f", proposed {one['proposed']}"
            lines.append(f"governor   {one['governor']}  {one['contract']}, delay {one['delay_seconds']} s{next_one}")
        lines += [
            f"vendor     {VENDOR_NAMES[Vendor(number)]:<12} {counting(at, now_at)}" for number, at in vendors.items()
        ]
        lines += [
            f"measured   {VENDOR_NAMES[Vendor(number)]:<12} 0x{measurement.hex()}  {counting(at, now_at)}"
            for (number, measurement), at in measurements.items()
        ]
        data = {
            "governors": offices,
            "vendors": [{"vendor": VENDOR_NAMES[Vendor(n)], "active_at": at} for n, at in vendors.items()],
            "measurements": [
                {"vendor": VENDOR_NAMES[Vendor(n)], "measurement": m, "active_at": at}
                for (n, m), at in measurements.items()
            ],
        }
        app.result(data, lines, next_command=app.command("exchanges"))


@governor.command(
    "allow",
    epilog=examples(
        "asset-bridge governor allow tdx 0x5d2f… --home governor",
        "asset-bridge governor allow sev-snp --key-file governor.key --network network.toml",
    ),
)
@click.argument("vendor")
@click.argument("measurement", required=False)
@key_file_option
@common
def allow(app: App, *, vendor: str, measurement: str | None, key_file: Path | None) -> None:
    """Let evidence of VENDOR count, or MEASUREMENT of its code, after the network's delay. A node is live when both are listed.

    VENDOR is tdx, sev-snp, nitro, azure or tpm. `evidence measure` computes a build's MEASUREMENT. A node that registered earlier takes a
    new listing up when it next renews its evidence.
    """
    who, what = vendor_of(vendor), _measurement(measurement)
    govern(app, key_file, lambda account: allow_evidence(account, who, what), "governor")


@governor.command("forbid", epilog=examples("asset-bridge governor forbid tdx 0x5d2f… --home governor"))
@click.argument("vendor")
@click.argument("measurement", required=False)
@key_file_option
@yes_option
@common
def forbid(app: App, *, vendor: str, measurement: str | None, key_file: Path | None, yes: bool) -> None:
    """Let evidence of VENDOR count no more, or one MEASUREMENT of its code, at once: no such node gets a new share or is paid for.

    Orders that are paid keep their nodes; providers revoke or reseal where they no longer trust them.
    """
    who, what = vendor_of(vendor), _measurement(measurement)
    question = f"No TEE node with {'evidence' if what is None else 'this measurement'} of {vendor} counts from now on?"
    asked = "" if yes else question
    govern(app, key_file, lambda account: forbid_evidence(account, who, what), "governor", question=asked)


@governor.command(
    "propose",
    epilog=examples("asset-bridge governor propose 0x52908400098527886E0F7030069857D2E4169EE7 --home governor"),
)
@click.argument("successor", metavar="[ADDRESS]", required=False)
@click.option("--withdraw", is_flag=True, help="Take the proposal back.")
@key_file_option
@common
def propose(app: App, *, successor: str | None, withdraw: bool, key_file: Path | None) -> None:
    """Name the account that may become governor. Nothing changes until it accepts, which shows that somebody holds its key."""
    if (successor is None) != withdraw:
        raise InputError("cli.governor", "governor propose needs an ADDRESS, or --withdraw", hint="--help")
    address = ZERO_ADDRESS if successor is None else token_of(successor)

    def change(account: ChainAccount) -> tuple[Sent, ...]:
        if not withdraw:
            require_successor(account, address)
        return propose_governor(account, address)

    govern(app, key_file, change, "governor" if withdraw else "governor accept")


@governor.command("accept", epilog=examples("asset-bridge governor accept --home next-governor"))
@key_file_option
@yes_option
@common
def accept(app: App, *, key_file: Path | None, yes: bool) -> None:
    """Become governor where this account was proposed. The one before has no say from then on."""
    asked = "" if yes else "Become governor of this network's lists?"
    govern(app, key_file, accept_governor, "governor", question=asked)


def _measurement(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        value = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        value = b""
    if len(value) != 32:
        raise InputError("cli.measurement", f"{text!r} is not 32 bytes of hex", hint="`evidence measure` computes it")
    return value
