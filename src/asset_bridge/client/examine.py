"""Whom a home's policy accepts: the verdict on every TEE node, each asked with a nonce of its own.

Source: spec/attestation.md §5. Promises: the same challenge, verifiers and policy as an approval; nothing is sent to the chain.
"""

from __future__ import annotations

from asset_bridge.attestation.appraise import Appraisal
from asset_bridge.attestation.verify import Collateral
from asset_bridge.chain.records import NodeKind
from asset_bridge.client.evidence_file import collateral_of
from asset_bridge.client.verifiers import load_policy, verifiers_for
from asset_bridge.trade.desk import Desk
from asset_bridge.trade.evidence import Examiner
from asset_bridge.trade.shares import examine
from asset_bridge.vault.home import Home


def home_collateral(home: Home) -> Collateral:
    """What lies in HOME/collateral."""
    return collateral_of(home.root / "collateral")


def examiner_of(desk: Desk, home: Home, policy: object) -> Examiner:
    """With what this home examines nodes; what `load_policy` and `verifiers_for` raise."""
    chosen = load_policy(home, policy)
    collateral = home_collateral(home)
    return Examiner(desk.reader, chosen, verifiers_for(chosen), collateral, desk.randbytes, desk.clock)


def verdicts(desk: Desk, home: Home, policy: object = None) -> dict[bytes, Appraisal]:
    """The verdict on each registered TEE node whose epoch lasts, by node id; empty where no policy names anybody.

    Raises: InputError(attestation.policy-chain): the policy is for another chain.
    """
    examiner = examiner_of(desk, home, policy)
    if examiner.policy.names_nobody:
        return {}
    now_at = desk.reader.block().timestamp
    nodes = [node for node in desk.reader.nodes(NodeKind.TEE) if node.current.expires_at > now_at]
    found, _tees = examine(desk, examiner, nodes)
    return {verdict.node_id: verdict for verdict in found}
