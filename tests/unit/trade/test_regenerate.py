"""New shares of an order: alone before payment, by consent afterwards, and what each side could try with it (protocol §7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asset_bridge.chain.records import ZERO32, AcceptSignature, OrderState
from asset_bridge.errors import BridgeError, InputError, RefusedError, TamperedError, UnavailableError
from asset_bridge.trade import shares as shares_module
from asset_bridge.trade.accept import accept, record_delivery
from asset_bridge.trade.challenge import answer, challenge
from asset_bridge.trade.consent import consent
from asset_bridge.trade.documents.new_generation import NewGeneration, decode_new_generation
from asset_bridge.trade.ports import Signer, TeeNode
from asset_bridge.trade.regenerate import kept_fetch, propose, regenerate, regenerate_agreed
from asset_bridge.trade.revoke import loses_a_challenge
from tests.journeys.test_garbage_approvals import random_secrets
from tests.support.trade_steps import Trade, published


@pytest.fixture
def approved(tmp_path: Path) -> Trade:
    return published(tmp_path).request().approve()


@pytest.fixture
def paid(approved: Trade) -> Trade:
    approved.pay()
    return approved


@pytest.fixture
def delivered(paid: Trade) -> Trade:
    paid.fetch()
    record_delivery(paid.consumer, paid.order_id)
    paid.scene.chain.mine(3)
    return paid


def refused(code: str, call: Callable[[], object]) -> BridgeError:
    with pytest.raises(BridgeError) as caught:
        call()
    assert caught.value.code == code, caught.value
    return caught.value


def proposed(trade: Trade, **how: int) -> NewGeneration:
    return propose(trade.provider, trade.order_id, trade.scene.examiner(), **how).document


def agreed(trade: Trade, **how: int) -> NewGeneration:
    """What comes back from the consumer, through both encodings."""
    given = decode_new_generation(proposed(trade, **how).encode())
    return decode_new_generation(consent(trade.consumer, given, trade.bodies).document.encode())


def lost(trade: Trade, number: int = 0) -> bytes:
    """A node goes and never comes back; its id."""
    trade.scene.tees[number].core = None
    return trade.scene.tees[number].node_id


# ── before payment ──


def test_before_payment_the_provider_alone_replaces_a_node_that_is_gone(approved: Trade) -> None:
    trade = approved
    gone = lost(trade)
    done = regenerate(trade.provider, trade.order_id, trade.scene.examiner(), shares=2)
    assert (done.generation, done.threshold) == (2, 2)
    assert gone not in done.chosen
    assert [node.node_id for node in done.refused] == [gone]
    trade.scene.chain.mine(3)
    approval = trade.provider.reader.order(trade.order_id).approval
    assert approval is not None
    assert (approval.generation, tuple(slot.node_id for slot in approval.slots)) == (2, done.chosen)
    trade.pay()
    trade.fetch()
    trade.assert_same()


def test_the_nodes_destroy_the_keys_of_the_shares_that_were_replaced(approved: Trade) -> None:
    trade = approved
    before = trade.provider.reader.order(trade.order_id).approval
    regenerate(trade.provider, trade.order_id, trade.scene.examiner())
    trade.scene.chain.mine(3)
    assert before is not None
    old = {slot.kem_key_digest for slot in before.slots}
    gone = [word for tee in trade.scene.tees if tee.core is not None for word in tee.core.destroyed(trade.order_id)]
    assert {word.kem_key_digest for word in gone} == old
    assert {(word.generation, word.reason) for word in gone} == {(1, 4)}  # superseded


def test_a_paid_order_is_not_changed_by_the_provider_alone(paid: Trade) -> None:
    """Attack: the provider takes the money and then gives the consumer other shares."""
    trade = paid
    error = refused("trade.consent", lambda: regenerate(trade.provider, trade.order_id, trade.scene.examiner()))
    assert "--propose" in error.hint
    refused("trade.no-consent", lambda: regenerate_agreed(trade.provider, proposed(trade)))
    document = proposed(trade)
    approval = document.approval(trade.provider.reader.order(trade.order_id))
    with pytest.raises(RefusedError):  # not even past the command: the contract asks for the consumer
        trade.provider.account.new_generation(trade.order_id, approval, b"", document.accepts)


def test_a_stranger_and_the_other_side_are_told_whose_step_it_is(paid: Trade) -> None:
    trade = paid
    document = proposed(trade)
    refused("trade.role", lambda: propose(trade.consumer, trade.order_id, trade.scene.examiner()))
    refused("trade.role", lambda: consent(trade.provider, document, trade.bodies))
    refused("trade.role", lambda: regenerate_agreed(trade.consumer, document))
    refused("trade.state", lambda: propose(trade.request().approve().provider, trade.order_id, trade.scene.examiner()))


# ── after payment ──


def test_a_paid_order_goes_on_with_shares_that_both_agreed_on(paid: Trade) -> None:
    trade = paid
    gone = lost(trade, 1)
    done = regenerate_agreed(trade.provider, agreed(trade, shares=2))
    assert (done.generation, len(done.chosen)) == (2, 2)
    assert gone not in done.chosen
    trade.scene.chain.mine(3)
    trade.fetch()
    trade.assert_same()
    record_delivery(trade.consumer, trade.order_id)
    order = trade.consumer.reader.order(trade.order_id)
    assert (order.state, {receipt.generation for receipt in order.delivered_receipts}) == (OrderState.DELIVERED, {2})


def test_a_settled_order_gets_new_shares_without_a_request_for_the_data(delivered: Trade) -> None:
    trade = delivered
    accept(trade.consumer, trade.order_id)
    trade.scene.chain.mine(3)
    document = agreed(trade)
    assert document.fetch == b""
    regenerate_agreed(trade.provider, document)
    assert kept_fetch(trade.provider, trade.order_id, 2) is None


def test_a_challenge_of_new_shares_is_answered_with_the_request_that_came_with_the_consent(delivered: Trade) -> None:
    """Attack: the consumer has the data, agrees to new shares, never asks for them, and challenges the delivery for price and deposits."""
    trade = delivered
    regenerate_agreed(trade.provider, agreed(trade))
    trade.scene.chain.mine(3)
    challenge(trade.consumer, trade.order_id)
    trade.scene.chain.mine(3)
    refused("trade.no-fetch", lambda: answer(trade.scene.desk("bystander"), trade.order_id))
    done = answer(trade.provider, trade.order_id)
    assert (len(done.slots), done.met) == (2, True)


def test_a_revocation_that_would_lose_a_challenge_is_told_apart(delivered: Trade) -> None:
    trade = delivered
    assert not loses_a_challenge(trade.provider, trade.order_id)
    regenerate_agreed(trade.provider, agreed(trade))
    assert loses_a_challenge(trade.provider, trade.order_id)
    accept(trade.consumer, trade.order_id)
    assert not loses_a_challenge(trade.provider, trade.order_id)


def assert_not_sent_without_the_request(trade: Trade) -> None:
    document = agreed(trade)
    refused("trade.no-fetch", lambda: regenerate_agreed(trade.provider, replace(document, fetch=b"")))
    other = trade.provider.signer.sign_digest(ZERO32)
    refused("trade.no-fetch", lambda: regenerate_agreed(trade.provider, replace(document, fetch=other)))
    assert trade.provider.vault.journal.names() == []


def test_a_consent_without_the_request_for_the_data_is_not_sent_before_a_delivery(paid: Trade) -> None:
    """Attack: the same, with a consent from which the request was taken out, or in which it is somebody else's."""
    assert_not_sent_without_the_request(paid)


def test_a_consent_without_the_request_for_the_data_is_not_sent_after_one(delivered: Trade) -> None:
    """Attack: the same once the delivery is recorded, and can be challenged."""
    assert_not_sent_without_the_request(delivered)


def test_what_was_changed_on_its_way_back_is_not_sent(paid: Trade) -> None:
    """Attack: the consumer spoils a blob that he signs for, so that the nodes cannot answer his challenge."""
    trade = paid
    document = proposed(trade)
    junk = replace(document.slots[0], sealed_rk=bytes(80))
    spoilt = replace(document, slots=(junk, *document.slots[1:]))
    signed = consent(trade.consumer, spoilt, trade.bodies).document
    refused("tee.blob", lambda: regenerate_agreed(trade.provider, signed))
    good = consent(trade.consumer, document, trade.bodies).document
    swapped = replace(good, slots=(good.slots[1], good.slots[0], *good.slots[2:]))
    refused("trade.new-shares", lambda: regenerate_agreed(trade.provider, swapped))
    again = regenerate_agreed(trade.provider, good)
    assert again.generation == 2


def test_shares_that_would_not_open_are_not_agreed_to(paid: Trade, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack: the provider has the consumer agree to shares of nothing, which pass every proof that a node can make, and is paid."""
    trade = paid
    good = proposed(trade)
    same = replace(good, accepts=(good.accepts[1], *good.accepts[1:]))
    refused("trade.accept", lambda: consent(trade.consumer, same, trade.bodies))
    first = good.slots[0].node_id
    other = next(
        one for one in proposed(trade, shares=2).accepts if one.node_id == first
    )  # its own word, about another share
    refused(
        "trade.accept", lambda: consent(trade.consumer, replace(good, accepts=(other, *good.accepts[1:])), trade.bodies)
    )
    refused("reencryption.low-degree", lambda: consent(trade.consumer, replace(good, threshold=3), trade.bodies))
    monkeypatch.setattr(shares_module, "make_shares", random_secrets)
    garbage = proposed(trade)
    error = refused("reencryption.garbage-shares", lambda: consent(trade.consumer, garbage, trade.bodies))
    assert isinstance(error, TamperedError)


def test_a_document_of_another_network_order_or_time_is_refused(paid: Trade) -> None:
    trade = paid
    document = agreed(trade)
    for other in (replace(document, chain_id=5), replace(document, exchange=trade.provider.address)):
        refused("trade.network", lambda other=other: consent(trade.consumer, other, trade.bodies))
        refused("trade.network", lambda other=other: regenerate_agreed(trade.provider, other))
    later = replace(document, generation=3)
    refused("trade.generation", lambda: consent(trade.consumer, later, trade.bodies))
    refused("trade.generation", lambda: regenerate_agreed(trade.provider, later))
    regenerate_agreed(trade.provider, document)
    trade.scene.chain.mine(3)
    refused("trade.generation", lambda: regenerate_agreed(trade.provider, document))


def test_after_the_keys_of_the_nodes_have_run_out_nobody_signs(delivered: Trade) -> None:
    trade = delivered
    document = proposed(trade)
    trade.scene.chain.advance_to(document.expires_at() + 1)
    trade.scene.chain.mine(3)
    refused("trade.too-late", lambda: consent(trade.consumer, document, trade.bodies))


def test_a_chosen_node_that_goes_before_the_end_is_named(paid: Trade) -> None:
    trade = paid
    document = agreed(trade)
    gone = lost(trade, 2)
    error = refused("transport.down", lambda: regenerate_agreed(trade.provider, document))
    assert isinstance(error, UnavailableError)
    assert gone.hex()[:8] in error.message
    assert trade.provider.reader.order(trade.order_id).approval.generation == 1  # type: ignore[union-attr]


class Forger:
    """A TEE node whose word for a new share is signed by nobody that the registry knows."""

    def __init__(self, tee: TeeNode, key: Signer) -> None:
        self._tee, self._key = tee, key

    def __getattr__(self, name: str) -> object:
        return getattr(self._tee, name)

    def accept_generation(self, *asked: Any) -> AcceptSignature:
        return replace(self._tee.accept_generation(*asked), signature=self._key.sign_digest(ZERO32))


def test_a_word_that_is_not_the_nodes_is_not_passed_on(paid: Trade) -> None:
    trade = paid
    document = agreed(trade)
    trade.scene.wrap_tee = lambda tee: Forger(tee, trade.consumer.signer)  # type: ignore[return-value]
    refused("trade.accept", lambda: proposed(trade))
    refused("trade.accept", lambda: regenerate_agreed(trade.provider, document))


def test_a_body_that_cannot_be_downloaded_is_not_agreed_to(paid: Trade) -> None:
    """The consent holds the request for the data, so the ciphertext is here first, as before a fetch."""
    trade = paid
    document = proposed(trade)
    for source in trade.scene.sources:
        source.down = True
    error = refused("ipfs.replicas-down", lambda: consent(trade.consumer, document, trade.bodies))
    assert isinstance(error, UnavailableError)
    for source in trade.scene.sources:
        source.down = False
    assert consent(trade.consumer, document, trade.bodies).downloaded_bytes > 0


def test_the_last_generation_is_said(approved: Trade, monkeypatch: pytest.MonkeyPatch) -> None:
    trade = approved
    monkeypatch.setattr("asset_bridge.trade.regenerate.MAX_GENERATION", 1)
    error = refused("trade.generation", lambda: regenerate(trade.provider, trade.order_id, trade.scene.examiner()))
    assert isinstance(error, InputError)
