"""ReencryptionVerifier against umbral-pre's own evidence and our Python check: valid cfrags, and every way to change one.

The verdict that counts is the library's, on the 381 bytes that a proof speaks of; a proof is valid when that verdict is
yes and its hints are the ones that belong to the cfrag.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest
from boa.contracts.abi.abi_contract import ABIContract
from eth_hash.auto import keccak

from asset_bridge import reencryption as pre
from asset_bridge.chain.keys import checksum_address
from asset_bridge.errors import TamperedError
from asset_bridge.keys.derivation import ShareRandomness
from asset_bridge.keys.secp256k1 import ORDER, Point, SecretScalar, multiply_public
from asset_bridge.keys.signing import sign_digest
from asset_bridge.reencryption import library_form
from asset_bridge.reencryption.chain_proof import CHAIN_PROOF_BYTES, FIELD, from_chain_proof, to_chain_proof
from tests.support.depth import depth
from tests.unit.contracts.records import ZERO, deploy

pytestmark = pytest.mark.needs_umbral_pre
E1, V1, Z, SIGNATURE, CHORDS, INVERSE = 0, 33, 66, 98, 162, 450


@pytest.fixture(scope="module")
def verifier() -> ABIContract:
    return deploy("ReencryptionVerifier")


def address(point: Point) -> str:
    return checksum_address(keccak(point.to_uncompressed_bytes()[1:])[12:])


@dataclass(frozen=True)
class Case:
    """The arguments of `verify`, and the signer's key that the library asks for."""

    capsule: bytes
    pk_a: bytes
    signer: Point
    pk_b: bytes
    kfrag_id: bytes
    u1: bytes
    x_a: bytes
    proof: bytes
    signer_address: str = ""

    def arguments(self) -> tuple[Any, ...]:
        signer = self.signer_address or address(self.signer)
        return self.capsule, self.pk_a, signer, self.pk_b, self.kfrag_id, self.u1, self.x_a, self.proof

    def with_byte(self, field: str, at: int, change: int) -> Case:
        value = bytearray(getattr(self, field))
        value[at] ^= change
        return replace(self, **{field: bytes(value)})  # type: ignore[arg-type]

    def with_word(self, at: int, value: int) -> Case:
        return replace(self, proof=self.proof[:at] + value.to_bytes(32, "big") + self.proof[at + 32 :])

    def word(self, at: int) -> int:
        return int.from_bytes(self.proof[at : at + 32], "big")


class Trade:
    """Random keys, a capsule and shares; `by_library` lets umbral-pre make shares and cfrags."""

    def __init__(self, *, by_library: bool) -> None:
        import umbral_pre as umbral

        self.a, self.s, self.b = (SecretScalar.from_wide(os.urandom(48)) for _ in range(3))
        self.pk_a, self.signer, self.pk_b = self.a.public_key(), self.s.public_key(), self.b.public_key()
        keys = {"pk_a": self.pk_a, "pk_b": self.pk_b, "signer": self.signer}
        if by_library:
            theirs = [umbral.SecretKey.from_be_bytes(key.to_secret_bytes()) for key in (self.a, self.s, self.b)]
            capsule, _ = umbral.encrypt(theirs[0].public_key(), b"package")
            self.capsule = pre.Capsule.from_bytes(capsule.to_bytes_simple())
            kfrags = umbral.generate_kfrags(
                theirs[0], theirs[2].public_key(), umbral.Signer(theirs[1]), 2, 4, True, True
            )
            made = [library_form.cfrag_from_library(bytes(umbral.reencrypt(capsule, kfrag))) for kfrag in kfrags]
        else:
            self.capsule, _ = pre.encrypt_package(self.pk_a, b"package", os.urandom)
            scalars = [SecretScalar.from_wide(os.urandom(48)) for _ in range(2)]
            chosen = ShareRandomness(scalars[0], (scalars[1],), tuple(os.urandom(32) for _ in range(4)))
            shares = pre.generate_shares(self.a, self.pk_b, self.s, 2, chosen)
            made = [pre.reencrypt(self.capsule, kfrag).frag for kfrag in shares]
        self.cfrags = [cfrag.verify(capsule=self.capsule, **keys) for cfrag in made]
        self.cases = [self.case(cfrag) for cfrag in self.cfrags]

    def case(self, cfrag: pre.VerifiedCapsuleFrag) -> Case:
        frag = cfrag.frag
        keys = (self.pk_a.to_bytes(), self.signer, self.pk_b.to_bytes())
        share = (frag.kfrag_id, frag.u1.to_bytes(), frag.x_a.to_bytes())
        return Case(self.capsule.to_bytes(), *keys, *share, to_chain_proof(cfrag))


@cache
def trade(number: int) -> Trade:
    return Trade(by_library=number % 2 == 0)


def library_says(case: Case) -> bool:
    """umbral-pre's verdict on what a proof speaks of, and whether its hints are the cfrag's own."""
    import umbral_pre as umbral

    try:
        frag = from_chain_proof(case.proof, kfrag_id=case.kfrag_id, u1=case.u1, x_a=case.x_a)
        capsule = pre.Capsule.from_bytes(case.capsule)
        pk_a, pk_b = Point.from_bytes(case.pk_a), Point.from_bytes(case.pk_b)
    except TamperedError:
        return False
    keys = [umbral.PublicKey.from_compressed_bytes(key.to_bytes()) for key in (case.signer, pk_a, pk_b)]
    theirs = umbral.Capsule.from_bytes(library_form.capsule_to_library(capsule))
    try:
        umbral.CapsuleFrag.from_bytes(library_form.cfrag_to_library(frag)).verify(theirs, *keys)
        library = True
    except (umbral.VerificationError, ValueError):
        library = False
    try:
        ours = frag.verify(capsule=capsule, signer=case.signer, pk_a=pk_a, pk_b=pk_b)
    except TamperedError:
        assert not library
        return False
    assert library
    return case.proof == to_chain_proof(ours) and case.arguments()[2] == address(case.signer)


@pytest.mark.timeout(7_200)
def test_valid_cfrags_of_the_library_and_of_ours_are_verified(verifier: ABIContract) -> None:
    for number in range(depth("contracts_cfrags_valid") // 4):
        for case in Trade(by_library=number % 2 == 0).cases:
            assert library_says(case)
            assert verifier.verify(*case.arguments())


# How to change one. Each gives (name, changed case); none of them is valid.


def proof_bytes(number: int) -> Iterator[tuple[str, Case]]:
    """Every byte of the proof."""
    case, change = trade(number % 4).cases[number % 3], 1 + number * 37 % 255
    for at in range(CHAIN_PROOF_BYTES):
        yield f"proof byte {at} ^ {change}", case.with_byte("proof", at, change)


def argument_bytes(number: int) -> Iterator[tuple[str, Case]]:
    """Every byte of every other argument (of the capsule, E and V: its s is not read)."""
    case, change = trade(number % 4).cases[number % 3], 1 + number * 41 % 255
    for field, length in (("capsule", 66), ("pk_a", 33), ("pk_b", 33), ("kfrag_id", 32), ("u1", 33), ("x_a", 33)):
        for at in range(length):
            yield f"{field} byte {at} ^ {change}", case.with_byte(field, at, change)


def hinted(case: Case, nonces: tuple[bytes, bytes, bytes], challenge: int) -> Case:
    """A forger's proof with consistent hints: the nonces' points are given, H = c * image, and A = nonce + H, whatever z is."""
    chords, product = b"", 1
    for nonce, image in zip(nonces, (case.u1, case.proof[:33], case.proof[33:66]), strict=True):
        h = multiply_public(Point.from_bytes(image), challenge)
        a = pre.cfrag.add_points(Point.from_bytes(nonce), h)
        (a_x, a_y), (h_x, h_y) = (
            (int.from_bytes(raw[1:33], "big"), int.from_bytes(raw[33:], "big"))
            for raw in (a.to_uncompressed_bytes(), h.to_uncompressed_bytes())
        )
        slope = (a_y + h_y) * pow(a_x - h_x, -1, FIELD) % FIELD
        product = product * slope % FIELD
        chords += b"".join(n.to_bytes(32, "big") for n in (a_x, h_x, slope))
    inverse = pow(product, -1, FIELD).to_bytes(32, "big")
    return replace(case, proof=case.proof[:CHORDS] + chords + inverse)


def cfrag_bytes(number: int) -> Iterator[tuple[str, Case]]:
    """Every byte of the 359: changed, and given the hints that fit the changed cfrag as far as they exist."""
    of = trade(number % 4)
    cfrag, case = of.cfrags[number % 3], of.cases[number % 3]
    raw, change = cfrag.to_bytes(), 1 + number * 43 % 255
    for at in range(len(raw)):
        value = bytearray(raw)
        value[at] ^= change
        new = bytes(value)
        s = int.from_bytes(new[327:], "big") & ~(1 << 255) | int.from_bytes(case.proof[130:162], "big") >> 255 << 255
        head = new[:66] + new[263:295] + new[295:327] + s.to_bytes(32, "big")
        changed = replace(case, kfrag_id=new[66:98], x_a=new[98:131], u1=new[197:230], proof=head + case.proof[CHORDS:])
        try:
            points = [Point.from_bytes(p) for p in (new[:33], new[131:164], new[33:66], new[164:197], new[230:263])]
            e1, e2, v1, v2, u2 = points
            u1, capsule = Point.from_bytes(changed.u1), of.capsule
            challenge = pre.hashes.cfrag_challenge(capsule.e, e1, e2, capsule.v, v1, v2, pre.PARAMETER_U, u1, u2)
            nonces = (u2.to_bytes(), e2.to_bytes(), v2.to_bytes())
            changed = hinted(changed, nonces, challenge)
        except (TamperedError, ValueError):
            pass  # no such point: the old hints stay
        if changed.arguments() != case.arguments():
            yield f"cfrag byte {at} ^ {change}", changed


def other_share(case: Case, of: Trade) -> Case:
    """A true proof, with a true Chaum-Pedersen for another share's secret on E and V only."""
    wrong = of.cases[3]
    return replace(case, proof=wrong.proof[:CHORDS] + case.proof[CHORDS : CHORDS + 96] + wrong.proof[CHORDS + 96 :])


def doubled(case: Case, at: int) -> Case:
    """A = -H: any line through one point would be a chord, and its third point the forger's choice."""
    return case.with_word(at, case.word(at + 32))


def off_curve_x() -> int:
    """An x of no point."""
    return next(x for x in range(1, 50) if pow(x**3 + 7, (FIELD - 1) // 2, FIELD) != 1)


def signed_anew(case: Case, of: Trade, x_a: bytes) -> Case:
    """The signer himself signs a precursor."""
    message = case.kfrag_id + case.u1 + x_a + b"\1" + case.pk_a + b"\1" + case.pk_b
    signature = sign_digest(of.s, hashlib.sha256(message).digest())
    s = int.from_bytes(signature[32:64], "big") | (signature[64] - 27) << 255
    return replace(
        case, x_a=x_a, proof=case.proof[:SIGNATURE] + signature[:32] + s.to_bytes(32, "big") + case.proof[CHORDS:]
    )


def rules(number: int) -> Iterator[tuple[str, Case]]:
    """Every structural rule."""
    of, other = trade(number % 4), trade((number + 1) % 4)
    case, next_case = of.cases[number % 3], of.cases[(number + 1) % 3]
    proof = case.proof
    for length in (0, 1, CHAIN_PROOF_BYTES - 1, CHAIN_PROOF_BYTES + 1, 512):
        yield f"length {length}", replace(case, proof=(proof + bytes(30))[:length])
    for field in ("capsule", "pk_a", "pk_b", "u1", "x_a"):
        yield f"{field} short", replace(case, **{field: getattr(case, field)[:-1]})  # type: ignore[arg-type]
        yield f"{field} empty", replace(case, **{field: b""})  # type: ignore[arg-type]
    for field in ("capsule", "pk_a", "pk_b", "x_a"):
        yield f"{field} of another trade", replace(case, **{field: getattr(other.cases[0], field)})  # type: ignore[arg-type]
    for field in ("kfrag_id", "u1"):
        yield f"{field} of another share", replace(case, **{field: getattr(next_case, field)})  # type: ignore[arg-type]
    yield "signer of another trade", replace(case, signer=other.signer)
    yield "signer zero", replace(case, signer_address=ZERO)
    yield "signer zero, signature none", replace(case.with_word(SIGNATURE, 0), signer_address=ZERO)
    yield "proof of another share", replace(case, proof=next_case.proof)
    yield "proof of another share, u1 too", replace(case, proof=next_case.proof, u1=next_case.u1)
    yield "E and V of another share", other_share(case, of)
    for name, at in (("e1", E1), ("v1", V1)):
        for sign in (0, 1, 4, 5, 6, 255):
            yield f"{name} sign {sign}", replace(case, proof=proof[:at] + bytes([sign]) + proof[at + 1 :])
        yield f"{name} mirrored", replace(case, proof=proof[:at] + bytes([5 - proof[at]]) + proof[at + 1 :])
        for x in (0, off_curve_x(), ORDER, FIELD, FIELD + 1, 2**256 - 1):
            yield f"{name} x {x}", case.with_word(at + 1, x)
        yield f"{name} is the base", replace(case, proof=proof[:at] + case.capsule[at : at + 33] + proof[at + 33 :])
    yield "e1 and v1 changed places", replace(case, proof=proof[33:66] + proof[:33] + proof[66:])
    yield "E and V changed places", replace(case, capsule=case.capsule[33:66] + case.capsule[:33] + case.capsule[66:])
    z = case.word(Z)
    for value in (0, 1, ORDER - z, ORDER, ORDER - 1, 2**256 - 1, (z + 1) % ORDER):
        yield f"z {value}", case.with_word(Z, value)
    if z < 2**256 - ORDER:
        yield "z beyond the order", case.with_word(Z, z + ORDER)
    r, s = case.word(SIGNATURE), case.word(SIGNATURE + 32)
    high = ORDER - (s & ~(1 << 255))
    for value in (0, ORDER, 1, s ^ 1 << 255, high & ~(1 << 255), high | 1 << 255, s & ~(1 << 255) or 1):
        if value != s:
            yield f"signature s {value}", case.with_word(SIGNATURE + 32, value)
    for value in (0, ORDER, FIELD, r + 1):
        yield f"signature r {value}", case.with_word(SIGNATURE, value)
    yield "signature of another share", replace(case, proof=proof[:98] + next_case.proof[98:162] + proof[162:])
    for chord in range(3):
        at = CHORDS + 96 * chord
        yield f"chord {chord}: one point twice", doubled(case, at)
        yield (
            f"chord {chord}: points changed places",
            replace(case, proof=proof[:at] + proof[at + 32 : at + 64] + proof[at : at + 32] + proof[at + 64 :]),
        )
        slope = case.word(at + 64)
        negated = case.with_word(at + 64, FIELD - slope).with_word(INVERSE, FIELD - case.word(INVERSE))
        yield f"chord {chord}: line mirrored", negated
        yield f"chord {chord}: level line", case.with_word(at + 64, 0)
        yield f"chord {chord}: level line and no inverse", case.with_word(at + 64, 0).with_word(INVERSE, 0)
        twice = case.with_word(at + 64, 2 * slope % FIELD)
        yield (
            f"chord {chord}: steeper, inverse fits",
            twice.with_word(INVERSE, case.word(INVERSE) * pow(2, -1, FIELD) % FIELD),
        )
        for k in (0, 32, 64):
            for value in (0, 1, FIELD, FIELD + 1, 2**256 - 1):
                yield f"chord {chord} word {k} = {value}", case.with_word(at + k, value)
    u, e = slice(CHORDS, CHORDS + 96), slice(CHORDS + 96, CHORDS + 192)
    yield "chords changed places", replace(case, proof=proof[: u.start] + proof[e] + proof[u] + proof[e.stop :])
    for value in (0, 1, FIELD, FIELD - case.word(INVERSE), 2**256 - 1):
        yield f"inverse {value}", case.with_word(INVERSE, value)
    for x_a in (b"\2" + off_curve_x().to_bytes(32, "big"), b"\4" + case.x_a[1:], bytes(33)):
        yield f"signed precursor {x_a.hex()[:6]} is no point", signed_anew(case, of, x_a)
    for sign in (b"\0", b"\4"):
        yield "u1 sign", replace(case, u1=sign + case.u1[1:])
    yield "all zeros", replace(case, proof=bytes(CHAIN_PROOF_BYTES))
    yield "all ones", replace(case, proof=b"\xff" * CHAIN_PROOF_BYTES)


KINDS: list[Callable[[int], Iterator[tuple[str, Case]]]] = [rules, proof_bytes, argument_bytes, cfrag_bytes]


@pytest.mark.timeout(7_200)
def test_changed_cfrags_are_refused_where_the_library_refuses_them(verifier: ABIContract) -> None:
    """Whole rounds: every structural rule, every byte of the proof, of the arguments and of the 359, each once a round."""
    count, wanted, number = 0, depth("contracts_cfrags_changed"), 0
    while count < wanted:
        for kind in KINDS:
            for name, case in kind(number):
                verdict = verifier.verify(*case.arguments())
                assert verdict == library_says(case), f"{name}: the contract says {verdict}"
                assert not verdict, name
                count += 1
        number += 1
    assert number >= 1


def test_a_signed_precursor_that_is_a_point_is_verified(verifier: ABIContract) -> None:
    """The signer's own signature over another point X_A is his word: the refusals above are for what X_A is."""
    of = trade(1)
    case = signed_anew(of.cases[0], of, of.pk_b.to_bytes())
    assert library_says(case)
    assert verifier.verify(*case.arguments())


@pytest.mark.parametrize("field", ["pk_a", "pk_b", "u1", "x_a"])
def test_a_key_of_another_length_is_refused_also_where_the_signer_signs_it(verifier: ABIContract, field: str) -> None:
    """Attack: a provider signs a share for 32 bytes of a key, of which nothing but the signature is read."""
    of = trade(0)
    case = replace(of.cases[0], **{field: getattr(of.cases[0], field)[:-1]})  # type: ignore[arg-type]
    assert not verifier.verify(*signed_anew(case, of, case.x_a).arguments())


def test_the_scalar_of_the_capsule_is_not_read(verifier: ABIContract) -> None:
    """The listing's capsule is checked by the consumer before payment; on chain only its two points are kept."""
    case = trade(0).cases[0]
    assert verifier.verify(*replace(case, capsule=case.capsule[:66] + bytes(32)).arguments())


def test_gas_of_a_verification(verifier: ABIContract) -> None:
    """37k, as the prototype took, with the signature and the point check."""
    case = trade(0).cases[0]
    verifier.verify(*case.arguments())
    assert verifier._computation.get_gas_used() < 40_000
