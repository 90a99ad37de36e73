"""The form of a cfrag that a contract checks (spec/contracts.md §11): every field, and what is refused."""

from __future__ import annotations

import pytest

from asset_bridge import reencryption as pre
from asset_bridge.errors import TamperedError
from asset_bridge.keys.secp256k1 import Point, multiply_public
from asset_bridge.keys.signing import recover_digest
from asset_bridge.reencryption.chain_proof import CHAIN_PROOF_BYTES, from_chain_proof, to_chain_proof
from asset_bridge.reencryption.hashes import PARAMETER_U, cfrag_challenge, receiver_digest
from tests.unit.reencryption.scene import keys, trade

T = trade()
FIELD = 2**256 - 2**32 - 977  # SEC 2 v2, §2.4.1
TOP = 1 << 255
CASES = [*T.cfrags, *trade("another asset").cfrags]


def word(proof: bytes, at: int) -> int:
    return int.from_bytes(proof[at : at + 32], "big")


def place(point: Point) -> tuple[int, int]:
    raw = point.to_uncompressed_bytes()
    return int.from_bytes(raw[1:33], "big"), int.from_bytes(raw[33:], "big")


def back(frag: pre.CapsuleFrag, proof: bytes) -> pre.CapsuleFrag:
    return from_chain_proof(proof, kfrag_id=frag.kfrag_id, u1=frag.u1.to_bytes(), x_a=frag.x_a.to_bytes())


@pytest.mark.parametrize("number", range(len(CASES)))
def test_every_field_is_what_the_specification_says(number: int) -> None:
    cfrag = CASES[number]
    frag, capsule, proof = cfrag.frag, pre.Capsule.from_bytes(cfrag.capsule_bytes), to_chain_proof(cfrag)
    assert len(proof) == CHAIN_PROOF_BYTES == 482
    assert proof[:98] == frag.e1.to_bytes() + frag.v1.to_bytes() + frag.z.to_bytes(32, "big")
    assert proof[98:130] == frag.signature[:32]
    assert word(proof, 130) % TOP == int.from_bytes(frag.signature[32:], "big")
    digest = receiver_digest(frag.kfrag_id, frag.u1, frag.x_a, cfrag.pk_a, cfrag.pk_b)
    recovery = bytes([27 + word(proof, 130) // TOP])
    assert recover_digest(digest, frag.signature + recovery) == cfrag.signer
    challenge = cfrag_challenge(capsule.e, frag.e1, frag.e2, capsule.v, frag.v1, frag.v2, PARAMETER_U, frag.u1, frag.u2)
    product = 1
    images = ((PARAMETER_U, frag.u1), (capsule.e, frag.e1), (capsule.v, frag.v1))
    for at, (base, image) in zip((162, 258, 354), images, strict=True):
        (a_x, a_y), (h_x, h_y) = place(multiply_public(base, frag.z)), place(multiply_public(image, challenge))
        slope = word(proof, at + 64)
        assert (word(proof, at), word(proof, at + 32)) == (a_x, h_x)
        assert slope * (a_x - h_x) % FIELD == (a_y + h_y) % FIELD  # the line through A and -H
        product = product * slope % FIELD
    assert product * word(proof, 450) % FIELD == 1


@pytest.mark.parametrize("number", range(len(CASES)))
def test_it_comes_apart_into_the_same_bytes(number: int) -> None:
    cfrag = CASES[number]
    again = back(cfrag.frag, to_chain_proof(cfrag))
    assert again.to_bytes() == cfrag.to_bytes()
    of = T if number < len(T.cfrags) else trade("another asset")
    assert again.verify(capsule=of.capsule, **keys(of)) == cfrag


def test_what_is_no_proof_is_refused() -> None:
    frag, proof = T.cfrags[0].frag, to_chain_proof(T.cfrags[0])
    one_point_twice = proof[:162] + 2 * proof[162:194] + proof[226:]
    flat = proof[:226] + bytes(32) + proof[258:]
    flat_again = proof[:226] + FIELD.to_bytes(32, "big") + proof[258:]
    for wrong in (b"", proof[:-1], proof + b"\0", bytearray(proof), one_point_twice, flat, flat_again):
        with pytest.raises(TamperedError) as caught:
            back(frag, wrong)
        assert caught.value.code == "reencryption.cfrag-form"


@pytest.mark.parametrize("at", range(0, 450, 29))
def test_a_changed_byte_gives_no_cfrag_that_verifies(at: int) -> None:
    frag, proof = T.cfrags[0].frag, to_chain_proof(T.cfrags[0])
    changed = proof[:at] + bytes([proof[at] ^ 1]) + proof[at + 1 :]
    with pytest.raises(TamperedError):
        back(frag, changed).verify(capsule=T.capsule, **keys(T))
