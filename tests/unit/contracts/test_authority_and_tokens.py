"""Verbs by signature (EIP-712, ERC-1271) and payment in a token with permit (spec §2, §5)."""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi import encode
from eth_hash.auto import keccak

from tests.unit.contracts.world import DAY, START, ZERO, Order, Role, World, account_of, mock, pack_periods, refuses

N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def cancel(world: World, order: Order, authority: bytes) -> None:
    world.exchange.cancel(
        order.order_id, order.terms, order.card, order.table_hash, authority, sender=world.stranger.address
    )


def test_anyone_may_submit_a_signed_verb_once(world: World) -> None:
    """Attack: a nonce that was used is given to another verb of the same account, on the same contract."""
    first, second = world.request(), world.request()
    authority = world.authority(world.consumer, "Cancel", world.exchange, order=first.order_id, nonce=77)
    cancel(world, first, authority)
    assert world.exchange.nonce_used(world.consumer.address, 77)
    assert not world.exchange.nonce_used(world.consumer.address, 76)
    again = world.authority(world.consumer, "Cancel", world.exchange, order=second.order_id, nonce=77)
    with refuses("authority: nonce is used"):
        cancel(world, second, again)
    cancel(
        world,
        second,
        world.authority(world.consumer, "Cancel", world.exchange, order=second.order_id, nonce=2**256 - 1),
    )


@pytest.mark.parametrize("case", ["order", "verb", "contract", "chain", "account", "high s", "flipped", "zero account"])
def test_a_signature_counts_for_one_act_only(world: World, case: str) -> None:
    """Attack: a signature is shown for another order, verb, contract, chain or account than the one that it was given for (I7)."""
    order, other = world.request(), world.request()
    if case == "chain":
        world.chain_id = 1
    name = "Revoke" if case == "verb" else "Cancel"
    contract = world.grants if case == "contract" else world.exchange
    target = other.order_id if case == "order" else order.order_id
    authority = world.authority(world.consumer, name, contract, order=target)
    world.chain_id = 31337
    if case == "account":
        authority = bytes.fromhex(world.provider.address[2:]) + authority[20:]
    if case == "zero account":
        authority = bytes(20) + authority[20:60] + bytes(64) + b"\x1b"
    if case == "flipped":
        authority = authority[:-1] + bytes([55 - authority[-1]])
    if case == "high s":
        s = N - int.from_bytes(authority[92:124], "big")
        authority = authority[:92] + s.to_bytes(32, "big") + bytes([55 - authority[124]])
    with refuses("authority: signature is not the account's"):
        cancel(world, order, authority)
    with refuses("authority: too short"):
        cancel(world, order, authority[:60])


def test_a_signature_ends_at_its_deadline(world: World) -> None:
    order, late = world.request(), world.request()
    signed = [
        world.authority(world.consumer, "Cancel", world.exchange, order=o.order_id, deadline=START + 10)
        for o in (order, late)
    ]
    world.move_to(START + 10)
    cancel(world, order, signed[0])
    world.move_to(START + 11)
    with refuses("authority: deadline has passed"):
        cancel(world, late, signed[1])


def test_a_whole_trade_is_submitted_by_a_stranger(world: World) -> None:
    """Gasless: provider and consumer sign, somebody else sends; the consumer's account never pays for gas."""
    asset, stranger = world.publish(), world.stranger.address
    arguments, order = world.request_arguments(asset, world.consumer.address)
    authority = world.authority(
        world.consumer,
        "Request",
        world.exchange,
        order=order.order_id,
        fetchSigner=arguments[3],
        periods=asset.offer[3],
        card=asset.card,
        formLength=900,
    )
    changed = list(arguments)
    changed[3] = stranger
    with refuses("authority: signature is not the account's"):
        world.exchange.request(*changed, authority, sender=stranger)
    world.exchange.request(*arguments, authority, sender=stranger)
    approval = world.approve_arguments(order)
    names = ("threshold", "precursor", "shares", "sealedShares", "sealedKpq", "reply", "replyLength")
    fields = dict(zip(names, approval[3:], strict=True))
    authority = world.authority(world.provider, "Approve", world.grants, order=order.order_id, generation=1, **fields)
    with refuses("authority: signature is not the account's"):
        world.grants.approve(*approval[:7], b"\1" * 1168, *approval[8:], authority, sender=stranger)
    world.grants.approve(*approval, authority, sender=stranger)
    authority = world.authority(
        world.consumer,
        "Pay",
        world.exchange,
        order=order.order_id,
        token=ZERO,
        price=order.terms[5],
        table=order.table_hash,
    )
    world.exchange.pay(
        order.order_id,
        order.terms,
        order.card,
        order.table,
        world.accepts(order),
        b"",
        authority,
        sender=stranger,
        value=order.terms[5],
    )
    world.note_payment(order)
    world.record(order)
    authority = world.authority(world.consumer, "AcceptDelivery", world.exchange, order=order.order_id)
    world.settle(order, world.stranger, authority=authority)
    account = account_of(world.provider)
    authority = world.authority(world.provider, "Claim", world.exchange, account=account, token=ZERO)
    world.exchange.claim(ZERO, account, authority, sender=stranger)
    authority = world.authority(world.provider, "Revoke", world.grants, order=order.order_id)
    world.grants.revoke(
        order.order_id, order.terms, order.card, order.table_hash, order.progress_hash, authority, sender=stranger
    )
    assert world.state(order) == "settled"


def test_a_contract_account_signs_by_erc_1271(world: World) -> None:
    wallet = mock("Wallet", world.consumer.address)
    asset = world.publish()
    order = world.request(asset, consumer=str(wallet.address))
    values: dict[str, Any] = {"wallet": str(wallet.address), "order": order.order_id}
    wrong = world.authority(world.stranger, "Cancel", world.exchange, **values)
    with refuses("authority: signature is not the account's"):
        cancel(world, order, wrong)
    cancel(world, order, world.authority(world.consumer, "Cancel", world.exchange, **values))
    assert world.state(order) == "cancelled"
    values["wallet"] = str(world.token.address)
    with refuses("authority: signature is not the account's"):
        cancel(world, world.request(asset), world.authority(world.consumer, "Cancel", world.exchange, **values))


def token_order(world: World) -> Order:
    asset = world.publish(offer_terms=(1_000_001, world.token.address, bytes(32), pack_periods()))
    order = world.approve(world.request(asset))
    world.token.mint(world.consumer.address, 5_000_000)
    return order


def pay_in_token(world: World, order: Order, permit: bytes = b"", value: int = 0, sender: Role | None = None) -> None:
    world.exchange.pay(
        order.order_id,
        order.terms,
        order.card,
        order.table,
        world.accepts(order),
        permit,
        b"",
        sender=(sender or world.consumer).address,
        value=value,
    )
    world.note_payment(order)


def permit_of(world: World, amount: int) -> tuple[bytes, tuple[Any, ...]]:
    """A permit as `pay` takes it, and as the token takes it."""
    owner, spender, deadline = world.consumer, str(world.exchange.address), START + DAY
    domain_type = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    permit_type = b"Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
    domain = encode(
        ["bytes32"] * 3 + ["uint256", "address"],
        [keccak(domain_type), keccak(b"Token"), keccak(b"1"), 31337, str(world.token.address)],
    )
    message = encode(
        ["bytes32", "address", "address", "uint256", "uint256", "uint256"],
        [keccak(permit_type), owner.address, spender, amount, world.token.nonces(owner.address), deadline],
    )
    signature = owner.sign(keccak(b"\x19\x01" + keccak(domain) + keccak(message)))
    parts = (amount, deadline, signature[64], signature[:32], signature[32:64])
    return encode(["uint256", "uint256", "uint256", "bytes32", "bytes32"], parts), (owner.address, spender, *parts)


def test_a_trade_in_a_token_is_exact(world: World) -> None:
    order = token_order(world)
    with refuses("exchange: price is in a token"):
        pay_in_token(world, order, value=1)
    world.token.approve(world.exchange.address, 1_000_001, sender=world.consumer.address)
    pay_in_token(world, order)
    token = world.token.address
    assert world.token.balanceOf(world.exchange.address) == 1_000_001
    world.settle(world.record(order))
    accounts = [account_of(world.provider), account_of(world.stranger), world.light.node_id]
    accounts += [node.node_id for node in (*world.tees[:2], *world.storage)]
    assert sum(world.balance(account, token) for account in accounts) == 1_000_001
    due = world.balance(accounts[0], token)
    world.exchange.claim(token, accounts[0], b"", sender=world.provider.address)
    assert world.token.balanceOf(world.payee.address) == due


def test_a_token_refund(world: World) -> None:
    order = token_order(world)
    world.token.approve(world.exchange.address, 1_000_001, sender=world.consumer.address)
    pay_in_token(world, order)
    world.move_to(world.deadline(order) + world.grace)
    world.refund(order, claim_now=True, sender=world.consumer)
    assert world.token.balanceOf(world.consumer.address) == 5_000_000


@pytest.mark.parametrize("front_run", [False, True])
def test_a_permit_that_was_front_run_does_not_stop_the_payment(world: World, front_run: bool) -> None:
    """Attack: somebody takes the permit out of a pending payment and sends it first, so that the payment reverts."""
    order = token_order(world)
    packed, direct = permit_of(world, 1_000_001)
    if front_run:
        world.token.permit(*direct, sender=world.stranger.address)
    pay_in_token(world, order, packed)
    assert world.state(order) == "paid"


def test_permits_have_one_length_and_no_place_beside_coins(world: World) -> None:
    order = token_order(world)
    packed, _ = permit_of(world, 1_000_001)
    with refuses("exchange: wrong length"):
        pay_in_token(world, order, packed[:-1])
    with refuses("exchange: value is not the price"):
        plain = world.approve()
        pay_in_token(world, plain, packed, value=plain.terms[5])


@pytest.mark.parametrize(("fee", "answer"), [(1, True), (0, False)])
def test_a_token_that_keeps_a_fee_or_says_no_is_refused(world: World, fee: int, answer: bool) -> None:
    """Attack: a token moves less than the price or nothing, so that the contract owes more than it holds."""
    order = token_order(world)
    world.token.approve(world.exchange.address, 1_000_001, sender=world.consumer.address)
    world.token.behave(fee, answer)
    with refuses("exchange: token did not arrive"):
        pay_in_token(world, order)


def test_a_token_that_answers_nothing_is_paid_in_and_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "token", mock("SilentToken"))
    world.ledger.list_token(world.token.address, sender=world.governor.address)
    order = token_order(world)
    world.token.approve(world.exchange.address, 1_000_001, sender=world.consumer.address)
    pay_in_token(world, order)
    assert world.token.balanceOf(world.exchange.address) == 1_000_001
    world.move_to(world.deadline(order) + world.grace)
    world.refund(order, claim_now=True, sender=world.consumer)
    assert world.token.balanceOf(world.consumer.address) == 5_000_000


def test_a_payout_that_a_token_denies_stays_a_balance(world: World) -> None:
    order, account = token_order(world), account_of(world.consumer)
    world.token.approve(world.exchange.address, 1_000_001, sender=world.consumer.address)
    pay_in_token(world, order)
    world.move_to(world.deadline(order) + world.grace)
    world.refund(order)
    world.token.behave(0, False)
    with refuses("exchange: transfer failed"):
        world.exchange.claim(world.token.address, account, b"", sender=world.consumer.address)
    assert world.balance(account, world.token.address) == 1_000_001
    world.token.behave(0, True)
    world.exchange.claim(world.token.address, account, b"", sender=world.consumer.address)
    assert world.token.balanceOf(world.consumer.address) == 5_000_000


def test_a_token_taken_from_the_list_ends_requests_and_not_orders(world: World) -> None:
    order = token_order(world)
    world.ledger.remove_token(world.token.address, sender=world.governor.address)
    with refuses("ledger: token is not allowed"):
        world.request(order.asset)
    world.token.approve(world.exchange.address, 1_000_001, sender=world.consumer.address)
    pay_in_token(world, order)
    world.settle(world.record(order))
