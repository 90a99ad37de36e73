"""`asset-bridge regenerate` and `consent`: new shares of an order, and the consumer's word for them once he has paid."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from shlex import quote

import click

from asset_bridge.cli.app import App, common, examples
from asset_bridge.cli.output import ask, moment, short
from asset_bridge.cli.session import (
    consumer,
    cost_lines,
    holder_lines,
    label,
    order_argument,
    pick_order,
    provider,
    yes_option,
)
from asset_bridge.cli.signing import signable
from asset_bridge.errors import InputError, RefusedError
from asset_bridge.trade.documents.new_generation import MAX_DOCUMENT_BYTES, decode_new_generation
from asset_bridge.vault.files import written_only_if_whole

_NEW_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(
    "regenerate",
    epilog=examples(
        "asset-bridge regenerate 0x1f2e3d4c5b6a --policy policy.toml                  # not paid yet: at once",
        "asset-bridge regenerate 0x1f2e3d4c5b6a --propose shares.json --shares 5      # paid: ask the consumer",
        "asset-bridge regenerate 0x1f2e3d4c5b6a --agreed shares-agreed.json           # … and send what he agreed to",
    ),
)
@order_argument
@click.option("--policy", type=click.Path(path_type=Path, exists=True), help="Which TEE nodes you trust (TOML).")
@click.option("--threshold", type=int, help="How many TEE nodes must act together [the policy's].")
@click.option("--shares", type=int, help="How many TEE nodes get a share [the policy's].")
@click.option(
    "--propose", type=_NEW_FILE, metavar="FILE", help="Send nothing: write new shares for the consumer to agree to."
)
@click.option("--agreed", type=_NEW_FILE, metavar="FILE", help="Send the shares that the consumer agreed to.")
@yes_option
@common
@signable
def regenerate(
    app: App,
    *,
    order: str,
    policy: Path | None,
    threshold: int | None,
    shares: int | None,
    propose: Path | None,
    agreed: Path | None,
    yes: bool,
) -> None:
    """Replace all shares of ORDER by new ones: for other TEE nodes, or another threshold.

    Use it when a node is gone for good or not trusted any more; after a mere restart `reseal` is enough and cheaper. The old shares
    count no more, and nodes destroy their keys. Until payment you do it alone. Afterwards the consumer has to agree, within 24 hours:
    give him the file of --propose; he runs `asset-bridge consent` and gives a file back, which you send with --agreed.
    """
    _one_way(propose, agreed, making=(policy, threshold, shares))
    with provider(app) as session:
        order_id = pick_order(session, order)
        if propose is not None:
            app.note("asking each TEE node for fresh evidence and verifying it here …")
            made = session.propose_shares(order_id, policy=policy, threshold=threshold, shares=shares)
            with written_only_if_whole(propose) as out:
                out.write(made.document)
            lines = [f"file       {propose}", *holder_lines(made.threshold, made.chosen, made.refused, made.names)]
            lines.append(f"until      {moment(made.expires_at)}; nothing was sent, the present shares go on")
            lines.append("Give the file to the consumer, who runs: asset-bridge consent FILE")
            following = f"asset-bridge regenerate {label(order_id)} --agreed FILE"
            app.result(made, lines, next_command=following)
            return
        document = _read(agreed) if agreed is not None else None
        if document is not None and decode_new_generation(document).order_id != order_id:
            raise InputError("cli.regenerate", "the file is about another order", hint="name the order of the file")
        if not ask("Replace all shares of this order?", yes=yes or app.as_json):
            raise RefusedError("cli.not-confirmed", "nothing was changed", hint="answer y, or give --yes")
        if document is not None:
            done = session.regenerate_agreed(document)
        else:
            app.note("asking each TEE node for fresh evidence and verifying it here …")
            done = session.regenerate(order_id, policy=policy, threshold=threshold, shares=shares)
        lines = [f"order      0x{order_id.hex()}, shares of generation {done.generation}"]
        lines += holder_lines(done.threshold, done.chosen, done.refused, done.names)
        lines.append(f"accepted   {done.accepted} of {len(done.chosen)} nodes opened their share and signed")
        app.result(done, [*lines, *cost_lines(*done.sent)], next_command=app.command(f"status {label(order_id)}"))


@click.command(
    "consent",
    epilog=examples("asset-bridge consent shares.json", "asset-bridge consent shares.json -o agreed.json --yes"),
)
@click.argument("file", metavar="FILE", type=_NEW_FILE)
@click.option("-o", "--output", type=_NEW_FILE, help="Where to write the answer for the provider [FILE-agreed.json].")
@yes_option
@common
def consent(app: App, *, file: Path, output: Path | None, yes: bool) -> None:
    """Agree to the new shares in FILE, which the provider of a paid order made; nothing is sent.

    First this machine proves to itself that every set of the new shares opens the data, as it did before you paid, and downloads the
    whole ciphertext where the delivery is not settled yet. The answer then also holds your request for the data: with it the provider
    can have the delivery recorded, as after a `fetch`.
    """
    answer = output if output is not None else file.with_name(f"{file.stem}-agreed.json")
    document = _read(file)
    if answer.exists():
        raise InputError("cli.exists", f"{answer} exists", hint="name a file that is not there yet with -o")
    given = decode_new_generation(document)
    with consumer(app) as session:
        order_id = pick_order(session, "0x" + given.order_id.hex())
        app.note(f"order      {label(order_id)}: shares of generation {given.generation} in place of the present ones")
        app.note(f"needed     {given.threshold} of {len(given.slots)} shares must act together")
        for slot in given.slots:
            app.note(f"share to   {short(slot.node_id)}")
        if not ask("Agree, if these shares open the data?", yes=yes or app.as_json):
            raise RefusedError("cli.not-confirmed", "nothing was signed", hint="answer y, or give --yes")
        done = session.consent(document)
        with written_only_if_whole(answer) as out:
            out.write(done.document)
        lines = [
            "checked    every set of the new shares opens this asset, and each node accepted its share",
            f"file       {answer}",
            f"until      {moment(done.expires_at)}; your consent cannot be taken back before",
            "Nothing was sent. Give the file to the provider, who sends it with `regenerate --agreed`.",
        ]
        app.result(done, lines, next_command=app.command(f"status {label(order_id)}"))


def _one_way(propose: Path | None, agreed: Path | None, making: Iterable[object]) -> None:
    """InputError(cli.regenerate) for options that contradict each other."""
    if propose is not None and agreed is not None:
        raise InputError("cli.regenerate", "--propose and --agreed are two steps", hint="give one of them")
    if agreed is not None and any(option is not None for option in making):
        raise InputError(
            "cli.regenerate",
            "--policy, --threshold and --shares were chosen when the shares were proposed",
            hint="give --agreed alone, or propose again",
        )
    if propose is not None and propose.exists():
        raise InputError("cli.exists", f"{propose} exists", hint="name a file that is not there yet")


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise InputError("cli.regenerate", f"there is no file {quote(str(path))}", hint="name the file of new shares")
    with path.open("rb") as source:
        return source.read(MAX_DOCUMENT_BYTES + 1)
