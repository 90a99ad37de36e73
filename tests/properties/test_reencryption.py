"""Properties of derivation and of the pre-payment check, over drawn values."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asset_bridge import reencryption as pre
from asset_bridge.errors import BridgeError, TamperedError
from asset_bridge.keys import derivation
from asset_bridge.keys.secp256k1 import ORDER, SecretScalar, secret_multiply, shared_point
from asset_bridge.reencryption.opening import combine, half_open, lagrange_at_zero
from tests.support.depth import depth
from tools.vectors.reencryption import Trade, resigned, with_coefficients

EXAMPLES = settings(max_examples=depth("keys_derivation_examples"))
ids32, ids16 = st.binary(min_size=32, max_size=32), st.binary(min_size=16, max_size=16)


def number(secret: SecretScalar) -> int:
    return int.from_bytes(secret.to_secret_bytes(), "big")


@EXAMPLES
@given(seed=ids32, tweak=ids32, first=ids16, second=ids16)
def test_no_additive_relation_between_keys(seed: bytes, tweak: bytes, first: bytes, second: bytes) -> None:
    """From a - (anything public) one never gets another key, the seed or the tweak."""
    one, two = derivation.asset_keys(seed, tweak, first), derivation.asset_keys(seed, tweak, second)
    a, b = number(one.delegating), number(two.delegating)
    public = [int.from_bytes(value, "big") for value in (tweak, first, second, seed)]
    targets = {number(one.signer), number(two.signer), *public}
    targets |= set() if first == second else {b}
    assert not {(a + sign * p) % ORDER for p in public for sign in (1, -1)} & targets
    assert (first == second) == (a == b)


@EXAMPLES
@given(seed=ids32, tweak=ids32, order=ids32, pairs=st.permutations([(2, 2), (2, 3), (3, 3), (3, 4), (5, 8), (16, 16)]))
def test_another_threshold_or_count_gives_other_coefficients(
    seed: bytes, tweak: bytes, order: bytes, pairs: list[tuple[int, int]]
) -> None:
    made = [derivation.share_randomness(seed, tweak, bytes(16), order, 1, t, n) for t, n in pairs]
    values = [number(c) for m in made for c in (m.precursor, *m.coefficients)]
    assert len(set(values)) == len(values)
    names = [name for m in made for name in m.ids]
    assert len(set(names)) == len(names)


def test_every_subset_of_an_accepted_set_gives_w_and_garbage_is_refused() -> None:
    """The meaning of the pre-payment check: whatever passes, every t-subset opens to W; whatever is garbage, fails."""
    draw = random.Random(7)  # the same sets on every run
    for round_number in range(depth("reencryption_pre_payment_sets")):
        shares = draw.randint(2, 6)
        threshold = draw.randint(2, shares)
        trade = Trade(f"drawn {round_number}", threshold, shares)
        arguments = trade.pre_payment()
        draw.shuffle(arguments["slots"])
        half = pre.pre_payment_check(**arguments)
        assert half == half_open(trade.receiving, trade.kfrags[0].x_a)
        for chosen in itertools.combinations(arguments["slots"], threshold):
            first, ratios = lagrange_at_zero([half.index(slot.kfrag_id) for slot in chosen])
            total = combine([slot.u1 for slot in chosen], ratios)
            assert shared_point(secret_multiply(half.shared_secret(), first), total) == trade.w
        secret = SecretScalar.from_wide(draw.randbytes(48))
        coefficients = [SecretScalar.from_wide(draw.randbytes(48)) for _ in range(threshold - 1)]
        garbage = resigned(trade, with_coefficients(trade, secret, *coefficients))
        by_id = {slot.kfrag_id: slot for slot in garbage}
        replaced = draw.randint(1, shares)
        mixed = [by_id[s.kfrag_id] if i < replaced else s for i, s in enumerate(arguments["slots"])]
        draw.shuffle(mixed)
        with pytest.raises(TamperedError) as caught:
            pre.pre_payment_check(**{**arguments, "slots": mixed})
        assert caught.value.code in {"reencryption.garbage-shares", "reencryption.low-degree"}
        fewer = resigned(trade, with_coefficients(trade, trade.keys.delegating, *coefficients[:-1]))
        with pytest.raises(TamperedError) as caught:
            pre.pre_payment_check(**{**arguments, "slots": fewer})
        assert caught.value.code in {"reencryption.low-degree", "reencryption.duplicate-share"}


@EXAMPLES
@given(noise=st.binary(max_size=420))
def test_noise_is_refused_or_is_the_one_encoding(noise: bytes) -> None:
    parsers = (
        lambda data: pre.Capsule.from_bytes(data).to_bytes(),
        lambda data: pre.CapsuleFrag.from_bytes(data).to_bytes(),
        lambda data: pre.HalfKey.from_secret_bytes(data).to_secret_bytes(),
        lambda data: pre.library_form.capsule_to_library(pre.library_form.capsule_from_library(data)),
        lambda data: pre.library_form.cfrag_to_library(pre.library_form.cfrag_from_library(data)),
        lambda data: pre.PublishedShare.from_fields(data, data, data, data).kfrag_id,
    )
    for parse in parsers:
        for data in (
            noise,
            noise[:98].ljust(98, b"\x02"),
            noise[:99].ljust(99, b"\x02"),
            noise[:359].ljust(359, b"\x02"),
        ):
            try:
                assert parse(data) == data
            except BridgeError as error:
                assert error.code.startswith(("reencryption.", "keys."))  # noqa: PT017


def test_a_share_without_its_fields_is_another_share() -> None:
    trade = Trade("fields", 2, 3)
    slot = trade.kfrags[0].published()
    for change in ({"kfrag_id": bytes(32)}, {"u1": trade.pk_a}, {"x_a": trade.pk_a}):
        with pytest.raises(TamperedError):
            replace(slot, **change).check_signature(pk_a=trade.pk_a, pk_b=trade.pk_b, signer=trade.signer)
