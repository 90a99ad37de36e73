"""The storage nodes and the files' replicas for people (`node status storage`)."""

from __future__ import annotations

from typing import Any

from asset_bridge.cli.output import clean, moment, short, size, table
from asset_bridge.client.storage import Storage, StorageNodeStatus
from asset_bridge.trade.replica_report import FileReplicas


def storage_lines(found: Storage) -> list[str]:
    """Nodes first, then the bodies of one's own, then the files with their replicas; whatever is wrong has a line of its own."""
    rows = [_node_row(one) for one in found.nodes]
    lines = table(rows, ("NODE", "OPERATOR", "STORE", "FREE", "BODIES", "BYTES")) if rows else ["no storage nodes"]
    lines += [f"{short(one.node.node_id)}  {clean(one.problem)}" for one in found.nodes if one.problem]
    for one in found.nodes:
        if one.bodies:
            lines += [
                "",
                f"bodies of {short(one.node.node_id)}",
                *table(map(_body_row, one.bodies), ("ROOT", "SIZE", "STATE")),
            ]
    names = {one.node.node_id: short(one.node.node_id) for one in found.nodes}
    for light, report in found.audits.items():
        when = f"last audit {moment(report.audited_at)}" if report.audited_at else "not audited yet"
        lines += ["", f"{light}: {len(report.files)} files, {report.wanted} replicas wanted, {when}"]
        if report.files:
            rows = [_file_row(one, report.wanted, names) for one in report.files]
            lines += table(rows, ("ROOT", "SIZE", "KIND", "REPLICAS", "STATE"))
        for one_file in report.files:
            lines += _trouble(one_file)
    lines += [f"{name}: no list of replicas ({clean(why)})" for name, why in found.silent.items()]
    return lines


def _node_row(one: StorageNodeStatus) -> tuple[str, ...]:
    free = one.info.get("free_bytes")
    bodies = "–" if one.bodies is None else str(len(one.bodies))
    used = "–" if one.bodies is None else size(sum(_length(body) for body in one.bodies))
    return (
        short(one.node.node_id),
        one.node.operator,
        clean(str(one.info.get("store", "–")))[:24],
        size(max(0, free)) if isinstance(free, int) else "–",
        bodies,
        used,
    )


def _body_row(body: dict[str, Any]) -> tuple[str, ...]:
    return (
        clean(str(body.get("root", "")))[:64],
        size(_length(body)),
        "whole" if body.get("complete") is True else "import",
    )


def _length(body: dict[str, Any]) -> int:
    value = body.get("length")
    return value if isinstance(value, int) and value >= 0 else 0


def _file_row(one: FileReplicas, wanted: int, names: dict[bytes, str]) -> tuple[str, ...]:
    held = ", ".join(names.get(node_id, short(node_id)) for node_id in one.held_by)
    state = "not audited" if one.audit is None else "good"
    if one.audit is not None and one.audit.missing_count:
        state = f"{one.audit.missing_count} blocks lost"
    elif len(one.held_by) < wanted:
        state = f"{wanted - len(one.held_by)} short"
    elif one.audit is not None and one.audit.repaired:
        state = "repaired"
    return one.root, size(one.length_bytes), clean(one.purpose), held, state


def _trouble(one: FileReplicas) -> list[str]:
    """What the audit found wrong with a file, a line each."""
    audit = one.audit
    if audit is None:
        return []
    lines = [f"{one.root}  {clean(name)}: {clean(code)}" for name, code in audit.damage.items()]
    lines += [f"{one.root}  repaired: {clean(name)}" for name in audit.repaired]
    lines += [f"{one.root}  lost: {clean(name)}" for name in audit.lost]
    lines += [f"{one.root}  no replica gives block {cid}" for cid in audit.missing_blocks]
    return lines
