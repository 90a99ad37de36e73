"""`asset-bridge inbox`: requests that wait for the provider, each as a page, attachments saved."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from asset_bridge.cli.app import App, common, examples
from asset_bridge.cli.output import amount, moment, remaining, short
from asset_bridge.cli.session import label, needs_policy, provider, tell_elsewhere
from asset_bridge.client import InboxItem
from asset_bridge.vault.files import written_only_if_whole

LABEL_WIDTH = 48


@click.command("inbox", epilog=examples("asset-bridge inbox --wait", "asset-bridge inbox --save attachments/"))
@click.option("--save", type=click.Path(path_type=Path, file_okay=False), help="Save attachments into this folder.")
@click.option("--wait", is_flag=True, help="Wait until a request is there.")
@common
def inbox(app: App, *, save: Path | None, wait: bool) -> None:
    """Show the requests that wait for your answer. Each was opened and its signature checked on this machine."""
    with provider(app, acting=False) as session:
        tell_elsewhere(app, session, "inbox")
        items = session.inbox()
        if wait and not items:
            app.note(f"waiting for a request to {session.address} (Ctrl-C stops waiting; nothing is lost)")
        while wait and not items:
            session.wait_for_change()
            items = session.inbox()
        lines: list[str] = []
        for item in items:
            offer = item.order.terms.offer
            lines += [*page(item, session.price(offer.price_wei, offer.token)), *_attachments(item, save), ""]
        first = "inbox --wait"
        if items:
            well = next((item for item in items if not item.problem), None)
            first = (
                f"approve {label(well.order_id)}{needs_policy(session)}" if well else f"deny {label(items[0].order_id)}"
            )
        app.result(
            [
                {"order_id": item.order.order_id, "application": item.application, "problem": item.problem}
                for item in items
            ],
            lines or ["no request waits for you"],
            next_command=app.command(first),
        )


def page(item: InboxItem, price: str = "") -> list[str]:
    """A request as a page; `price` in words where it may be in a token."""
    order = item.order
    head = [
        f"order      0x{order.order_id.hex()}",
        f"asset      {short(order.terms.asset_id)}  {item.asset_title}",
        f"consumer   {order.consumer}",
        f"price      {price or amount(order.terms.offer.price_wei)}",
        f"answer by  {moment(order.approve_by)} ({remaining(order.approve_by - int(time.time()))})",
    ]
    if item.problem:
        head.append(f"PROBLEM    {item.problem}")
    if item.application is None:
        return head
    return [*head, "", *_fields(item.application, item.template, "")]


def _fields(values: Mapping[str, Any], shape: Mapping[str, Any], indent: str) -> list[str]:
    """The answers in the template's order under its titles; what the template does not name comes last."""
    shapes = shape.get("properties", {})
    lines: list[str] = []
    for name in [*(name for name in shapes if name in values), *(name for name in values if name not in shapes)]:
        if name == "attachments" and not indent:
            continue  # listed below, as they came
        inner = shapes.get(name, {})
        title, value = str(inner.get("title") or name.replace("_", " ").capitalize()), values[name]
        if isinstance(value, dict):
            lines += [f"{indent}{title}", *_fields(value, inner, indent + "  ")]
        else:
            text = _text(value).replace("\n", "\n" + " " * LABEL_WIDTH + " ")
            lines.append(f"{indent + title:<{LABEL_WIDTH}} {text}")
    return lines


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_text(inner) for inner in value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)


def _attachments(item: InboxItem, save: Path | None) -> list[str]:
    lines = []
    for number, attachment in enumerate(item.attachments, 1):
        # The name comes from the consumer: only its last part is used, behind a number of ours.
        plain = "".join(c if c.isalnum() or c in "._- " else "_" for c in attachment.name.rpartition("/")[2])[-100:]
        line = f"attachment {plain}  ({len(attachment.content)} bytes, {attachment.media_type})"
        if save:
            folder = save / item.order.order_id.hex()[:12]
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            target = folder / f"{number:02d}-{plain.lstrip('.') or 'document'}"
            if not target.exists():
                with written_only_if_whole(target) as out:
                    out.write(attachment.content)
            line += f"  saved as {target}"
        lines.append(line)
    return lines
