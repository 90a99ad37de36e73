"""`asset-bridge publish`: seal a file or folder here, store the ciphertext, list it."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from asset_bridge.chain.tokens import Token
from asset_bridge.cli.app import App, common, examples
from asset_bridge.cli.output import ask, size, table
from asset_bridge.cli.session import (
    cost_lines,
    period_option,
    periods_of,
    provider,
    resumable,
    token_of,
    token_option,
    wei_of,
    yes_option,
)
from asset_bridge.cli.signing import signable
from asset_bridge.client import Description, Provider
from asset_bridge.errors import InputError, RefusedError
from asset_bridge.vault.crypt4gh import read_secret_key


@click.command(
    "publish",
    epilog=examples(
        'asset-bridge publish records/ --title "Diabetes cohort, synthetic" --price 0.01 --dry-run',
        'asset-bridge publish records/ --title "Diabetes cohort, synthetic" --price 0.01 --terms terms.txt',
        'asset-bridge publish summary.csv --title "Summary table" --on-chain',
        'asset-bridge publish summary.csv --title "Summary table" --price 250 --token 0x52908400098527886E0F7030069857D2E4169EE7',
        "asset-bridge publish --resume",
    ),
)
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option("--title", help="Public title of the asset.")
@click.option("--summary", default="", help="Public summary: what it is, without a patient in it.")
@click.option("--keyword", "keywords", multiple=True, help="Public keyword; may be given several times.")
@click.option("--terms", "terms_file", type=click.Path(path_type=Path, exists=True), help="File with the terms of use.")
@click.option(
    "--template", "template_file", type=click.Path(path_type=Path, exists=True), help="JSON Schema of the form."
)
@click.option("--price", default="0", help="Price in whole coins, or in whole units of --token, as in 0.25.")
@token_option
@click.option("--on-chain", is_flag=True, help="Save the ciphertext itself on the chain (at most 24 KiB, for ever).")
@click.option("--supersedes", default="", metavar="ASSET", help="An earlier asset of yours that this one replaces.")
@click.option(
    "--crypt4gh",
    "crypt4gh_key",
    type=click.Path(path_type=Path, exists=True),
    metavar="SECRET-KEY",
    help="PATH is a Crypt4GH file that this key opens; it is sealed as what it holds, plaintext never on disk.",
)
@click.option("--dry-run", is_flag=True, help="Show what would become public, and stop.")
@click.option("--resume", is_flag=True, help="Finish what an earlier publish left unfinished.")
@period_option
@yes_option
@common
@signable
def publish(
    app: App,
    *,
    path: Path | None,
    title: str | None,
    summary: str,
    keywords: tuple[str, ...],
    terms_file: Path | None,
    template_file: Path | None,
    price: str,
    token: str | None,
    on_chain: bool,
    supersedes: str,
    crypt4gh_key: Path | None,
    dry_run: bool,
    resume: bool,
    period: tuple[str, ...],
    yes: bool,
) -> None:
    """Seal PATH (a file or folder) on this machine and list it for sale.

    What becomes public is shown first. Then: the key is saved, the data is sealed, the ciphertext goes to the storage nodes
    and is read back, one transaction lists it. If it stops half-way, `publish --resume` goes on; sealing is never resumed.
    """
    with provider(app) as session:
        if resume:
            left = session.unfinished()
            if not left:
                raise InputError("cli.nothing-to-resume", "no publish is unfinished", hint=app.command("assets"))
            with resumable(app, lambda: "publish --resume"):
                done = [session.resume_publish(name) for name in left]
            _show(app, done)
            return
        if path is None or not title:
            raise InputError("cli.publish", "publish needs a PATH and a --title", hint="asset-bridge publish --help")
        described = Description.build(title=title, summary=summary, keywords=keywords, template_file=template_file)
        terms = terms_file.read_text() if terms_file else "No terms beyond the law."
        kind = payable(session, token)
        price_units = wei_of(price, kind.decimals)
        arguments = {
            "description": described,
            "terms": terms,
            "price_wei": price_units,
            "token": kind.address,
            "periods": periods_of(period, session.default_periods()),
            "on_chain": on_chain,
            "crypt4gh_key": crypt4gh_secret(crypt4gh_key),
            "supersedes": bytes.fromhex(supersedes.removeprefix("0x")) if supersedes else bytes(32),
        }
        view = session.preview(path, **arguments)
        rows = table([(line.what, line.who, line.how_long) for line in view.lines], ("WHAT", "WHO SEES IT", "HOW LONG"))
        shown = [f"What becomes public ({size(view.body_length_bytes)} of ciphertext):", *(f"  {row}" for row in rows)]
        if view.warning:
            shown += ["", f"WARNING: {view.warning}"]
        if dry_run:
            again = again_of(path, title, price, token)
            app.result(view, [*shown, "", "Nothing was written or sent."], next_command=app.command(again))
            return
        for line in shown:
            app.note(line)
        if not ask(f"Publish {path} at {kind.text(price_units)}?", yes=yes or app.as_json):
            raise RefusedError("cli.not-confirmed", "nothing was published", hint="answer y, or give --yes")
        left = session.unfinished()
        if left:
            app.note(f"an earlier publish is unfinished; finish it with: {app.command('publish --resume')}")

        def how_to_resume() -> str:
            """Finished ciphertext is uploaded later; half a sealing is thrown away, so that one begins anew."""
            if len(session.unfinished()) > len(left):
                return "publish --resume"
            return again_of(path, title, price, token)

        with resumable(app, how_to_resume):
            published = session.publish(path, **arguments)
        _show(app, [published])


def payable(session: Provider, token: str | None) -> Token:
    """What the price is counted in: the coin, or a token that the network allows."""
    address = token_of(token)
    session.chain.require_listed(address)
    return session.token(address)


def again_of(path: Path, title: str, price: str, token: str | None) -> str:
    """The command that begins anew."""
    in_token = f" --token {token}" if token else ""
    return f"publish {shlex.quote(str(path))} --title {shlex.quote(title)} --price {price}{in_token}"


def crypt4gh_secret(path: Path | None) -> bytes | None:
    """The key in that file; its passphrase is asked on the terminal when it has one."""
    if path is None:
        return None
    return read_secret_key(path, lambda: click.prompt(f"Passphrase of {path}", hide_input=True, err=True).encode())


def _show(app: App, results: list) -> None:  # type: ignore[type-arg]
    lines: list[str] = []
    for done in results:
        lines += [
            f"asset      0x{done.asset_id.hex()}",
            f"body       {done.body_cid} ({size(done.body_length_bytes)}, {done.replicas} replicas read back)",
            *cost_lines(*done.sent),
        ]
    lines += ["", f"Back up now, the new key is not in your last backup: {app.command('backup FOLDER')}"]
    app.result(results[0] if len(results) == 1 else results, lines, next_command=app.command("inbox --wait"))
