"""The golden files are what the code writes, and what it reads back (spec/attestation.md §2 to §6)."""

from __future__ import annotations

import json

from asset_bridge.attestation import evidence, policy_file
from asset_bridge.attestation.binding import Binding
from asset_bridge.attestation.configuration import ChainConfiguration
from asset_bridge.attestation.policy import Policy
from asset_bridge.trade.evidence import OrderKey
from tools.vectors import attestation as vectors

GOLDEN = json.loads((vectors.FOLDER / "golden.json").read_text())
POLICY = (vectors.FOLDER / "policy.toml").read_text()


def test_the_code_writes_the_golden_file() -> None:
    assert vectors.golden() == GOLDEN
    assert policy_file.render(vectors.POLICY) == POLICY


def test_the_golden_values_are_read_back() -> None:
    for item in GOLDEN["bindings"]:
        read = Binding.parse(bytes.fromhex(item["encoded"]))
        assert read.report_data().hex() == item["report_data"]
    assert ChainConfiguration.parse(bytes.fromhex(GOLDEN["configuration"]["encoded"])) == vectors.CONFIGURATION
    claimed = evidence.parse(bytes.fromhex(GOLDEN["evidence"]["encoded"]))
    assert (claimed.kind, claimed.binding.epoch) == ("amd-sev-snp", 3)
    assert OrderKey.parse(bytes.fromhex(GOLDEN["order_key"])).encode().hex() == GOLDEN["order_key"]


def test_the_golden_policy_is_read_back() -> None:
    read: Policy = policy_file.parse(POLICY)
    assert read == vectors.POLICY
