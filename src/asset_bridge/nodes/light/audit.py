"""The replicas' audit: blocks are asked for and verified, losses repaired from good copies, r restored.

Source: design §6 (a claim of being pinned is not believed), spec/node-http.md §9.4. Each round draws random blocks of every file from
each of its replicas and reads on where the last round stopped, so that damage anywhere is found within blocks / BLOCKS_A_ROUND rounds and,
by chance, sooner. Promises: a replica counts as good only after it gave right bytes in this round; damage found is repaired in this round
as far as any replica still has the block; what no replica has is named. Does not promise: to find damage of a single block at once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from asset_bridge.errors import BridgeError, TamperedError, UnavailableError
from asset_bridge.ipfs.multi import MultiSource
from asset_bridge.ipld.cid import Cid
from asset_bridge.nodes.light.replicas import Replica
from asset_bridge.nodes.light.uploads import Upload, Uploads, copy_body

BLOCKS_A_ROUND = 8
MOST_NAMED = 64
_LOG = logging.getLogger("asset_bridge.light")


@dataclass(frozen=True, slots=True)
class Finding:
    """One file's round.

    `good`, `repaired`, `lost`: names of replicas; `damage`: what was wrong with those not good, by name. `missing_replicas`: how many are
    short of r. `missing_blocks`: blocks that no replica reached in this round gives (at most MOST_NAMED of `missing_count`); while there
    are any, the file cannot be delivered whole.
    """

    root: Cid
    good: tuple[str, ...]
    repaired: tuple[str, ...]
    lost: tuple[str, ...]
    missing_replicas: int
    damage: tuple[tuple[str, str], ...] = ()
    missing_blocks: tuple[Cid, ...] = ()
    missing_count: int = 0


def audit(uploads: Uploads, *, blocks: int = BLOCKS_A_ROUND) -> list[Finding]:
    """One round over every file that this light node put on storage."""
    found = [_audit_one(uploads, upload, blocks) for upload in uploads.finished()]
    for finding in found:
        _report(finding)
    return found


def _audit_one(uploads: Uploads, upload: Upload, blocks: int) -> Finding:
    good: list[Replica] = []
    bad: list[Replica] = []
    damage: dict[str, str] = {}
    start = uploads.next_sweep(upload.root, blocks)

    def look(replica: Replica) -> None:
        try:
            uploads.read_back(replica, upload, blocks, sweep=range(start, start + blocks))
            good.append(replica)
        except BridgeError as error:
            bad.append(replica)
            damage[replica.name] = error.code

    for replica in uploads.named(upload.held_by):
        look(replica)
    # Who held it once and was away may be back, and with all the others damaged it may be the one that has it.
    for replica in uploads.named(node_id for node_id in upload.chosen if node_id not in upload.held_by):
        if len(good) < uploads.wanted:
            look(replica)
    source = MultiSource([*good, *bad])  # even when none passed whole, each may still have blocks that the others lost
    repaired: list[Replica] = []
    missing: dict[Cid, None] = {}
    for replica in bad:
        if len(good) + len(repaired) < uploads.wanted or replica.node_id in upload.held_by:
            lacking = _repair(source, replica, upload)
            if lacking == ():
                repaired.append(replica)
            missing.update(dict.fromkeys(lacking or ()))
    named_by_others = {failure.source for failure in source.bad}
    for replica in [replica for replica in good if replica.name in named_by_others]:  # its sample was good, it is not
        damage[replica.name] = "ipfs.block-damaged"
        good.remove(replica)
        if _repair(source, replica, upload) == ():
            repaired.append(replica)
    held = [*good, *repaired]
    if not held and not missing:
        missing = dict.fromkeys(_nowhere(source, upload))
    if missing:
        held = []  # no replica is whole, also those whose sample was good
    if held and len(held) < uploads.wanted:
        for replica in uploads.candidates(without=(*held, *bad), beside=held):
            if len(held) >= uploads.wanted:
                break
            if _repair(source, replica, upload) == ():
                held.append(replica)
                repaired.append(replica)
    if held:
        uploads.set_held_by(upload, (replica.node_id for replica in held))
    known = {replica.node_id for replica in (*good, *bad)}
    lost = [r.name for r in bad if r not in repaired and r.node_id in upload.held_by]
    lost += [f"storage node 0x{node_id.hex()[:8]}" for node_id in upload.held_by if node_id not in known]
    return Finding(
        upload.root,
        tuple(replica.name for replica in good),
        tuple(replica.name for replica in repaired),
        tuple(lost),
        max(0, uploads.wanted - len(held)),
        tuple(damage.items()),
        tuple(missing)[:MOST_NAMED],
        len(missing),
    )


def _repair(source: MultiSource, replica: Replica, upload: Upload) -> tuple[Cid, ...] | None:
    """Give a replica every block that it lacks or damaged, and read all of it.

    Returns the blocks that it still lacks because nobody has them: () when all of it reads right; None when it does not take part.
    """
    lacking: list[Cid] = []
    try:
        if not replica.begin(upload.root, upload.length_bytes).complete:
            copy_body(source, replica, upload.root, upload.length_bytes)
        dag = source.tree(upload.root, upload.length_bytes)
        for cid in dict.fromkeys((*dag.interior, *dag.leaves)):
            if _reads(replica, cid):
                continue
            try:
                block = source.get_block(cid.to_bytes())
            except (UnavailableError, TamperedError):
                lacking.append(cid)
                continue
            replica.put_block(upload.root, cid, block)
            replica.get_block(cid.to_bytes())
    except BridgeError:
        return tuple(lacking) or None
    return tuple(lacking)


def _reads(replica: Replica, cid: Cid) -> bool:
    try:
        replica.get_block(cid.to_bytes())
    except BridgeError as error:
        if not isinstance(error, TamperedError) and error.code != "ipfs.block-missing":
            raise
        return False
    return True


def _nowhere(source: MultiSource, upload: Upload) -> list[Cid]:
    """Blocks that no replica gives; the root alone when not even the tree can be read."""
    try:
        dag = source.tree(upload.root, upload.length_bytes)
    except BridgeError:
        return [upload.root]
    return [cid for cid in dict.fromkeys(dag.leaves) if not _gives(source, cid)]


def _gives(source: MultiSource, cid: Cid) -> bool:
    try:
        source.get_block(cid.to_bytes())
    except BridgeError:
        return False
    return True


def _report(finding: Finding) -> None:
    """A line for the operator about everything that was not as it must be."""
    if not (finding.damage or finding.repaired or finding.lost or finding.missing_replicas):
        return
    fields = {
        "root": str(finding.root),
        "damage": dict(finding.damage),
        "repaired": list(finding.repaired),
        "lost": list(finding.lost),
        "missing_replicas": finding.missing_replicas,
        "missing_blocks": _names(finding.missing_blocks),
        "missing_count": finding.missing_count,
    }
    level = logging.ERROR if finding.missing_count else logging.WARNING
    _LOG.log(level, "audit", extra={"fields": fields})


def _names(cids: Sequence[Cid]) -> list[str]:
    return [str(cid) for cid in cids]
