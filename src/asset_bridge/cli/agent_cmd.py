"""`asset-bridge agent`: the owner's daemon. It opens the home for each turn, so that other commands find it free in between."""

from __future__ import annotations

import time
from pathlib import Path

import click

from asset_bridge.agent.duties import Agent, Done
from asset_bridge.cli.app import App, common, examples
from asset_bridge.cli.output import short
from asset_bridge.cli.session import provider
from asset_bridge.client.examine import examiner_of
from asset_bridge.client.verifiers import load_policy
from asset_bridge.errors import BridgeError, UnavailableError
from asset_bridge.vault.home import Home

DEFAULT_EVERY_SECONDS = 15
"""Four turns a minute: a restarted TEE node has its share again within 60 seconds."""


@click.command("agent", epilog=examples("asset-bridge agent --policy policy.toml", "asset-bridge agent --once --json"))
@click.option("--policy", type=click.Path(path_type=Path, exists=True), help="What it may do [HOME/policy.toml].")
@click.option(
    "--every", type=click.IntRange(1, 3600), default=DEFAULT_EVERY_SECONDS, show_default=True, help="Seconds."
)
@click.option("--once", is_flag=True, help="One turn, then end.")
@common
def agent(app: App, *, policy: Path | None, every: int, once: bool) -> None:
    """Watch the inbox, seal lost shares again, record receipts. Answers challenges of your deliveries with the nodes' fragments.

    Approves and accepts only if the policy's [agent] says so; `reseal = false` and `answer = false` there switch those off.

    Runs until Ctrl-C. Each turn takes the home's lock; a turn that finds the home in use is left out.
    """
    daemon = Agent(load_policy(Home.open(app.home), policy).agent)
    app.passphrase()
    app.note("agent: running; stop it with Ctrl-C")
    while True:
        done: list[Done] = []
        try:
            with provider(app) as session:
                for item in daemon.turn(session.desk, lambda: examiner_of(session.desk, session.home, policy)):
                    done.append(item)
                    app.note(_line(item))
        except BridgeError as error:
            if once or not isinstance(error, UnavailableError):
                raise
            app.note(f"agent: {error.message} [{error.code}]; trying again")
        if once:
            lines = [_line(item) for item in done] or ["nothing to do"]
            app.result({"done": done}, lines, next_command=app.command("status"))
            return
        time.sleep(every)


def _line(item: Done) -> str:
    return f"{short(item.order_id)}  {item.verb}: {item.told}{f' [{item.code}]' if item.code else ''}"
