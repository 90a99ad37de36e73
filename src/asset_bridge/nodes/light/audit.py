"""The replicas' audit: random blocks are asked for and verified, losses repaired from a good replica, r restored.

Source: design §6 (a claim of being pinned is not believed), spec/node-http.md §9.4. Promises: a replica counts as good only after it gave
right bytes in this round; damage found is repaired in this round if a good replica is left, and reported either way.
Does not promise: to find damage of a single block at once; each round draws new blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

from asset_bridge.errors import BridgeError, TamperedError
from asset_bridge.ipfs.multi import MultiSource
from asset_bridge.ipld.cid import Cid
from asset_bridge.nodes.light.replicas import Replica
from asset_bridge.nodes.light.uploads import Upload, Uploads, copy_body

BLOCKS_A_ROUND = 8


@dataclass(frozen=True, slots=True)
class Finding:
    """One file's round: names of the replicas that were good, repaired and lost, and what is wrong when fewer than r are left."""

    root: Cid
    good: tuple[str, ...]
    repaired: tuple[str, ...]
    lost: tuple[str, ...]
    missing_replicas: int


def audit(uploads: Uploads, *, blocks: int = BLOCKS_A_ROUND) -> list[Finding]:
    """One round over every file that this light node put on storage."""
    return [_audit_one(uploads, upload, blocks) for upload in uploads.finished()]


def _audit_one(uploads: Uploads, upload: Upload, blocks: int) -> Finding:
    good: list[Replica] = []
    bad: list[Replica] = []
    for replica in uploads.named(upload.held_by):
        try:
            uploads.read_back(replica, upload, blocks)
            good.append(replica)
        except BridgeError:
            bad.append(replica)
    # Even when none passed whole, each may still have blocks the others lost.
    source = MultiSource([*good, *bad])
    repaired: list[Replica] = []
    for replica in bad:
        if _repair(source, replica, upload):
            repaired.append(replica)
    held = [*good, *repaired]
    lost = [replica.name for replica in bad if replica not in repaired]
    lost += [
        f"0x{node_id.hex()[:8]}" for node_id in upload.held_by if node_id not in {r.node_id for r in (*good, *bad)}
    ]
    for replica in uploads.candidates(without=[replica.node_id for replica in (*held, *bad)]):
        if len(held) >= uploads.wanted or not held:
            break
        try:
            copy_body(source, replica, upload.root, upload.length_bytes)
            held.append(replica)
            repaired.append(replica)
        except BridgeError:
            continue
    if held:
        uploads.set_held_by(upload, (replica.node_id for replica in held))
    return Finding(
        upload.root,
        tuple(replica.name for replica in good),
        tuple(replica.name for replica in repaired),
        tuple(lost),
        max(0, uploads.wanted - len(held)),
    )


def _repair(source: MultiSource, replica: Replica, upload: Upload) -> bool:
    """Give a replica back every block it lost or damaged; true when all of it reads right afterwards."""
    try:
        copy_body(source, replica, upload.root, upload.length_bytes)
        dag = source.tree(upload.root, upload.length_bytes)
        for cid in (*dag.interior, *dag.leaves):
            try:
                replica.get_block(cid.to_bytes())
            except BridgeError as error:
                if not isinstance(error, TamperedError) and error.code != "ipfs.block-missing":
                    raise
                replica.put_block(upload.root, cid, source.get_block(cid.to_bytes()))
                replica.get_block(cid.to_bytes())
    except BridgeError:
        return False
    return True
