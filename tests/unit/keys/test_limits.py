"""The edges of sizes and ranges: the last value that is accepted, and the first that is not."""

from __future__ import annotations

import pytest

from asset_bridge.errors import RefusedError, TamperedError
from asset_bridge.keys import hpke, kem, recovery
from asset_bridge.keys.secp256k1 import GENERATOR, SecretScalar, public_times_base, same_point
from tools.vectors.keys import fixed, share_context

P = 2**255 - 19
SHORTEST, LONGEST = (recovery.split(secret, 2, 3, lambda n: fixed("limits", n)) for secret in (b"x", bytes(4096)))


def test_sealed_values_have_their_written_sizes() -> None:
    share = kem.ShareSecretKey(fixed("share")).public_key()
    hybrid = kem.ConsumerHybridSecretKey(fixed("hybrid")).public_key()
    kfrag = hpke.seal_kfrag(share, SecretScalar.from_bytes(fixed("rk")), **share_context())
    kpq = hpke.seal_kpq(hybrid, fixed("kpq"), order_id=fixed("order"), pq_commit=fixed("commit"))
    reply = hpke.seal_reply(hybrid, b"reply", order_id=fixed("order"))
    assert len(kfrag) == hpke.SEALED_KFRAG_BYTES == 80
    assert len(kpq) == hpke.SEALED_KPQ_BYTES == 1168
    assert len(reply) - len(b"reply") == hpke.HYBRID_OVERHEAD_BYTES == 1136


@pytest.mark.parametrize(
    ("half", "accepted"), [(9, True), (P - 1, True), (P, False), (P + 1, False), (2**255 + 9, False)]
)
def test_the_x25519_half_of_a_hybrid_key_has_one_spelling(half: int, accepted: bool) -> None:
    honest = kem.ConsumerHybridSecretKey(fixed("hybrid")).public_key().to_bytes()
    encoded = honest[:-32] + half.to_bytes(32, "little")
    if accepted:
        assert kem.ConsumerHybridPublicKey.from_bytes(encoded).to_bytes() == encoded
    else:
        with pytest.raises(TamperedError) as caught:
            kem.ConsumerHybridPublicKey.from_bytes(encoded)
        assert caught.value.code == "keys.kem-key"


def remade(share: recovery.RecoveryShare, value: bytes, magic: bytes = b"ABSHARE\x01") -> bytes:
    """A share with another value and a checksum that holds."""
    body = magic + share.to_bytes()[8:20] + value
    return body + recovery._checksum(body)


def test_shares_of_the_shortest_and_longest_secret_and_one_byte_beyond() -> None:
    for shares in (SHORTEST, LONGEST):
        for share in shares:
            assert recovery.RecoveryShare.from_bytes(share.to_bytes()) == share
            assert recovery.RecoveryShare.from_text(share.to_text()) == share
    for share, value in ((SHORTEST[0], SHORTEST[0].value[:-1]), (LONGEST[0], LONGEST[0].value + b"\0")):
        with pytest.raises(TamperedError) as caught:
            recovery.RecoveryShare.from_bytes(remade(share, value))
        assert caught.value.code == "keys.share-form"
    assert remade(SHORTEST[0], SHORTEST[0].value) == SHORTEST[0].to_bytes()


def test_a_share_begins_like_one() -> None:
    with pytest.raises(TamperedError) as caught:
        recovery.RecoveryShare.from_bytes(remade(SHORTEST[0], SHORTEST[0].value, b"ABSHARE\x02"))
    assert caught.value.code == "keys.share-form"


def test_a_text_of_a_share_has_at_most_16384_characters() -> None:
    text = SHORTEST[0].to_text()
    longest = text + "#" * (16_384 - len(text))
    assert recovery.RecoveryShare.from_text(longest) == SHORTEST[0]
    with pytest.raises(TamperedError) as caught:
        recovery.RecoveryShare.from_text(longest + "#")
    assert caught.value.code == "keys.share-form"


def test_one_share_alone_is_too_few() -> None:
    with pytest.raises(RefusedError) as caught:
        recovery.recover(SHORTEST[:1])
    assert caught.value.code == "keys.share-too-few"


def test_points_are_the_same_or_not() -> None:
    assert same_point(GENERATOR, public_times_base(1))
    assert not same_point(GENERATOR, public_times_base(2))
