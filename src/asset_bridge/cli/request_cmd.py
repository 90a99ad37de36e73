"""`asset-bridge request`: apply for an asset with a form that only its provider can read."""

from __future__ import annotations

import json
from pathlib import Path

import click

from asset_bridge.cli.app import App, common, examples
from asset_bridge.cli.output import ask, moment
from asset_bridge.cli.session import asset_argument, consumer, cost_lines, label, pick_asset, yes_option
from asset_bridge.cli.signing import signable
from asset_bridge.client import DEFAULT_TEMPLATE, example_application, validate_application
from asset_bridge.errors import InputError, RefusedError


@click.command(
    "request",
    epilog=examples(
        "asset-bridge request 0x0a1b2c3d4e5f --example > application.json",
        "asset-bridge request 0x0a1b2c3d4e5f --application application.json --attach ethics-vote.pdf",
    ),
)
@asset_argument
@click.option("--application", type=click.Path(path_type=Path, exists=True), help="Your application, a JSON file.")
@click.option("--attach", type=click.Path(path_type=Path, exists=True), multiple=True, help="A document; repeatable.")
@click.option("--example", is_flag=True, help="Print an application to fill in, and stop.")
@click.option("--account", default="default", help="Act with another account of this home (see limits: privacy).")
@yes_option
@common
@signable
def request(
    app: App, *, asset: str, application: Path | None, attach: tuple[Path, ...], example: bool, account: str, yes: bool
) -> None:
    """Apply for ASSET. The application is checked against the provider's template, sealed for the provider, and sent.

    Nothing is paid now: the provider answers first, then you pay.
    """
    with consumer(app, account=account) as session:
        asset_id = pick_asset(session, asset)
        shown = session.show(asset_id)
        template = (shown.description.template if shown.description else None) or DEFAULT_TEMPLATE
        if example:
            click.echo(json.dumps(example_application(template), indent=2, ensure_ascii=False))
            command = app.command(f"request {label(asset_id)} --application application.json")
            app.note(f"next: write your own answers into application.json, then {command}")
            return
        if application is None:
            raise InputError(
                "cli.request",
                "request needs --application FILE",
                hint=app.command(f"request {label(asset_id)} --example > application.json, then fill that in"),
            )
        try:
            fields = json.loads(application.read_text())
        except ValueError as error:
            raise InputError("cli.request", f"{application} is not JSON: {error}", hint="mend it there") from None
        validate_application(fields, template)
        offer = shown.asset.offer
        app.note(
            f"Price {session.price(offer.price_wei, offer.token)}; the request and its account are public, the application is not."
        )
        if not ask("Send the request?", yes=yes or app.as_json):
            raise RefusedError("cli.not-confirmed", "nothing was sent", hint="answer y, or give --yes")
        done = session.request(asset_id, fields, attach, expect_price_wei=offer.price_wei, expect_token=offer.token)
        status = session.status(done.order_id)
        until = f" until {moment(status.until_at)}" if status.until_at else ""
        lines = [f"order      0x{done.order_id.hex()}", f"waits for  provider{until}", *cost_lines(*done.sent)]
        app.result(done, lines, next_command=app.command(f"status {label(done.order_id)} --wait"))
