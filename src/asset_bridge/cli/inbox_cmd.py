"""`asset-bridge inbox`: requests that wait for the provider, each as a page, attachments saved."""

from __future__ import annotations

import time
from pathlib import Path

import click

from asset_bridge.cli.app import App, common
from asset_bridge.cli.output import amount, moment, remaining, short
from asset_bridge.cli.session import provider
from asset_bridge.client import InboxItem
from asset_bridge.vault.files import written_only_if_whole


@click.command("inbox")
@click.option("--save", type=click.Path(path_type=Path, file_okay=False), help="Save attachments into this folder.")
@click.option("--wait", is_flag=True, help="Wait until a request is there.")
@common
def inbox(app: App, *, save: Path | None, wait: bool) -> None:
    """Show the requests that wait for your answer. Each was opened and its signature checked on this machine."""
    with provider(app, acting=False) as session:
        items = session.inbox()
        while wait and not items:
            app.note("waiting for a request (Ctrl-C stops waiting; nothing is lost)")
            session.wait_for_change()
            items = session.inbox()
        lines: list[str] = []
        for item in items:
            lines += [*page(item), *_attachments(item, save), ""]
        first = f"approve 0x{items[0].order.order_id.hex()[:12]}" if items else "inbox --wait"
        app.result(
            [
                {"order_id": item.order.order_id, "application": item.application, "problem": item.problem}
                for item in items
            ],
            lines or ["no request waits for you"],
            next_command=app.command(first),
        )


def page(item: InboxItem) -> list[str]:
    """A request as a page."""
    order = item.order
    head = [
        f"order      0x{order.order_id.hex()}",
        f"asset      {short(order.terms.asset_id)}  {item.asset_title}",
        f"consumer   {order.consumer}",
        f"price      {amount(order.terms.offer.price_wei)}",
        f"answer by  {moment(order.approve_by)} ({remaining(order.approve_by - int(time.time()))})",
    ]
    if item.problem:
        return [*head, f"PROBLEM    {item.problem}"]
    return [
        *head,
        *[f"{name.replace('_', ' '):<22} {_text(value)}" for name, value in (item.application or {}).items()],
    ]


def _text(value: object) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_text(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(_text(inner) for inner in value)
    return str(value)


def _attachments(item: InboxItem, save: Path | None) -> list[str]:
    lines = []
    for number, attachment in enumerate(item.attachments, 1):
        # The name comes from the consumer: only its last part is used, behind a number of ours.
        plain = "".join(c if c.isalnum() or c in "._- " else "_" for c in attachment.name.rpartition("/")[2])[-100:]
        line = f"attachment {plain} ({len(attachment.content)} bytes, {attachment.media_type})"
        if save:
            folder = save / item.order.order_id.hex()[:12]
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            target = folder / f"{number:02d}-{plain.lstrip('.') or 'document'}"
            if not target.exists():
                with written_only_if_whole(target) as out:
                    out.write(attachment.content)
            line += f" saved as {target}"
        lines.append(line)
    return lines
