"""Verbs that their account signs and another one submits, on the twin and on anvil (spec/signed-verb.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from asset_bridge.chain.actor import Actor
from asset_bridge.chain.records import ZERO_ADDRESS, OrderState
from asset_bridge.chain.signing.account import NothingSent, SigningAccount
from asset_bridge.chain.signing.forms import SignedVerb
from asset_bridge.errors import BridgeError, InputError, RefusedError, TamperedError
from asset_bridge.trade.documents.signed_verb import decode_signed_verb, encode_signed_verb, says
from tests.ports.chain_scene import MEASUREMENT, PRICE_WEI, Scene
from tests.ports.chain_worlds import AnvilWorld, TwinWorld, World


@pytest.fixture(scope="module", params=["twin", pytest.param("anvil", marks=pytest.mark.needs_anvil)])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    if request.param == "twin":
        yield TwinWorld(((255, MEASUREMENT),))
        return
    anvil: Path = request.getfixturevalue("anvil_path")
    with AnvilWorld(anvil, tmp_path_factory.mktemp("anvil"), ((255, MEASUREMENT),)) as made:
        yield made


@pytest.fixture
def scene(world: World, request: pytest.FixtureRequest) -> Scene:
    return world.scene(request.node.name)


@pytest.fixture(scope="module")
def twin() -> TwinWorld:
    """For what the client itself decides, whatever chain is behind it."""
    return TwinWorld(((255, MEASUREMENT),))


@pytest.fixture
def near(twin: TwinWorld, request: pytest.FixtureRequest) -> Scene:
    return twin.scene(request.node.name)


def signed_by(scene: Scene, who: Actor, act: Callable[[Actor], object], seconds: int = 600) -> SignedVerb:
    """What `act` signs, through its document and back."""
    account = SigningAccount(who.reader, who._key, seconds=seconds, randbytes=scene.numbers)
    with pytest.raises(NothingSent) as stopped:
        act(account)
    document = encode_signed_verb(stopped.value.signed)
    assert decode_signed_verb(document) == stopped.value.signed
    return stopped.value.signed


def submitted(scene: Scene, who: Actor, act: Callable[[Actor], object], value_wei: int = 0) -> SignedVerb:
    """Signed by `who`, sent by the scene's stranger; afterwards it is known as done."""
    signed, stranger = signed_by(scene, who, act), scene.recorder
    before = who.reader.coins_wei(who.address)
    given = stranger.examine(signed)
    assert (given.value_wei, given.done) == (value_wei, None)
    assert given.cost.gas > 21_000
    sent = stranger.submit(given)
    again = stranger.examine(signed).done
    assert again is not None
    assert (again.transaction_hash, again.name) == (sent.transaction_hash, given.form.event)
    assert who.reader.coins_wei(who.address) == before, "the account that signed paid nothing"
    return signed


def test_a_whole_trade_is_signed_by_accounts_that_send_nothing(world: World, scene: Scene) -> None:
    """In a token by its permit: list, request, approve, pay, seal again, accept, claim, retire; a stranger sends them all."""
    provider, consumer, reader = scene.provider, scene.consumer, scene.consumer.reader
    token = world.token(permits=True)
    world.give(token, consumer.address, PRICE_WEI)
    listing = scene.listing(token=token)
    submitted(scene, provider, lambda a: a.list_asset(listing))
    asset_id = reader.asset_id_of(provider.address, listing)
    submitted(scene, provider, lambda a: a.set_offer(asset_id, replace(listing.offer, terms_digest=scene.numbers(32))))
    terms = scene.terms(asset_id)
    asked = submitted(scene, consumer, lambda a: a.request(terms))
    order_id = reader.order_id_of(consumer.address, terms)
    assert asked.new_order_id == order_id
    approval = scene.approval(reader.order(order_id))
    submitted(scene, provider, lambda a: a.approve(order_id, approval))
    accepts = [scene.accept(reader.order(order_id), slot) for slot in (0, 1, 2)]
    submitted(scene, consumer, lambda a: a.pay(order_id, accepts))
    order = reader.order(order_id)
    assert (order.state, order.escrow_wei, reader.token_units(consumer.address, token)) == (
        OrderState.PAID,
        PRICE_WEI,
        0,
    )
    old = approval.slots[0]
    new = scene.slot(order, scene.holder(old), approval.precursor, like=old)
    one, accept = replace(approval, slots=(new,)), scene.accept(order, 0, new)
    submitted(scene, provider, lambda a: a.reseal(order_id, 0, one, accept))
    order = reader.order(order_id)
    fetch, receipts = scene.fetch(order), [scene.receipt(order, slot) for slot in (0, 2)]
    submitted(scene, consumer, lambda a: a.accept_receipts(order_id, fetch, receipts))
    assert reader.order(order_id).state is OrderState.SETTLED
    owed = reader.balance_wei(provider.address, token)
    submitted(scene, provider, lambda a: a.claim(token))
    assert reader.token_units(provider.address, token) == owed > 0


def test_the_ends_of_a_trade_are_signed_too(world: World, scene: Scene) -> None:
    provider, consumer, reader = scene.provider, scene.consumer, scene.consumer.reader
    denied, gone = scene.requested(), scene.requested()
    submitted(scene, provider, lambda a: a.deny(denied.order_id, scene.numbers(32), 9))
    submitted(scene, consumer, lambda a: a.cancel(gone.order_id))
    revoked = scene.approved()
    submitted(scene, provider, lambda a: a.revoke(revoked.order_id))
    states = [reader.order(o.order_id).state for o in (denied, gone, revoked)]
    assert states == [OrderState.DENIED, OrderState.CANCELLED, OrderState.REVOKED]
    asset_id = scene.listed()
    submitted(scene, provider, lambda a: a.retire(asset_id))
    assert reader.asset(asset_id).retired
    profile = scene.numbers(32)
    submitted(scene, provider, lambda a: a.set_profile(profile, provider.address, ZERO_ADDRESS))
    submitted(
        scene, provider, lambda a: a.propose_change(provider.address, provider.address, consumer.address, ZERO_ADDRESS)
    )
    submitted(scene, provider, lambda a: a.cancel_change(provider.address))
    body = scene.listing(body=b"a body on the chain")
    submitted(scene, provider, lambda a: a.list_asset(body))


def test_coins_cannot_be_taken_by_a_signature_so_the_submitter_gives_them(world: World, scene: Scene) -> None:
    consumer, reader = scene.consumer, scene.consumer.reader
    order = scene.approved()
    accepts = [scene.accept(order, slot) for slot in (0, 1, 2)]
    submitted(scene, consumer, lambda a: a.pay(order.order_id, accepts), value_wei=PRICE_WEI)
    assert reader.order(order.order_id).escrow_wei == PRICE_WEI
    delivered = scene.delivered()
    signed = signed_by(scene, consumer, lambda a: a.challenge(delivered.order_id))
    given = scene.recorder.examine(signed)
    assert given.value_wei > 0
    scene.recorder.submit(given)
    found = reader.challenge_of(delivered.order_id)
    assert found is not None
    assert found.challenger == consumer.address  # whom the bond comes back to


def test_an_acceptance_outlives_a_delivery_that_somebody_records(scene: Scene) -> None:
    order, reader = scene.paid(), scene.consumer.reader
    fetch, receipts = scene.fetch(order), [scene.receipt(order, slot) for slot in (0, 2)]
    signed = signed_by(scene, scene.consumer, lambda a: a.accept_receipts(order.order_id, fetch, receipts))
    scene.recorder.record_delivery(order.order_id, fetch, receipts)
    given = scene.recorder.examine(signed)
    assert given.form.function == "settle"
    scene.recorder.submit(given)
    assert reader.order(order.order_id).state is OrderState.SETTLED
    delivered = scene.delivered()
    submitted(scene, scene.consumer, lambda a: a.accept_delivery(delivered.order_id))


def test_a_revocation_outlives_a_step_of_its_order(near: Scene) -> None:
    """The preimages are read when it is submitted: it was signed while the order was approved, and takes effect on a paid one."""
    order = near.approved()
    signed = signed_by(near, near.provider, lambda a: a.revoke(order.order_id))
    near.consumer.pay(order.order_id, [near.accept(order, slot) for slot in (0, 1)])
    near.recorder.submit(near.recorder.examine(signed))
    assert near.consumer.reader.order(order.order_id).state is OrderState.REVOKED


def refusal(scene: Scene, signed: SignedVerb) -> BridgeError:
    with pytest.raises(BridgeError) as error:
        scene.recorder.examine(signed)
    return error.value


@pytest.mark.parametrize(
    "field", ["order_id", "account", "nonce", "deadline", "signature", "chain_id", "contract", "form"]
)
def test_a_changed_field_is_refused_before_anything_is_sent(near: Scene, field: str) -> None:
    order, other = near.requested(), near.requested()
    signed = signed_by(near, near.consumer, lambda a: a.cancel(order.order_id))
    if field == "order_id":
        changed = replace(signed, arguments={"order_id": other.order_id})
    elif field == "form":  # another verb over the same order
        challenge = signed_by(near, near.consumer, lambda a: a.challenge(near.delivered().order_id))
        changed = replace(signed, form=challenge.form, contract=challenge.contract)
        order = near.delivered()
        changed = replace(changed, arguments={"order_id": order.order_id})
    else:
        values = {
            "account": near.provider.address,
            "nonce": bytes(31) + b"\x07",
            "deadline": signed.deadline + 1,
            "signature": signed.signature[:-1] + bytes([55 - signed.signature[-1]]),
            "chain_id": 1,
            "contract": near.consumer.reader.ledger,
        }
        changed = replace(signed, **{field: values[field]})  # type: ignore[arg-type]
    error = refusal(near, changed)
    codes = {"chain_id": "chain.signed-chain", "contract": "chain.signed-contract"}
    assert error.code == codes.get(field, "chain.signed-signature")
    assert isinstance(error, TamperedError if error.code == "chain.signed-signature" else InputError)


def test_what_a_signature_does_not_cover_is_refused_by_the_contract(scene: Scene) -> None:
    order = scene.approved()
    accepts = [scene.accept(order, slot) for slot in (0, 1)]
    signed = signed_by(scene, scene.consumer, lambda a: a.pay(order.order_id, accepts))
    packed = signed.arguments["accepts"]
    changed = replace(signed, arguments={**signed.arguments, "accepts": packed[:-1] + bytes([packed[-1] ^ 1])})
    assert isinstance(refusal(scene, changed), RefusedError)


def test_it_ends_at_its_deadline(twin: TwinWorld, near: Scene) -> None:
    order = near.requested()
    signed = signed_by(near, near.consumer, lambda a: a.cancel(order.order_id), seconds=60)
    twin.advance_to(signed.deadline + 1)
    assert refusal(near, signed).code == "chain.signed-expired"


def test_an_approval_is_good_no_longer_than_its_order_keys(near: Scene) -> None:
    order = near.requested()
    expires_at = near.consumer.reader.block().timestamp + 100
    approval = near.approval(order)
    slots = tuple(replace(slot, order_key_expires_at=expires_at) for slot in approval.slots)
    signed = signed_by(near, near.provider, lambda a: a.approve(order.order_id, replace(approval, slots=slots)))
    assert signed.deadline == expires_at - 1


def test_a_nonce_that_another_act_used_is_told_apart_from_one_that_was_submitted(near: Scene) -> None:
    first, second = near.requested(), near.requested()
    signed = signed_by(near, near.consumer, lambda a: a.cancel(first.order_id))
    account = SigningAccount(near.consumer.reader, near.consumer._key, seconds=600, randbytes=lambda _: signed.nonce)
    with pytest.raises(NothingSent) as stopped:
        account.cancel(second.order_id)
    near.recorder.submit(near.recorder.examine(stopped.value.signed))
    assert refusal(near, signed).code == "chain.signed-nonce"


def test_new_shares_that_the_consumer_agreed_to_are_signed(world: World, scene: Scene) -> None:
    order = scene.paid()
    second = scene.approval(order, generation=2, nodes=scene.tees[1:])
    accepts = [scene.accept(replace(order, approval=second), slot) for slot in (0, 1)]
    consent = scene.consumer.new_generation_signature(order.order_id, second)
    submitted(scene, scene.provider, lambda a: a.new_generation(order.order_id, second, consent, accepts))
    found = scene.consumer.reader.order(order.order_id).approval
    assert found is not None
    assert (found.generation, found.slots) == (2, second.slots)


def test_new_shares_without_consent_are_not_signed(near: Scene) -> None:
    """Attack: the signature is kept until the order is paid; then shares count that the consumer never asked for, and he challenges."""
    order = near.approved()
    second = near.approval(order, generation=2, nodes=near.tees[1:])
    account = SigningAccount(near.provider.reader, near.provider._key, seconds=600, randbytes=near.numbers)
    with pytest.raises(InputError) as error:
        account.new_generation(order.order_id, second)
    assert error.value.code == "chain.not-signable"


def test_what_needs_no_signature_is_not_signed(near: Scene) -> None:
    order = near.paid()
    account = SigningAccount(near.consumer.reader, near.consumer._key, seconds=600, randbytes=near.numbers)
    for act in (account.refund, account.settle, lambda o: account.withdraw_node(o), account.expire):
        with pytest.raises(InputError) as error:
            act(order.order_id)
        assert error.value.code == "chain.not-signable"
    assert account.open_balance(ZERO_ADDRESS) is None


def test_a_token_without_a_permit_needs_its_owner(twin: TwinWorld, near: Scene) -> None:
    token = twin.token(permits=False)
    twin.give(token, near.consumer.address, PRICE_WEI)
    order = near.approved(token=token)
    account = SigningAccount(near.consumer.reader, near.consumer._key, seconds=600, randbytes=near.numbers)
    with pytest.raises(InputError) as error:
        account.allow_payment(order.order_id)
    assert error.value.code == "chain.signed-allowance"
    assert near.consumer.address in error.value.message


def test_the_sentence_names_account_act_and_end(near: Scene) -> None:
    order = near.requested()
    signed = signed_by(near, near.consumer, lambda a: a.cancel(order.order_id))
    assert near.consumer.address in says(signed)
    assert f"withdraws order 0x{order.order_id.hex()}" in says(signed)
    assert " UTC." in says(signed)


def test_a_contract_account_is_asked_by_the_contract(scene: Scene) -> None:
    """ERC-1271: what no key signed is left to the chain where the account has code; one without the interface refuses."""
    order = scene.requested()
    signed = signed_by(scene, scene.consumer, lambda a: a.cancel(order.order_id))
    error = refusal(scene, replace(signed, account=scene.consumer.reader.exchange))
    assert isinstance(error, RefusedError)
    assert error.code == "chain.authority.signature-is-not-the-account-s"
