"""P2-P4, P6, P7 of the threat list: what a share, a seed, or a coalition can and cannot do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asset_bridge import reencryption as pre
from asset_bridge.errors import BridgeError, TamperedError
from asset_bridge.keys import derivation
from asset_bridge.keys.secp256k1 import SecretScalar, secret_add, secret_multiply, secret_subtract
from tests.unit.reencryption.scene import fixed, half, keys, opened, trade

T = trade()


def test_any_two_of_three_open_and_the_order_does_not_matter() -> None:
    for chosen in ((0, 1), (0, 2), (1, 2), (2, 0), (2, 1, 0)):
        assert opened(T, [T.cfrags[i] for i in chosen]) == T.package
    assert pre.decrypt_package(T.keys.delegating, T.capsule, T.sealed) == T.package


@pytest.mark.parametrize(("threshold", "shares"), [(1, 1), (5, 8), (10, 16)])
def test_other_thresholds_open(threshold: int, shares: int) -> None:
    of = trade(f"{threshold} of {shares}", threshold, shares)
    assert opened(of, of.cfrags[-threshold:]) == of.package


def test_a_tampered_share_is_refused_before_accept() -> None:
    """P2: whatever the provider seals or publishes wrongly, the node finds it before it signs anything."""
    kfrag = T.kfrags[0]
    arguments = {"capsule": T.capsule, **keys(T)}
    honest = pre.accept_share(rk=kfrag.rk, share=kfrag.published(), **arguments)
    assert honest == kfrag
    other = T.kfrags[1]
    for change in ({"kfrag_id": other.kfrag_id}, {"u1": other.u1}, {"x_a": T.pk_a}, {"receiver_signature": bytes(65)}):
        with pytest.raises(TamperedError):
            pre.accept_share(rk=kfrag.rk, share=replace(kfrag.published(), **change), **arguments)
    with pytest.raises(TamperedError):
        pre.accept_share(rk=other.rk, share=kfrag.published(), **arguments)


def test_a_share_of_one_asset_opens_no_other() -> None:
    """P3: same provider, same seed, one delegating key an asset."""
    for number in range(5):
        of = trade(f"asset {number}")
        again = [pre.reencrypt(of.capsule, kfrag) for kfrag in T.kfrags]
        with pytest.raises(BridgeError):
            pre.open_package(half(T), pk_a=T.pk_a, capsule=of.capsule, cfrags=again, threshold=2, sealed=of.sealed)
        with pytest.raises(BridgeError):
            pre.open_package(half(T), pk_a=of.pk_a, capsule=of.capsule, cfrags=again, threshold=2, sealed=of.sealed)


def test_without_the_tweak_the_seed_opens_nothing() -> None:
    """P4: every other tweak, also the nearest, gives a key that does not open."""
    for tweak in (bytes(32), T.tweak[:-1] + bytes([T.tweak[-1] ^ 1]), T.seed, fixed("guess")):
        derived = derivation.asset_keys(T.seed, tweak, T.container_id)
        with pytest.raises(TamperedError):
            pre.decrypt_package(derived.delegating, T.capsule, T.sealed)


def test_a_coalition_gets_the_one_key_and_nothing_beyond() -> None:
    """P7: t nodes and the consumer compute a; it gives W's secret, but neither K_pq, signer, tweak nor another asset."""
    mine = half(T)
    indices = [mine.index(kfrag.kfrag_id) for kfrag in T.kfrags[:2]]
    first, ratios = pre.opening.lagrange_at_zero(indices)
    total = secret_add(T.kfrags[0].rk, secret_multiply(ratios[0], T.kfrags[1].rk))
    recovered = secret_multiply(mine.shared_secret(), secret_multiply(first, total))
    assert recovered == T.keys.delegating
    sibling = derivation.asset_keys(T.seed, T.tweak, fixed("sibling", 16))
    for offset in (T.container_id, fixed("sibling", 16), T.tweak):
        guess = SecretScalar.from_wide(bytes(48 - len(offset)) + offset)
        for candidate in (secret_add(recovered, guess), secret_subtract(recovered, guess)):
            assert candidate not in (sibling.delegating, T.keys.signer)


def test_the_same_order_gives_the_same_share_and_cfrag_again() -> None:
    again = pre.generate_shares(T.keys.delegating, T.pk_b, T.keys.signer, 2, T.share_randomness("", 2, 3))
    assert again == T.kfrags
    assert [pre.reencrypt(T.capsule, kfrag).to_bytes() for kfrag in again] == [c.to_bytes() for c in T.cfrags]


def test_a_cfrag_of_an_earlier_generation_does_not_mix() -> None:
    """P6: another generation has another X_A."""
    second = derivation.share_randomness(T.seed, T.tweak, T.container_id, T.order_id, 2, 2, 3)
    kfrags = pre.generate_shares(T.keys.delegating, T.pk_b, T.keys.signer, 2, second)
    cfrags = [T.cfrags[0], pre.reencrypt(T.capsule, kfrags[1])]
    with pytest.raises(BridgeError) as caught:
        opened(T, cfrags)
    assert caught.value.code == "reencryption.other-set"


def test_secrets_do_not_show() -> None:
    shown = repr((T.kfrags, T.keys, T.randomness, half(T), pre.KeyFrag(T.kfrags[0].rk, T.kfrags[0].published())))
    secrets = [kfrag.rk for kfrag in T.kfrags] + [T.keys.delegating, T.keys.signer, T.randomness.precursor]
    for secret in [value.to_secret_bytes() for value in secrets] + [T.keys.k_pq, half(T).to_secret_bytes()[66:]]:
        assert secret.hex() not in shown
        assert repr(secret) not in shown
