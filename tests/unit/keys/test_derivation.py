"""Derivations: lengths, ranges, and that every argument counts (K1, K8, K9, K13-K17)."""

from __future__ import annotations

from typing import Any

import pytest

from asset_bridge.errors import InputError, TamperedError
from asset_bridge.keys import derivation, file_key
from tools.vectors.keys import fixed

SEED, TWEAK, CONTAINER = fixed("seed"), fixed("tweak"), fixed("container", 16)
CONSUMER: dict[str, Any] = {
    "seed": SEED,
    "order_nonce": fixed("nonce"),
    "chain_id": 1,
    "exchange": fixed("exchange", 20),
    "asset_id": fixed("asset"),
}
SHARES: dict[str, Any] = {
    "seed": SEED,
    "tweak": TWEAK,
    "container_id": CONTAINER,
    "order_id": fixed("order"),
    "generation": 1,
    "threshold": 2,
    "shares": 3,
}


def another(value: Any) -> Any:
    return value + 1 if isinstance(value, int) else value[:-1] + bytes([value[-1] ^ 1])


def test_every_argument_of_an_assets_keys_counts() -> None:
    seen = set()
    for seed, tweak, container in (
        (SEED, TWEAK, CONTAINER),
        (another(SEED), TWEAK, CONTAINER),
        (SEED, another(TWEAK), CONTAINER),
        (SEED, TWEAK, another(CONTAINER)),
    ):
        keys = derivation.asset_keys(seed, tweak, container)
        seen |= {keys.delegating.to_secret_bytes(), keys.signer.to_secret_bytes(), keys.k_pq}
        assert keys.k_pq.hex() not in repr(keys)
    assert len(seen) == 12


@pytest.mark.parametrize("name", CONSUMER)
def test_every_argument_of_a_consumers_keys_counts(name: str) -> None:
    changed = {**CONSUMER, name: another(CONSUMER[name])}
    assert derivation.receiving_key(**CONSUMER) == derivation.receiving_key(**CONSUMER)
    assert derivation.receiving_key(**CONSUMER) != derivation.receiving_key(**changed)
    assert derivation.consumer_hybrid_key(**CONSUMER) != derivation.consumer_hybrid_key(**changed)


@pytest.mark.parametrize("name", SHARES)
def test_another_order_generation_or_threshold_shares_nothing(name: str) -> None:
    changed = {**SHARES, name: another(SHARES[name])}
    ours, theirs = derivation.share_randomness(**SHARES), derivation.share_randomness(**changed)
    assert ours == derivation.share_randomness(**SHARES)
    assert ours.precursor != theirs.precursor
    assert ours.coefficients[0] not in theirs.coefficients
    assert not set(ours.ids) & set(theirs.ids)
    assert (len(ours.coefficients), len(ours.ids)) == (1, 3)


def test_the_form_key_depends_on_its_counter() -> None:
    assert derivation.form_key(SEED, 0) == derivation.form_key(SEED, 0)
    assert derivation.form_key(SEED, 0) != derivation.form_key(SEED, 1)


@pytest.mark.parametrize(("threshold", "shares"), [(1, 1), (1, 3), (0, 3), (4, 3), (2, 17), (17, 17)])
def test_thresholds_out_of_range(threshold: int, shares: int) -> None:
    with pytest.raises(InputError) as caught:
        derivation.share_randomness(**{**SHARES, "threshold": threshold, "shares": shares})
    assert caught.value.code == "keys.threshold"


@pytest.mark.parametrize("generation", [0, -1, 1 << 32, True])
def test_generations_out_of_range(generation: int) -> None:
    with pytest.raises(InputError) as caught:
        derivation.share_randomness(**{**SHARES, "generation": generation})
    assert caught.value.code == "keys.size"


def test_lengths_are_checked() -> None:
    calls = [
        (derivation.asset_keys, {"seed": SEED, "tweak": TWEAK, "container_id": CONTAINER}),
        (derivation.share_randomness, SHARES),
        (derivation.receiving_key, CONSUMER),
        (derivation.consumer_hybrid_key, CONSUMER),
        (file_key.file_key, {"k_pre": SEED, "k_pq": SEED, "container_id": CONTAINER}),
        (file_key.pq_commit, {"k_pq": SEED, "container_id": CONTAINER}),
        (file_key.check_pq_commit, {"k_pq": SEED, "container_id": CONTAINER, "commit": SEED}),
    ]
    for function, arguments in calls:
        for name, value in arguments.items():
            if isinstance(value, bytes):
                for wrong in (value[:-1], value + b"\x00", b""):
                    with pytest.raises(InputError) as caught:
                        function(**{**arguments, name: wrong})
                    assert caught.value.code == "keys.size"
                    assert repr(value) not in caught.value.message


def test_the_file_key_needs_both_halves_and_the_container() -> None:
    halves = (fixed("K_pre"), fixed("K_pq"), CONTAINER)
    others = {file_key.file_key(*[another(v) if i == at else v for i, v in enumerate(halves)]) for at in range(3)}
    swapped = file_key.file_key(halves[1], halves[0], CONTAINER)
    assert len({file_key.file_key(*halves), swapped, *others}) == 5


def test_the_commitment_to_the_post_quantum_half() -> None:
    k_pq = fixed("K_pq")
    commit = file_key.pq_commit(k_pq, CONTAINER)
    file_key.check_pq_commit(k_pq, CONTAINER, commit)
    for wrong in ((another(k_pq), CONTAINER, commit), (k_pq, another(CONTAINER), commit), (k_pq, CONTAINER, SEED)):
        with pytest.raises(TamperedError) as caught:
            file_key.check_pq_commit(*wrong)
        assert (caught.value.code, caught.value.actor) == ("keys.pq-commit", "provider")
