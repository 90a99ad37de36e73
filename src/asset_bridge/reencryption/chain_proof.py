"""A verified cfrag in the form that a contract can check: 482 bytes, with the curve arithmetic's hints.

Implements spec/contracts.md §11. Promises: one cfrag has one such form; taking it apart again gives the same 359 bytes,
and what does not is refused. Does not promise: to verify; `CapsuleFrag.verify` does.
"""

from __future__ import annotations

from asset_bridge.errors import TamperedError
from asset_bridge.keys.checks import unsigned
from asset_bridge.keys.secp256k1 import Point, multiply_public
from asset_bridge.keys.signing import recover_digest
from asset_bridge.reencryption.capsule import Capsule
from asset_bridge.reencryption.cfrag import CapsuleFrag, VerifiedCapsuleFrag
from asset_bridge.reencryption.hashes import PARAMETER_U, cfrag_challenge, receiver_digest

CHAIN_PROOF_BYTES = 482
FIELD = 2**256 - 2**32 - 977  # SEC 2 v2, §2.4.1
_CHORDS, _INVERSE = 162, 450


def _coordinates(point: Point) -> tuple[int, int]:
    raw = point.to_uncompressed_bytes()
    return int.from_bytes(raw[1:33], "big"), int.from_bytes(raw[33:], "big")


def to_chain_proof(cfrag: VerifiedCapsuleFrag) -> bytes:
    """e1, v1, z, compact signature, three chords, inverse of the product of their slopes."""
    frag, capsule = cfrag.frag, Capsule.from_bytes(cfrag.capsule_bytes)
    challenge = cfrag_challenge(capsule.e, frag.e1, frag.e2, capsule.v, frag.v1, frag.v2, PARAMETER_U, frag.u1, frag.u2)
    chords, product = b"", 1
    for base, image in ((PARAMETER_U, frag.u1), (capsule.e, frag.e1), (capsule.v, frag.v1)):
        a_x, a_y = _coordinates(multiply_public(base, frag.z))
        h_x, h_y = _coordinates(multiply_public(image, challenge))
        slope = (a_y + h_y) * pow(a_x - h_x, -1, FIELD) % FIELD
        product = product * slope % FIELD
        chords += b"".join(unsigned("coordinate", n, 32) for n in (a_x, h_x, slope))
    digest = receiver_digest(frag.kfrag_id, frag.u1, frag.x_a, cfrag.pk_a, cfrag.pk_b)
    odd = recover_digest(digest, frag.signature + b"\x1c") == cfrag.signer
    s = int.from_bytes(frag.signature[32:], "big") | odd << 255
    head = frag.e1.to_bytes() + frag.v1.to_bytes() + unsigned("z", frag.z, 32)
    inverse = unsigned("inverse", pow(product, -1, FIELD), 32)
    return head + frag.signature[:32] + unsigned("s", s, 32) + chords + inverse


def from_chain_proof(proof: bytes, *, kfrag_id: bytes, u1: bytes, x_a: bytes) -> CapsuleFrag:
    """The cfrag that a proof speaks of, unverified; TamperedError(reencryption.cfrag-form) when it is none."""
    if not isinstance(proof, bytes) or len(proof) != CHAIN_PROOF_BYTES:
        raise TamperedError("reencryption.cfrag-form", f"a proof for the chain has {CHAIN_PROOF_BYTES} bytes")
    nonces = [_nonce_point(proof[at : at + 96]) for at in range(_CHORDS, _INVERSE, 96)]
    s = int.from_bytes(proof[130:162], "big") & ~(1 << 255)
    head = proof[:66] + kfrag_id + x_a + nonces[1] + nonces[2] + u1 + nonces[0]
    return CapsuleFrag.from_bytes(head + proof[66:98] + proof[98:130] + unsigned("s", s, 32))


def _nonce_point(chord: bytes) -> bytes:
    """A - H for the chord through A and -H: its third point on the curve, mirrored."""
    a_x, h_x, slope = (int.from_bytes(chord[at : at + 32], "big") % FIELD for at in (0, 32, 64))
    if a_x == h_x or slope == 0:
        raise TamperedError("reencryption.cfrag-form", "the proof for the chain names one point twice")
    x = (slope * slope - a_x - h_x) % FIELD
    pairs = (a_x * h_x + (a_x + h_x) * x) % FIELD
    height = -pairs * pow(2 * slope, -1, FIELD) % FIELD
    y = -(slope * x + height) % FIELD
    return bytes([2 + y % 2]) + unsigned("x", x, 32)
