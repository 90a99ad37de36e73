"""What several commands share: an open provider or consumer, ids as people type them, costs, durations.

Source: design §8, spec/cli.md. A command opens its session, calls one method, prints. Nothing here knows a rule of the trade.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import click

from asset_bridge.chain.keys import address_bytes, checksum_address
from asset_bridge.chain.records import ZERO_ADDRESS, OrderState, Periods, Sent
from asset_bridge.cli.app import App
from asset_bridge.cli.output import amount, seconds_of, short
from asset_bridge.cli.signing import signing
from asset_bridge.client import Consumer, Provider, Status
from asset_bridge.client.homes import read_network
from asset_bridge.client.results import ChosenNode
from asset_bridge.errors import InputError, StoppedError, TamperedError, UnavailableError
from asset_bridge.vault.home import Vault
from asset_bridge.vault.network import Network

_MIN_ID_DIGITS = 6
LABEL_DIGITS = 12
DONE = (OrderState.DENIED, OrderState.CANCELLED, OrderState.EXPIRED, OrderState.REFUNDED, OrderState.SETTLED)


@contextmanager
def provider(app: App, *, acting: bool = True, vault: Vault | None = None) -> Iterator[Provider]:
    """The home's provider; `acting` takes the home's lock and resumes what an earlier run left pending. `vault`: see Session.open."""
    network = chosen_network(app)
    with (
        Provider.open(
            app.home, app.passphrase, progress=app.progress, exclusive=acting, network=network, vault=vault
        ) as opened,
        signing(app, opened),
    ):
        yield opened


@contextmanager
def consumer(app: App, *, acting: bool = True, account: str = "default") -> Iterator[Consumer]:
    """The home's consumer; `acting` as in `provider`."""
    network = chosen_network(app)
    with (
        Consumer.open(
            app.home, app.passphrase, account=account, progress=app.progress, exclusive=acting, network=network
        ) as opened,
        signing(app, opened),
    ):
        yield opened


def tell_elsewhere(app: App, session: Consumer | Provider, rest: str) -> None:
    """Name the command that looks at each other Exchange this home has worked with, since a command looks at one."""
    for file, network in session.home.networks_beside(session.chain.exchange).items():
        there = App(app.home, app.as_json, None, None, str(file))
        exchange = network.contracts["Exchange"].address
        app.note(f"what you have at Exchange {exchange} is shown by: {there.command(rest)}")


def chosen_network(app: App) -> Network | None:
    """The network.toml that --network or ASSET_BRIDGE_NETWORK names; None: the home's own."""
    return None if app.network is None else read_network(app.network)


@contextmanager
def resumable(app: App, command: Callable[[], str]) -> Iterator[None]:
    """Whatever stops the work, Ctrl-C included, names the one command that goes on with it."""
    try:
        yield
    except KeyboardInterrupt:
        raise StoppedError("cli.stopped", "stopped", hint=f"resume with: {app.command(command())}") from None
    except (UnavailableError, TamperedError, StoppedError) as error:
        hint = f"{error.hint.rstrip('.')}; resume with: " if error.hint else "resume with: "
        raise type(error)(error.code, error.message, hint=hint + app.command(command()), actor=error.actor) from None


def label(order_or_asset_id: bytes) -> str:
    """An id as suggested commands write it: enough digits to be the only one."""
    return "0x" + order_or_asset_id.hex()[:LABEL_DIGITS]


def node_label(known_as: str, name: str) -> str:
    """A node by what the policy calls its operator, beside its id."""
    return f"{known_as or '(not in the policy)'}  {name}"


def holder_lines(
    threshold: int,
    chosen: Sequence[ChosenNode],
    refused: Iterable[tuple[str, Sequence[str]]],
    names: Mapping[str, str],
) -> list[str]:
    """Who gets a share, who was refused and why, and how many must act together."""
    lines = [
        f"share to   {node_label(node.known_as, node.name)}  operator {node.operator}  tee: {node.tee}"
        for node in chosen
    ]
    lines += [f"refused    {node_label(names.get(name, ''), name)}: {', '.join(codes)}" for name, codes in refused]
    return [*lines, f"needed     {threshold} of {len(chosen)} shares must act together"]


def needs_policy(session: Provider | Consumer) -> str:
    """What `approve` and `reseal` must be given where the home holds no policy of its own."""
    return "" if session.home.policy_path.exists() else " --policy FILE"


def following(session: Provider | Consumer, status: Status) -> str:
    """The command after this status, with the words that only this home knows are needed; who can only wait is told how."""
    if not status.next_command and status.state not in DONE:
        return f"status {label(status.order_id)} --wait"
    verb = status.next_command.partition(" ")[0]
    return status.next_command + (needs_policy(session) if verb in ("approve", "reseal") else "")


def pick(text: str, ids: Iterable[bytes], what: str, where: str) -> bytes:
    """The id that `text` starts, among `ids`.

    Raises:
        InputError(cli.id): not hex, shorter than 6 digits, unknown, or the start of several.
    """
    digits = text.removeprefix("0x").rstrip("…").lower()
    if not re.fullmatch(rf"[0-9a-f]{{{_MIN_ID_DIGITS},64}}", digits):
        raise InputError(
            "cli.id", f"{text!r} is not the start of an id: at least {_MIN_ID_DIGITS} hex digits", hint=where
        )
    if len(digits) == 64:
        return bytes.fromhex(digits)
    found = {one for one in ids if one.hex().startswith(digits)}
    if len(found) != 1:
        reason = f"no {what} starts with" if not found else f"{len(found)} {what}s start with"
        raise InputError("cli.id", f"{reason} 0x{digits}", hint=where)
    return found.pop()


def pick_order(session: Provider | Consumer, text: str) -> bytes:
    """An order of this account by the start of its id."""
    known = (status.order_id for status in session.orders()) if len(text) < 66 else ()
    return pick(text, known, "order", "`asset-bridge status` lists your orders")


def pick_asset(session: Provider | Consumer, text: str) -> bytes:
    """A listed asset by the start of its id."""
    known = (entry.asset.asset_id for entry in session.catalog()) if len(text) < 66 else ()
    return pick(text, known, "asset", "`asset-bridge catalog` lists what is for sale")


def cost_lines(*sent: Sent | None) -> list[str]:
    """One line a transaction: what it did, its hash, block and price."""
    return [
        f"transaction {one.verb}: {short(one.transaction_hash)} in block {one.block.number}, "
        f"{one.gas_used} gas, {amount(one.cost_wei)}"
        for one in sent
        if one is not None
    ]


def wei_of(text: str, decimals: int = 18) -> int:
    """An amount in whole units, exact: "0.25" → 250000000000000000."""
    part = rf"(?:\.([0-9]{{1,{decimals}}}))?" if decimals else "()"
    found = re.fullmatch(rf"([0-9]{{1,30}}){part}", text.strip())
    if not found:
        hint = f"write it as 0.25, with at most {decimals} decimals" if decimals else "write a whole number"
        raise InputError("cli.amount", f"{text!r} is not an amount", hint=hint)
    part = (found[2] or "").ljust(decimals, "0")
    return int(found[1] + part)


def token_of(text: str | None) -> str:
    """The address after `--token`; the native coin without one. Raises InputError(chain.address)."""
    return ZERO_ADDRESS if text is None else checksum_address(address_bytes(text))


def size_of(text: str) -> int:
    """A number of bytes as people type it: 500GB, 1.5TB, 64MiB, or plain bytes."""
    found = re.fullmatch(r"([0-9]{1,15})(?:\.([0-9]{1,3}))?\s*([kmgt]?)(i?)b?", text.strip().lower())
    if not found or (found[4] and not found[3]):
        raise InputError("cli.size", f"{text!r} is not a size", hint="write it as 500GB or 64MiB")
    unit: int = (1024 if found[4] else 1000) ** (" kmgt".index(found[3]) if found[3] else 0)
    part = found[2] or "0"
    return int(found[1]) * unit + int(part) * unit // int(10 ** len(part))


PERIOD_NAMES = ("approve", "pay", "deliver", "window", "answer", "access")


def periods_of(given: Iterable[str], start: Periods) -> Periods:
    """`start` with the periods that `--period name=duration` options change."""
    values = {name: getattr(start, f"{name}_seconds") for name in PERIOD_NAMES}
    for text in given:
        name, _, duration = text.partition("=")
        if name not in values or not duration:
            raise InputError(
                "cli.period", f"{text!r} is not NAME=DURATION", hint=f"names: {', '.join(PERIOD_NAMES)}; as in pay=14d"
            )
        values[name] = seconds_of(duration)
    return Periods(**{f"{name}_seconds": value for name, value in values.items()})


period_option = click.option(
    "--period", "period", multiple=True, metavar="NAME=DURATION", help="A deadline for future requests, as in pay=14d."
)
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")
token_option = click.option(
    "--token", metavar="ADDRESS", help="A token that the network allows as a price [the chain's coin]."
)
order_argument = click.argument("order", metavar="ORDER")
asset_argument = click.argument("asset", metavar="ASSET")
