"""umbral-pre 0.11.0 and our implementation open, re-encrypt and verify each other's objects (R6-R39)."""

from __future__ import annotations

import os

import pytest

from asset_bridge import reencryption as pre
from asset_bridge.errors import TamperedError
from asset_bridge.keys.derivation import ShareRandomness
from asset_bridge.keys.secp256k1 import SecretScalar
from asset_bridge.reencryption import library_form as form
from tests.support.depth import depth

pytestmark = pytest.mark.needs_umbral_pre
THRESHOLDS = [(1, 1), (2, 3), (5, 8), (10, 16)]


class Both:
    """The same three random keys on both sides."""

    def __init__(self) -> None:
        import umbral_pre as umbral

        self.umbral = umbral
        self.a, self.s, self.b = (SecretScalar.from_wide(os.urandom(48)) for _ in range(3))
        theirs = [umbral.SecretKey.from_be_bytes(key.to_secret_bytes()) for key in (self.a, self.s, self.b)]
        self.their_a, self.their_b = theirs[0], theirs[2]
        self.their_signer = umbral.Signer(theirs[1])
        self.pk_a, self.pk_b, self.signer = self.a.public_key(), self.b.public_key(), self.s.public_key()

    def randomness(self, threshold: int, shares: int) -> ShareRandomness:
        scalars = [SecretScalar.from_wide(os.urandom(48)) for _ in range(threshold)]
        return ShareRandomness(scalars[0], tuple(scalars[1:]), tuple(os.urandom(32) for _ in range(shares)))


def test_keys_and_parameter_are_the_same() -> None:
    both = Both()
    assert both.their_a.public_key().to_compressed_bytes() == both.pk_a.to_bytes()
    x, y = both.umbral.Parameters().u.coordinates
    assert pre.PARAMETER_U.to_uncompressed_bytes() == b"\x04" + x + y


@pytest.mark.parametrize(("threshold", "shares"), THRESHOLDS)
def test_ours_to_theirs(threshold: int, shares: int) -> None:
    for _ in range(depth("reencryption_library_cases")):
        both = Both()
        umbral, package = both.umbral, os.urandom(160)
        capsule, sealed = pre.encrypt_package(both.pk_a, package, os.urandom)
        their_capsule = umbral.Capsule.from_bytes(form.capsule_to_library(capsule))
        assert umbral.decrypt_original(both.their_a, their_capsule, sealed) == package
        keys = (both.their_signer.verifying_key(), both.their_a.public_key(), both.their_b.public_key())
        kfrags = pre.generate_shares(both.a, both.pk_b, both.s, threshold, both.randomness(threshold, shares))
        their_kfrags = [umbral.KeyFrag.from_bytes(form.kfrag_to_library(k, both.s)).verify(*keys) for k in kfrags]
        ours = [form.cfrag_to_library(pre.reencrypt(capsule, kfrag)) for kfrag in kfrags]
        checked = [umbral.CapsuleFrag.from_bytes(cfrag).verify(their_capsule, *keys) for cfrag in ours]
        remade = [umbral.reencrypt(their_capsule, kfrag) for kfrag in their_kfrags]
        for cfrags in (checked, remade):
            opened = umbral.decrypt_reencrypted(
                both.their_b, both.their_a.public_key(), their_capsule, cfrags[-threshold:], sealed
            )
            assert opened == package
        assert [bytes(cfrag) for cfrag in checked] == ours


@pytest.mark.parametrize(("threshold", "shares"), THRESHOLDS)
def test_theirs_to_ours(threshold: int, shares: int) -> None:
    for _ in range(depth("reencryption_library_cases")):
        both = Both()
        umbral, package = both.umbral, os.urandom(160)
        their_capsule, sealed = umbral.encrypt(both.their_a.public_key(), package)
        capsule = form.capsule_from_library(bytes(their_capsule))
        assert capsule.to_bytes() == their_capsule.to_bytes_simple()
        assert pre.decrypt_package(both.a, capsule, sealed) == package
        keys = {"pk_a": both.pk_a, "pk_b": both.pk_b, "signer": both.signer}
        their_kfrags = umbral.generate_kfrags(
            both.their_a, both.their_b.public_key(), both.their_signer, threshold, shares, True, True
        )
        kfrags = [form.kfrag_from_library(bytes(kfrag), **keys) for kfrag in their_kfrags]
        theirs = [umbral.reencrypt(their_capsule, kfrag) for kfrag in their_kfrags]
        checked = [form.cfrag_from_library(bytes(c)).verify(capsule=capsule, **keys) for c in theirs]
        assert [cfrag.to_bytes() for cfrag in checked] == [cfrag.to_bytes_simple() for cfrag in theirs]
        half = pre.half_open(both.b, kfrags[0].x_a)
        for cfrags in (checked, [pre.reencrypt(capsule, kfrag) for kfrag in kfrags]):
            opened = pre.open_package(
                half, pk_a=both.pk_a, capsule=capsule, cfrags=cfrags[-threshold:], threshold=threshold, sealed=sealed
            )
            assert opened == package


def test_the_recoverable_signature_agrees_with_the_library() -> None:
    both = Both()
    kfrag = pre.generate_shares(both.a, both.pk_b, both.s, 2, both.randomness(2, 2))[0]
    digest = pre.receiver_digest(kfrag.kfrag_id, kfrag.u1, kfrag.x_a, both.pk_a, both.pk_b)
    signature = kfrag.receiver_signature
    recoverable = both.umbral.RecoverableSignature.from_be_bytes(signature[:64] + bytes([signature[64] - 27]))
    recovered = both.umbral.PublicKey.recover_from_prehash(digest, recoverable)
    assert recovered.to_compressed_bytes() == both.signer.to_bytes()


def test_a_kfrag_that_names_not_both_keys_is_refused() -> None:
    both = Both()
    for delegating_signed, receiving_signed in ((True, False), (False, True), (False, False)):
        kfrag = both.umbral.generate_kfrags(
            both.their_a, both.their_b.public_key(), both.their_signer, 2, 3, delegating_signed, receiving_signed
        )[0]
        with pytest.raises(TamperedError) as caught:
            form.kfrag_from_library(bytes(kfrag), pk_a=both.pk_a, pk_b=both.pk_b, signer=both.signer)
        assert caught.value.code == "reencryption.library-form"
