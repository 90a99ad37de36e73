"""`asset-bridge node start|list|status|renew|withdraw`: for operators of light, storage and TEE nodes."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import click

from asset_bridge.attestation.appraise import Accepted, Appraisal
from asset_bridge.attestation.refusal import EXPLAINED
from asset_bridge.chain.records import Node, NodeKind
from asset_bridge.cli.app import App, common, examples
from asset_bridge.cli.node_import import import_
from asset_bridge.cli.output import amount, ask, jsonable, moment, remaining, short, table
from asset_bridge.cli.session import chosen_network, consumer, cost_lines, pick, provider, size_of, wei_of, yes_option
from asset_bridge.cli.storage_table import storage_lines
from asset_bridge.client.examine import verdicts
from asset_bridge.errors import BridgeError, RefusedError
from asset_bridge.ipfs.kubo.program import obtain_kubo
from asset_bridge.nodes.node_file import FILE_NAME, NodeFile
from asset_bridge.nodes.run import renew_node, run_node

KIND_NAMES = {NodeKind.LIGHT: "light", NodeKind.TEE: "tee", NodeKind.STORAGE: "storage"}
kind_choice = click.Choice(["light", "storage", "tee"])


@click.group(
    "node",
    epilog=examples(
        "asset-bridge node list tee", "asset-bridge node start light --port 8443 --public-url https://light.example"
    ),
)
def node() -> None:
    """Run a light, storage or TEE node, and look at those of the network."""


node.add_command(import_)


@node.command(
    "start",
    epilog=examples(
        "asset-bridge node start storage --port 8081",
        "asset-bridge node start storage --kubo --storage-max 500GB",
        "asset-bridge node start light --host 0.0.0.0 --port 8443 --tls-certificate cert.pem --tls-key key.pem \\",
        "    --public-url https://light.example:8443",
    ),
)
@click.argument("kind", type=kind_choice)
@click.option("--folder", type=click.Path(path_type=Path), help="The node's folder [HOME/nodes/KIND].")
@click.option("--host", default=None, help="Address to listen on [127.0.0.1].")
@click.option("--port", type=click.IntRange(0, 65535), default=None, help="Port to listen on; 0 takes a free one.")
@click.option("--public-url", default=None, help="The URL under which others reach this node.")
@click.option("--behind-proxy", is_flag=True, default=None, help="A proxy in front of this node ends TLS.")
@click.option("--tls-certificate", type=click.Path(path_type=Path, exists=True), help="PEM chain.")
@click.option("--tls-key", type=click.Path(path_type=Path, exists=True), help="PEM key.")
@click.option("--stake", default=None, help="Stake in whole coins, at registration.")
@click.option("--attester", default=None, help="TEE nodes: tsm, nitro, azure-snp, tpm-simulated or simulated.")
@click.option("--platform", type=click.Path(path_type=Path, exists=True), help="TEE nodes, simulated: platform folder.")
@click.option("--measurement", default=None, help="TEE nodes, simulated: 32 bytes of hex.")
@click.option("--kubo", is_flag=True, default=None, help="Storage nodes: keep blocks in a kubo that this node runs.")
@click.option(
    "--kubo-api", default=None, help="Storage nodes: the RPC of a kubo that runs already, as http://127.0.0.1:5001."
)
@click.option(
    "--kubo-secret-file", type=click.Path(path_type=Path, exists=True), help="The bearer token for --kubo-api."
)
@click.option(
    "--storage-max", default=None, help="Storage nodes with --kubo: the most to use, as 500GB [the whole disk]."
)
@click.option("--swarm-key", type=click.Path(path_type=Path, exists=True), help="With --kubo: a private network's key.")
@click.option(
    "--swarm-listen", multiple=True, help="With --kubo: multiaddress for other kubos, as /ip4/10.0.0.5/tcp/4001."
)
@common
def start(
    app: App,
    *,
    kind: str,
    folder: Path | None,
    stake: str | None,
    tls_certificate: Path | None,
    tls_key: Path | None,
    platform: Path | None,
    kubo_secret_file: Path | None,
    storage_max: str | None,
    swarm_key: Path | None,
    swarm_listen: tuple[str, ...],
    **given: object,
) -> None:
    """Run a node in the foreground. The first start writes node.toml and registers the node with a stake; later starts read it.

    The operator's account is the home's. Ctrl-C stops the node; a TEE node's keys end with it. A storage node keeps its blocks in its
    folder, or with --kubo in an IPFS node that starts and stops with it (docs/howto/storage-kubo.md).
    """
    where = (folder or app.home / "nodes" / kind).absolute()
    known = (where / FILE_NAME).exists()
    file = NodeFile.load(where) if known else NodeFile(where, kind, app.home, os.urandom(32), stake_wei=10**18)
    if file.kind != kind:
        raise RefusedError(
            "cli.node-kind", f"{where} is the folder of a {file.kind} node", hint="name another --folder"
        )
    if kind != "storage" and any((given["kubo"], given["kubo_api"], storage_max, swarm_key, swarm_listen)):
        raise RefusedError("cli.node-kind", "only storage nodes keep blocks in kubo", hint="leave these options out")
    changes: dict[str, object] = {name: value for name, value in given.items() if value is not None}
    for name, path in (
        ("tls_certificate", tls_certificate),
        ("tls_key", tls_key),
        ("platform", platform),
        ("kubo_secret_file", kubo_secret_file),
        ("swarm_key", swarm_key),
    ):
        if path is not None:
            changes[name] = str(path.absolute())
    if stake is not None:
        changes["stake_wei"] = wei_of(stake)
    if storage_max is not None:
        changes["storage_max_bytes"] = size_of(storage_max)
    if swarm_listen:
        changes["swarm_listen"] = swarm_listen
    file = replace(file, **changes)  # type: ignore[arg-type]
    if changes or not known:
        file.save()
    if file.kubo and not file.kubo_api:
        obtain_kubo(app.note)
    app.note(f"{kind} node in {where}; stop it with Ctrl-C")
    run_node(file, app.passphrase, chosen_network(app))


@node.command(
    "list", epilog=examples("asset-bridge node list", "asset-bridge node list tee --policy policy.toml --json")
)
@click.argument("kind", type=kind_choice, required=False)
@click.option(
    "--policy", type=click.Path(path_type=Path, exists=True), help="Which TEE nodes you trust [HOME/policy.toml]."
)
@common
def ls(app: App, *, kind: str | None, policy: Path | None) -> None:
    """List the registered nodes; `list tee` also challenges each TEE node and says what your policy thinks of it."""
    with consumer(app, acting=False) as session:
        found = [one for one in session.nodes() if kind in (None, KIND_NAMES[one.kind])]
        judged = verdicts(session.desk, session.home, policy) if kind == "tee" else {}
        now = int(time.time())
        rows = [
            (
                short(one.node_id),
                KIND_NAMES[one.kind],
                one.operator,
                _tee(one),
                "live" if one.live else "not live",
                remaining(one.current.expires_at - now),
                *((_verdict(judged.get(one.node_id)),) if judged else ()),
            )
            for one in found
        ]
        heads = ("NODE", "KIND", "OPERATOR", "TEE", "REGISTRY", "EXPIRES IN", *(("VERDICT",) if judged else ()))
        lines = table(rows, heads) if rows else ["no nodes"]
        lines += [f"{short(one.node_id)}  {line}" for one in found for line in _reasons(judged.get(one.node_id))]
        if kind == "tee" and not judged:
            lines.append("no policy names anybody, so no node was asked for evidence: give --policy FILE")
        data = [
            {**jsonable(one), "verdict": _verdict(judged.get(one.node_id)), "reasons": _codes(judged.get(one.node_id))}
            for one in found
        ]
        app.result(data if kind == "tee" else found, lines, next_command=app.command("node status NODE"))


def _verdict(found: Appraisal | None) -> str:
    return "not asked" if found is None else "accepted" if isinstance(found, Accepted) else "refused"


def _codes(found: Appraisal | None) -> list[str]:
    return [] if found is None else [code.value for code in found.codes]


def _reasons(found: Appraisal | None) -> list[str]:
    return [f"{EXPLAINED[code]} [{code.value}]" for code in found.codes] if found is not None else []


@node.command(
    "status", epilog=examples("asset-bridge node status 0x9a8b7c6d5e4f", "asset-bridge node status storage --json")
)
@click.argument("node_id", metavar="NODE")
@common
def status(app: App, *, node_id: str) -> None:
    """Show one node: what the registry says and what the node itself answers.

    With `storage` for NODE: the network's storage nodes, the bodies of those that you operate, and, for operators of storage nodes, each
    file's replicas and what the light nodes' last audits found.
    """
    with consumer(app, acting=False) as session:
        if node_id == "storage":
            found = session.storage()
            data = {"nodes": found.nodes, "audits": found.audits, "silent": found.silent}
            app.result(data, storage_lines(found), next_command=app.command("node list storage"))
            return
        one = _find(session.nodes(), node_id)
        lines = [
            f"node       0x{one.node_id.hex()}",
            f"kind       {KIND_NAMES[one.kind]}{_tee_line(one)}",
            f"operator   {one.operator}",
            f"registry   {'live' if one.live else 'not live'}, epoch {one.current.epoch}, "
            f"expires {moment(one.current.expires_at)}, stake {amount(one.stake_wei)}",
        ]
        answer: dict[str, object] = {}
        try:
            answer = session.ask_node(one)
            lines += [f"{name:<10} {value}" for name, value in answer.items() if not isinstance(value, dict | list)]
        except BridgeError as error:
            lines.append(f"answer     none: {error.message}")
        app.result({"registry": one, "answer": answer}, lines, next_command=app.command("node list"))


@node.command("renew", epilog=examples("asset-bridge node renew --folder ~/.asset-bridge/nodes/storage"))
@click.option("--folder", type=click.Path(path_type=Path, exists=True), required=True, help="The node's folder.")
@common
def renew(app: App, *, folder: Path) -> None:
    """Renew the registration of a light or storage node that is not running. Running nodes and TEE nodes renew themselves."""
    epoch = renew_node(NodeFile.load(folder.absolute()), app.passphrase, chosen_network(app))
    app.result({"epoch": epoch}, [f"registered, epoch {epoch}"], next_command=app.command("node list"))


@node.command("withdraw", epilog=examples("asset-bridge node withdraw 0x9a8b7c6d5e4f"))
@click.argument("node_id", metavar="NODE")
@yes_option
@common
def withdraw(app: App, *, node_id: str, yes: bool) -> None:
    """Take NODE out of the registry for good and its stake back, once the last order it guarantees is over."""
    with provider(app) as session:
        one = _find(session.nodes(), node_id)
        if not ask(f"Withdraw this node and its stake of {amount(one.stake_wei)} for good?", yes=yes or app.as_json):
            raise RefusedError("cli.not-confirmed", "nothing was withdrawn", hint="answer y, or give --yes")
        sent = session.withdraw_node(one.node_id)
        lines = [f"node       0x{one.node_id.hex()} withdrawn", *cost_lines(sent)]
        app.result({"node_id": one.node_id, "sent": sent}, lines, next_command=app.command("balance"))


def _find(nodes: list[Node], text: str) -> Node:
    by_id = {one.node_id: one for one in nodes}
    chosen = pick(text, by_id, "node", "`asset-bridge node list` lists the nodes")
    if chosen not in by_id:
        raise RefusedError("cli.no-node", f"no node {short(chosen)} is registered", hint="asset-bridge node list")
    return by_id[chosen]


def _tee(one: Node) -> str:
    return one.tee or "–"


def _tee_line(one: Node) -> str:
    return f", tee: {_tee(one)}, measurement {short(one.current.measurement_id)}" if one.kind is NodeKind.TEE else ""
