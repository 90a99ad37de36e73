"""Proofs made by someone who knows the secret and lies in one place only: each equation is needed (R20, R30, R15)."""

from __future__ import annotations

import pytest

from asset_bridge import reencryption as pre
from asset_bridge.errors import TamperedError
from asset_bridge.keys.secp256k1 import Point, SecretScalar, respond, shared_point
from asset_bridge.reencryption.commitment import _challenge
from asset_bridge.reencryption.hashes import cfrag_challenge
from tests.unit.reencryption.scene import fixed, keys, trade

T = trade()
KFRAG = T.kfrags[0]
LIE, TAU = (SecretScalar.from_wide(fixed(name, 48)) for name in ("lie", "tau"))
U = pre.PARAMETER_U


def forged_cfrag(lie_in: str) -> pre.CapsuleFrag:
    """A cfrag whose challenge and response are right for every part but one."""
    honest = SecretScalar.from_bytes(KFRAG.rk.to_secret_bytes())
    by_part = {part: LIE if part == lie_in else honest for part in "EVU"}
    e1, v1 = shared_point(by_part["E"], T.capsule.e), shared_point(by_part["V"], T.capsule.v)
    e2, v2, u2 = (shared_point(TAU, base) for base in (T.capsule.e, T.capsule.v, U))
    secret = honest
    if lie_in == "U":  # E and V by another share's secret, the commitment by the signed one
        e1, v1, secret = shared_point(LIE, T.capsule.e), shared_point(LIE, T.capsule.v), LIE
    challenge = cfrag_challenge(T.capsule.e, e1, e2, T.capsule.v, v1, v2, U, KFRAG.u1, u2)
    z = respond(TAU, secret, challenge)
    signature = KFRAG.receiver_signature[:64]
    return pre.CapsuleFrag(e1, v1, KFRAG.kfrag_id, KFRAG.x_a, e2, v2, KFRAG.u1, u2, z, signature)


@pytest.mark.parametrize("part", ["E", "V", "U"])
def test_a_cfrag_that_lies_in_one_part_is_refused_for_that_part(part: str) -> None:
    forged_cfrag("nothing").verify(capsule=T.capsule, **keys(T))
    with pytest.raises(TamperedError) as caught:
        forged_cfrag(part).verify(capsule=T.capsule, **keys(T))
    assert caught.value.code == "reencryption.cfrag"
    assert caught.value.message.endswith(f"its proof does not hold for {part}")


def proof_of_w(w: Point, on_g: SecretScalar, on_u: SecretScalar, secret: SecretScalar) -> bytes:
    r_g, r_u = on_g.public_key(), shared_point(on_u, U)
    challenge = _challenge(T.context.to_bytes(), T.pk_a, w, r_g, r_u)
    z = respond(on_g, secret, challenge)
    return r_g.to_bytes() + r_u.to_bytes() + z.to_bytes(32, "big")


def test_a_w_of_another_secret_is_refused_on_either_side() -> None:
    a, other_w = T.keys.delegating, shared_point(LIE, U)
    pre.verify_commitment(T.pk_a, T.w, proof_of_w(T.w, TAU, TAU, a), T.context)
    for w, proof in (
        (other_w, proof_of_w(other_w, TAU, TAU, a)),  # holds on G, not on U
        (other_w, proof_of_w(other_w, TAU, TAU, LIE)),  # holds on U, not on G
        (T.w, proof_of_w(T.w, TAU, LIE, a)),
    ):
        with pytest.raises(TamperedError) as caught:
            pre.verify_commitment(T.pk_a, w, proof, T.context)
        assert caught.value.code == "reencryption.w-proof"


def test_a_node_accepts_nothing_whose_trial_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """R15: whatever goes wrong between share and cfrag is found before `Accept`, not after payment."""
    honest = pre.cfrag.reencrypt

    def faulty(capsule: pre.Capsule, kfrag: pre.VerifiedKeyFrag) -> pre.VerifiedCapsuleFrag:
        return honest(capsule, T.kfrags[1]) if kfrag == KFRAG else honest(capsule, kfrag)

    def broken(capsule: pre.Capsule, kfrag: pre.VerifiedKeyFrag) -> object:
        cfrag = faulty(capsule, kfrag)
        return cfrag.frag._replace(kfrag_id=KFRAG.kfrag_id)

    monkeypatch.setattr(pre.cfrag, "reencrypt", broken)
    with pytest.raises(TamperedError) as caught:
        pre.accept_share(rk=KFRAG.rk, share=KFRAG.published(), capsule=T.capsule, **keys(T))
    assert caught.value.code == "reencryption.cfrag"
