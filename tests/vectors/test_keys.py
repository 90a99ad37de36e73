"""Golden derivations, signatures, file keys and envelopes (spec/keys.md)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from asset_bridge.errors import TamperedError
from asset_bridge.keys import file_key, hpke, kem, recovery
from tools.vectors import keys as tool

FOLDER = Path(__file__).resolve().parents[2] / "spec" / "vectors" / "keys"
ENVELOPES = json.loads((FOLDER / "envelopes.json").read_text())


def test_the_golden_files_are_what_the_code_makes() -> None:
    for name, text in tool.build().items():
        assert (FOLDER / name).read_text() == text, name


@pytest.mark.parametrize("label", ENVELOPES)
def test_frozen_envelopes_open(label: str) -> None:
    secret, plaintext, sealed = (bytes.fromhex(ENVELOPES[label][name]) for name in ("secret", "plaintext", "sealed"))
    commit = file_key.pq_commit(tool.K_PQ, tool.CONTAINER)
    consumer = kem.ConsumerHybridSecretKey(secret)

    def open_it(order_id: bytes) -> bytes:
        if label == "kfrag":
            context = {**tool.share_context(), "order_id": order_id}
            return hpke.open_kfrag(kem.ShareSecretKey(secret), sealed, **context).to_secret_bytes()
        if label == "kpq":
            return hpke.open_kpq(consumer, sealed, order_id=order_id, pq_commit=commit)
        if label == "reply":
            return hpke.open_reply(consumer, sealed, order_id=order_id)
        context = {**tool.form_context(), "asset_id": tool.ASSET if order_id == tool.ORDER else order_id}
        return hpke.open_form(kem.FormSecretKey(secret), sealed, **context)

    assert open_it(tool.ORDER) == plaintext
    with pytest.raises(TamperedError) as caught:
        open_it(tool.NONCE)
    assert caught.value.code == "keys.envelope"


@pytest.mark.parametrize("case", json.loads((FOLDER / "recovery.json").read_text()), ids=lambda c: c["threshold"])
def test_frozen_recovery_shares_recover(case: dict[str, Any]) -> None:
    shares = [recovery.RecoveryShare.from_bytes(bytes.fromhex(share)) for share in case["shares"]]
    assert [share.to_text() for share in shares] == case["text"]
    assert recovery.recover(shares[-case["threshold"] :]).hex() == case["secret"]
