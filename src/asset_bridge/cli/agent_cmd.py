"""`asset-bridge agent`: the owner's daemon. It opens the home for each turn, so that other commands find it free in between."""

from __future__ import annotations

import time
from pathlib import Path
from threading import Event

import click

from asset_bridge.agent.duties import Agent, Done
from asset_bridge.cli.agent_acks import AckServer
from asset_bridge.cli.app import App, common, examples
from asset_bridge.cli.output import short
from asset_bridge.cli.session import cost_lines, provider
from asset_bridge.client.examine import examiner_of
from asset_bridge.client.verifiers import load_policy
from asset_bridge.errors import BridgeError, InputError, UnavailableError
from asset_bridge.vault.home import Home

DEFAULT_EVERY_SECONDS = 15
"""Four turns a minute: a restarted TEE node has its share again within 60 seconds."""
_file = click.Path(path_type=Path, exists=True)


@click.command(
    "agent",
    epilog=examples(
        "asset-bridge agent --policy policy.toml",
        "asset-bridge agent --once --json",
        "asset-bridge agent --ack 127.0.0.1:8460 --behind-proxy   # after `account ack https://…`",
    ),
)
@click.option("--policy", type=_file, help="What it may do [HOME/policy.toml].")
@click.option(
    "--every", type=click.IntRange(1, 3600), default=DEFAULT_EVERY_SECONDS, show_default=True, help="Seconds."
)
@click.option("--once", is_flag=True, help="One turn, then end.")
@click.option("--ack", metavar="HOST:PORT", help="Also acknowledge receipts of your deliveries there (`account ack`).")
@click.option("--tls-certificate", type=_file, help="With --ack: the certificate chain, PEM.")
@click.option("--tls-key", type=_file, help="With --ack: its key, PEM.")
@click.option("--behind-proxy", is_flag=True, help="With --ack: a proxy of yours ends TLS.")
@common
def agent(
    app: App,
    *,
    policy: Path | None,
    every: int,
    once: bool,
    ack: str | None,
    tls_certificate: Path | None,
    tls_key: Path | None,
    behind_proxy: bool,
) -> None:
    """Watch the inbox, seal lost shares again, record receipts. Answers challenges of your deliveries with the nodes' fragments.

    Approves and accepts only if the policy's [agent] says so; `reseal = false` and `answer = false` there switch those off.

    Runs until Ctrl-C. Each turn takes the home's lock; a turn that finds the home in use is left out.
    """
    daemon = Agent(load_policy(Home.open(app.home), policy).agent)
    app.passphrase()
    if ack is None:
        if tls_certificate or tls_key or behind_proxy:
            raise InputError(
                "cli.ack", "--tls-certificate, --tls-key and --behind-proxy belong to --ack", hint="--help"
            )
        app.note("agent: running; stop it with Ctrl-C")
        _turns(app, daemon, policy, every, once=once)
        return
    if once:
        raise InputError("cli.ack", "--once and --ack exclude each other", hint="give one of them")
    server = AckServer(app, ack)
    app.note("agent: running; stop it with Ctrl-C")
    server.serve(
        lambda ended: _turns(app, daemon, policy, every, server=server, ended=ended),
        certificate=tls_certificate,
        key=tls_key,
        behind_proxy=behind_proxy,
    )


def _turns(
    app: App,
    daemon: Agent,
    policy: Path | None,
    every: int,
    *,
    once: bool = False,
    server: AckServer | None = None,
    ended: Event | None = None,
) -> None:
    """One turn after the other; with a server a failed turn is told and the next one tries again."""
    while ended is None or not ended.is_set():
        done: list[Done] = []
        try:
            with provider(app) as session:
                for item in daemon.turn(session.desk, lambda: examiner_of(session.desk, session.home, policy)):
                    done.append(item)
                    app.note(_line(item))
                for line in cost_lines(*(server.acks.sweep(session.desk.account) if server is not None else ())):
                    app.note(line)
        except BridgeError as error:
            if once or not (server is not None or isinstance(error, UnavailableError)):
                raise
            app.note(f"agent: {error.message} [{error.code}]; trying again")
        if once:
            lines = [_line(item) for item in done] or ["nothing to do"]
            app.result({"done": done}, lines, next_command=app.command("status"))
            return
        if ended is None:
            time.sleep(every)
        else:
            ended.wait(every)


def _line(item: Done) -> str:
    return f"{short(item.order_id)}  {item.verb}: {item.told}{f' [{item.code}]' if item.code else ''}"
