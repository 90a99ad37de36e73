"""Envelopes: each opens under its own key and context only, and no key type serves for another (K10-K20)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from asset_bridge.errors import DefectError, InputError, TamperedError
from asset_bridge.keys import hpke, kem
from asset_bridge.keys.secp256k1 import SecretScalar
from tests.unit.reencryption.scene import fixed
from tools.vectors.keys import form_context, share_context

SHARE, OTHER_SHARE = kem.ShareSecretKey(fixed("share")), kem.ShareSecretKey(fixed("other share"))
FORM, OTHER_FORM = kem.FormSecretKey(fixed("form")), kem.FormSecretKey(fixed("other form"))
HYBRID, OTHER_HYBRID = kem.ConsumerHybridSecretKey(fixed("h")), kem.ConsumerHybridSecretKey(fixed("other h"))
RK = SecretScalar.from_bytes(fixed("rk"))
KPQ_CONTEXT = {"order_id": fixed("order"), "pq_commit": fixed("commit")}
REPLY_CONTEXT = {"order_id": fixed("order")}
Seal, Open = Callable[..., bytes], Callable[..., Any]
LABELS: dict[str, tuple[Seal, Open, Any, Any, Any, dict[str, Any], int]] = {
    "kfrag": (hpke.seal_kfrag, hpke.open_kfrag, SHARE, OTHER_SHARE, RK, share_context(), 80),
    "kpq": (hpke.seal_kpq, hpke.open_kpq, HYBRID, OTHER_HYBRID, fixed("K_pq"), KPQ_CONTEXT, 1168),
    "form": (hpke.seal_form, hpke.open_form, FORM, OTHER_FORM, b"form" * 9, form_context(), 36 + 1136),
    "reply": (hpke.seal_reply, hpke.open_reply, HYBRID, OTHER_HYBRID, b"", REPLY_CONTEXT, 1136),
}


def another(value: Any) -> Any:
    """A value of the same kind and width."""
    return value + 1 if isinstance(value, int) else value[:-1] + bytes([value[-1] ^ 1])


@pytest.mark.parametrize("label", LABELS)
def test_an_envelope_opens_under_its_own_key_and_context_only(label: str) -> None:
    seal, opening, key, other, plain, context, size_bytes = LABELS[label]
    sealed = seal(key.public_key(), plain, **context)
    assert len(sealed) == size_bytes
    assert opening(key, sealed, **context) == plain
    attempts = [(other, sealed, context)]
    attempts += [(key, sealed, {**context, name: another(value)}) for name, value in context.items()]
    attempts += [(key, changed, context) for changed in (sealed[:-1], sealed + b"\x00", b"", sealed[:31])]
    attempts += [
        (key, sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], context) for at in range(0, len(sealed), 7)
    ]
    for with_key, with_bytes, with_context in attempts:
        with pytest.raises(TamperedError) as caught:
            opening(with_key, with_bytes, **with_context)
        assert caught.value.code == "keys.envelope"


@pytest.mark.parametrize("label", LABELS)
def test_every_field_has_a_fixed_width(label: str) -> None:
    seal, _, key, _, plain, context, _ = LABELS[label]
    for name, value in context.items():
        for wrong in (-1, 1 << 256, True) if isinstance(value, int) else (value[:-1], value + b"\x00", b"", "text"):
            with pytest.raises(InputError) as caught:
                seal(key.public_key(), plain, **{**context, name: wrong})
            assert caught.value.code == "keys.size"


def test_one_label_does_not_open_as_another() -> None:
    reply = hpke.seal_reply(HYBRID.public_key(), fixed("K_pq"), order_id=KPQ_CONTEXT["order_id"])
    with pytest.raises(TamperedError):
        hpke.open_kpq(HYBRID, reply, **KPQ_CONTEXT)


def test_what_is_sealed_has_the_right_form() -> None:
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    info = hpke._kfrag_info(SHARE.public_key(), *share_context().values())
    for plain, code in ((bytes(32), "keys.scalar"), (bytes(31), "keys.scalar"), (b"\xff" * 32, "keys.scalar")):
        with pytest.raises(TamperedError) as caught:
            hpke.open_kfrag(SHARE, suite.encrypt(plain, SHARE.public_key().native(), info=info), **share_context())
        assert caught.value.code == code
    hybrid = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    info = hpke._kpq_info(HYBRID.public_key(), **KPQ_CONTEXT)
    sealed = hybrid.encrypt(bytes(33), HYBRID.public_key().native(), info=info)
    with pytest.raises(TamperedError) as caught:
        hpke.open_kpq(HYBRID, sealed, **KPQ_CONTEXT)
    assert (caught.value.code, caught.value.actor) == ("keys.envelope", "provider")


LOW_ORDER = (
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    2**255 - 20,
)


@pytest.mark.parametrize("value", LOW_ORDER)
def test_nothing_is_sealed_to_a_low_order_key(value: int) -> None:
    """RFC 7748 §6.1: these give a shared secret of zero."""
    key = kem.SharePublicKey.from_bytes(value.to_bytes(32, "little"))
    with pytest.raises(TamperedError) as caught:
        hpke.seal_kfrag(key, RK, **share_context())
    assert caught.value.code == "keys.kem-key"


def test_keys_have_one_encoding() -> None:
    share, hybrid = SHARE.public_key().to_bytes(), HYBRID.public_key().to_bytes()
    assert kem.SharePublicKey.from_bytes(share) == SHARE.public_key()
    assert kem.ConsumerHybridPublicKey.from_bytes(hybrid) == HYBRID.public_key()
    assert len(hybrid) == 1216
    for bad in (b"", share[:-1], share + b"\x00", b"\xff" * 32, (2**255 - 19).to_bytes(32, "little")):
        with pytest.raises(TamperedError) as caught:
            kem.SharePublicKey.from_bytes(bad)
        assert caught.value.code == "keys.kem-key"
    for bad in (b"", hybrid[:-1], hybrid + b"\x00", b"\xff" * 1184 + hybrid[1184:], hybrid[:1184] + b"\xff" * 32):
        with pytest.raises(TamperedError) as caught:
            kem.FormPublicKey.from_bytes(bad)
        assert caught.value.code == "keys.kem-key"


def test_a_key_of_one_kind_is_not_a_key_of_another() -> None:
    seed = fixed("seed")
    form, consumer = kem.FormSecretKey(seed), kem.ConsumerHybridSecretKey(seed)
    assert form != consumer
    assert form.public_key() != consumer.public_key()
    assert form.public_key().to_bytes() == consumer.public_key().to_bytes()
    assert form == kem.FormSecretKey.from_bytes(seed)
    assert len({form.public_key(), kem.FormSecretKey(seed).public_key()}) == 1


def test_secret_keys_come_from_the_callers_randomness_and_do_not_show() -> None:
    secret = kem.ShareSecretKey.generate(lambda length_bytes: fixed("random", length_bytes))
    assert secret.to_secret_bytes() == fixed("random")
    assert repr(secret) == "ShareSecretKey(hidden)"
    assert repr(secret.public_key()) == f"SharePublicKey({secret.public_key().digest().hex()})"
    with pytest.raises(DefectError):
        copy.copy(secret)
    with pytest.raises(TypeError):
        hash(secret)
    with pytest.raises(InputError):
        kem.ShareSecretKey(bytes(31))


def test_x_wing_seed_expansion_is_the_published_one() -> None:
    """draft-connolly-cfrg-xwing-kem: the first published vector's secret gives its public key's first bytes."""
    seed = bytes.fromhex("7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26")
    public = kem.FormSecretKey(seed).public_key().to_bytes()
    assert public.hex().startswith("e2236b35a8c24b39b10aa1323a96a919a2ced88400633a7b07131713fc14b2b5")
