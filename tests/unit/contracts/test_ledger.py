"""AssetLedger: profiles, listings, offers, retirement (protocol §3)."""

from __future__ import annotations

import hashlib
from copy import copy

import boa
import pytest
from eth_hash.auto import keccak

from tests.unit.contracts.world import DAY, START, ZERO, Role, World, deploy, deploy_refused, pack_periods, refuses
from tools.vectors import contracts as spec


def test_a_listing_is_kept_and_its_key_is_used_once(world: World) -> None:
    listing = world.listing()
    world.ledger.list_asset(*listing.values(), sender=world.provider.address)
    assert world.ledger.asset(world.asset_of(listing).asset_id)[1] == 1
    with refuses("ledger: delegating key is used"):
        world.publish(keys=listing["keys"])


def test_nobody_blocks_a_listing_by_copying_it(world: World) -> None:
    """Attack: a stranger sees the listing in the mempool and lists the same delegating key first."""
    stranger, listing = world.stranger, world.listing()
    world.ledger.set_profile(stranger.address, bytes(32), stranger.address, ZERO, b"", sender=stranger.address)
    copied = {**listing, "provider": stranger.address}
    world.ledger.list_asset(*copied.values(), sender=stranger.address)
    world.ledger.list_asset(*listing.values(), sender=world.provider.address)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"header": b"\1" * 127}, "ledger: wrong length"),
        ({"capsule": b"\1" * 97}, "ledger: wrong length"),
        ({"package": b""}, "ledger: wrong length"),
        ({"keys": b"\1" * 228}, "ledger: wrong length"),
        ({"body_length": 0}, "ledger: body length is out of range"),
        ({"body_length": 2**48 + 1}, "ledger: body length is out of range"),
        ({"offer_terms": (1, ZERO, bytes(32), 0)}, None),
        ({"offer_terms": (1, ZERO, bytes(32), 1 << 192)}, "ledger: malformed periods"),
        ({"offer_terms": (1, ZERO, bytes(32), pack_periods(pay=315_360_001))}, "ledger: period is too long"),
        ({"offer_terms": (1, "0x" + "22" * 20, bytes(32), pack_periods())}, "ledger: token is not allowed"),
        ({"provider": "0x" + "22" * 20}, "ledger: not the owner"),
        ({"body": b"another body"}, "ledger: body does not match"),
    ],
)
def test_listing_refuses(world: World, changes: dict[str, object], reason: str | None) -> None:
    if reason is None:
        world.publish(**changes)
        return
    with refuses(reason):
        world.publish(**changes)


def test_the_signers_point_and_address_are_one_key(world: World) -> None:
    keys = world.listing()["keys"]
    with refuses("ledger: signer's y does not match"):
        world.publish(keys=keys[:164] + bytes([keys[164] ^ 1]) + keys[165:])


@pytest.mark.parametrize("case", ["one replica", "unsorted", "twice", "body", "signer", "epoch", "kind", "ragged"])
def test_the_storage_receipt_is_checked(world: World, case: str) -> None:
    listing = world.listing()
    storage, body = listing["storage"], listing["body_digest"]
    head, first, second = storage[:112], storage[112:144], storage[144:176]
    cases = {
        "one replica": (head + first, "ledger: too few replicas"),
        "ragged": (head + first + second + b"\1", "ledger: too few replicas"),
        "unsorted": (head + second + first, "ledger: storage nodes are not ascending"),
        "twice": (head + first + first, "ledger: storage nodes are not ascending"),
        "body": (world.storage_receipt(world.random(), 1_000_000), "ledger: receipt is not the light node's"),
        "signer": (head[:111] + bytes([head[111] ^ 1]) + storage[112:], "ledger: receipt is not the light node's"),
        "epoch": (head[:39] + b"\2" + storage[40:], "registry: not the current epoch"),
        "kind": (
            world.storage_receipt(body, 1_000_000, light=world.tees[0]),
            "registry: not a light node",
        ),
    }
    changed, reason = cases[case]
    with refuses(reason):
        world.ledger.list_asset(*{**listing, "storage": changed}.values(), sender=world.provider.address)


def test_a_provider_without_profile_cannot_list(world: World) -> None:
    with refuses("ledger: no profile"):
        world.publish(sender=world.stranger, provider=world.stranger.address)


@pytest.mark.parametrize("size", [1, 4096, 24_576])
def test_a_small_body_can_stand_on_chain(world: World, size: int) -> None:
    body = world.random(size)
    asset = world.publish(body=body, body_digest=hashlib.sha256(body).digest(), body_length=size)
    assert world.ledger.asset(asset.asset_id)[1] == 1


def test_listing_by_signature(world: World) -> None:
    listing = world.listing()
    asset = world.asset_of(listing)
    fields = {"asset": asset.asset_id, "offer": spec.offer_hash(asset.offer), "description": listing["description"]}
    authority = world.authority(world.provider, "List", world.ledger, supersedes=bytes(32), **fields)
    arguments = {**listing, "authority": authority}
    with refuses("authority: signature is not the account's"):
        changed = {**arguments, "description": bytes(32)}
        world.ledger.list_asset(*changed.values(), sender=world.stranger.address)
    world.ledger.list_asset(*arguments.values(), sender=world.stranger.address)
    assert world.ledger.asset(asset.asset_id)[1] == 1


def test_an_offer_changes_for_future_requests_only(world: World) -> None:
    asset = world.publish()
    order = world.request(asset)
    new = (5, ZERO, world.random(), pack_periods(), asset.card)
    me, them = world.provider.address, world.stranger.address
    for arguments, sender, reason in (
        ((asset.offer, new), them, "ledger: not the owner"),
        ((new, new), me, "ledger: not the present offer"),
        ((asset.offer, (*new[:4], bytes(32))), me, "ledger: card cannot change"),
        ((asset.offer, (5, them, *new[2:])), me, "ledger: token is not allowed"),
    ):
        with refuses(reason):
            world.ledger.set_offer(asset.asset_id, me, *arguments, b"", sender=sender)
    world.ledger.set_offer(asset.asset_id, me, asset.offer, new, b"", sender=me)
    with refuses("ledger: not the present offer"):
        world.request(asset)
    world.pay(world.approve(order))
    assert world.state(order) == "paid"


def test_retirement_waits_for_paid_orders_and_stops_requests(world: World) -> None:
    order = world.pay()
    asset, me = order.asset, world.provider.address
    arguments = (asset.asset_id, me, spec.offer_hash(asset.offer), b"")
    busy = START + 3 * DAY + world.grace
    assert world.ledger.asset(asset.asset_id)[2] == busy
    world.move_to(busy - 1)
    with refuses("ledger: asset is busy"):
        world.ledger.retire(*arguments, sender=me)
    world.move_to(busy)
    with refuses("ledger: not the owner"):
        world.ledger.retire(*arguments, sender=world.stranger.address)
    world.ledger.retire(*arguments, sender=me)
    for call in (lambda: world.request(asset), lambda: world.ledger.retire(*arguments, sender=me)):
        with refuses("ledger: not listed"):
            call()


def test_payee_and_recovery_change_after_seven_days_only(world: World) -> None:
    me, new = world.provider.address, Role("new payee").address
    with refuses("ledger: payee changes by propose_change"):
        world.ledger.set_profile(me, bytes(32), new, world.recovery.address, b"", sender=me)
    with refuses("ledger: recovery changes by propose_change"):
        world.ledger.set_profile(me, bytes(32), world.payee.address, ZERO, b"", sender=me)
    with refuses("ledger: payee is zero"):
        world.ledger.set_profile(me, bytes(32), ZERO, ZERO, b"", sender=me)
    change = (me, me, new, world.recovery.address)
    with refuses("ledger: not owner or recovery account"):
        world.ledger.propose_change(*change, b"", sender=world.stranger.address)
    world.ledger.propose_change(*change, b"", sender=me)
    with refuses("ledger: a change waits"):
        world.ledger.propose_change(*change, b"", sender=me)
    with refuses("ledger: not the change that waits"):
        world.ledger.apply_change(me, me, world.stranger.address, ZERO)
    world.move_to(START + DAY - 1)
    with refuses("ledger: change is too early"):
        world.ledger.apply_change(*change)
    assert world.ledger.payee_of(me) == world.payee.address
    world.move_to(START + DAY)
    world.ledger.apply_change(*change)
    assert world.ledger.payee_of(me) == new


def test_a_stolen_owner_key_is_stopped_by_the_recovery_account(world: World) -> None:
    """Attack: whoever stole the owner's key redirects the money; the recovery account cancels and takes the owner over."""
    me, thief, new = world.provider.address, world.stranger.address, Role("new owner")
    world.ledger.propose_change(me, thief, thief, thief, b"", sender=me)
    world.ledger.cancel_change(me, b"", sender=world.recovery.address)
    with refuses("ledger: not the change that waits"):
        world.ledger.apply_change(me, thief, thief, thief)
    with refuses("ledger: no change waits"):
        world.ledger.cancel_change(me, b"", sender=me)
    asset = world.publish()
    order = world.request(asset)
    change = (me, new.address, world.payee.address, world.recovery.address)
    world.ledger.propose_change(*change, b"", sender=world.recovery.address)
    world.move_to(START + DAY - 1)
    world.move_to(START + DAY)
    world.ledger.apply_change(*change)
    assert world.ledger.owner_of(me) == new.address
    with refuses("ledger: not the owner"):
        world.publish()
    order = world.request(asset)
    with refuses("grants: not the provider"):
        world.approve(order)
    world.grants.approve(*world.approve_arguments(order), b"", sender=new.address)


def test_nobody_speaks_for_a_provider(world: World) -> None:
    """Attack: a stranger gives a provider a profile with his own payee before it has one, or drops a change that waits."""
    me, them, fresh = world.provider.address, world.stranger.address, Role("new provider").address
    for provider, payee, recovery in ((fresh, them, them), (me, world.payee.address, world.recovery.address)):
        with refuses("ledger: not the owner"):
            world.ledger.set_profile(provider, keccak(b"other"), payee, recovery, b"", sender=them)
    assert world.ledger.payee_of(fresh) == fresh
    change = (me, me, Role("new payee").address, world.recovery.address)
    world.ledger.propose_change(*change, b"", sender=me)
    with refuses("ledger: not owner or recovery account"):
        world.ledger.cancel_change(me, b"", sender=them)
    world.move_to(START + DAY)
    world.ledger.apply_change(*change)
    assert world.ledger.account(me)[3:] == (bytes(32), 0)


def test_a_change_needs_a_profile_and_addresses(world: World) -> None:
    them, me = world.stranger.address, world.provider.address
    with refuses("ledger: no profile"):
        world.ledger.propose_change(them, them, them, ZERO, b"", sender=them)
    with refuses("ledger: zero address"):
        world.ledger.propose_change(me, me, ZERO, ZERO, b"", sender=me)


def test_tokens_and_exchanges_stand_under_the_governor(world: World) -> None:
    asset, token = world.publish(), Role("token").address
    for call in ("list_token", "remove_token", "list_exchange", "close_exchange"):
        with refuses("governor: not the governor"):
            getattr(world.ledger, call)(token, sender=world.stranger.address)
    with boa.env.prank(world.governor.address):
        with refuses("ledger: token is zero or listed"):
            world.ledger.list_token(ZERO)
        world.ledger.list_token(token)
        with refuses("ledger: token is zero or listed"):
            world.ledger.list_token(token)
        with refuses("governor: not a listed exchange"):
            world.ledger.close_exchange(token)
        with refuses("governor: already listed"):
            world.ledger.list_exchange(world.exchange.address)
    with refuses("governor: not a listed exchange"):
        world.ledger.hold(asset.asset_id, 1, sender=world.stranger.address)
    with refuses("ledger: time is too large"):
        world.ledger.hold(asset.asset_id, 2**32, sender=world.exchange.address)


def test_a_closed_exchange_takes_no_request_and_ends_its_orders(world: World) -> None:
    """I10: closing never blocks an exit."""
    asset = world.publish()
    order, paid = world.approve(world.request(asset)), world.pay(world.approve(world.request(asset)))
    world.ledger.close_exchange(world.exchange.address, sender=world.governor.address)
    with refuses("ledger: exchange is closed"):
        world.request(asset)
    world.pay(order)
    world.deliver(order)
    world.settle(order)
    world.move_to(world.deadline(paid) + world.grace)
    world.refund(paid, claim_now=True, sender=world.consumer)
    assert (world.state(order), world.state(paid)) == ("settled", "refunded")


@pytest.mark.parametrize("name", ["approve", "pay", "deliver", "window", "answer", "access"])
def test_each_minimum_is_met_to_the_second(world: World, name: str) -> None:
    """An odd number of seconds, and one less than it."""
    minimum, other = DAY + 1, copy(world)
    odd = pack_periods(**{name: minimum})
    other.ledger = deploy("AssetLedger", world.governor.address, True, world.registry.address, 0, DAY, odd, [])
    me = world.provider.address
    other.ledger.set_profile(me, keccak(b"profile"), me, ZERO, b"", sender=me)
    with refuses("ledger: period is too short"):
        other.publish(offer_terms=(1, ZERO, bytes(32), pack_periods(**{name: minimum - 1})))
    other.publish(offer_terms=(1, ZERO, bytes(32), odd))


def test_periods_have_a_minimum_of_a_day_outside_a_development_deployment(world: World) -> None:
    with boa.env.anchor():
        real = World(development=False)
        real.publish()
        with refuses("ledger: period is too short"):
            real.publish(offer_terms=(1, ZERO, bytes(32), pack_periods(answer=DAY - 1)))
        rest = (real.registry.address, 7 * DAY)
        deploy("AssetLedger", real.governor.address, False, *rest, 7 * DAY, pack_periods(window=2**31), [])
        deploy_refused(
            "ledger: minimum period is too short",
            "AssetLedger",
            real.governor.address,
            False,
            *rest,
            7 * DAY,
            pack_periods(window=DAY - 1),
            [],
        )
        deploy_refused(
            "ledger: change delay is too short",
            "AssetLedger",
            real.governor.address,
            False,
            *rest,
            7 * DAY - 1,
            pack_periods(),
            [],
        )
        deploy_refused(
            "ledger: registry is not a contract",
            "AssetLedger",
            real.governor.address,
            False,
            ZERO,
            7 * DAY,
            7 * DAY,
            pack_periods(),
            [],
        )
    world.move_to(START)
    assert keccak(b"") != bytes(32)
