"""Write spec/vectors/reencryption/cases: one case a file, one failure a file (spec/reencryption.md §11).

Each file: `name: value` lines (hex), an empty line, the object's bytes. `expect` is `accepted` or the code of the refusal, `released` the
SHA-256 of what the operation gave out (of nothing where it refuses). Every case is one entry below.
Run: python tools/vectors/reencryption_cases.py [FOLDER]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from asset_bridge import reencryption as pre
from asset_bridge.keys.secp256k1 import (
    GENERATOR,
    ORDER,
    Point,
    SecretScalar,
    respond,
    shared_point,
)
from asset_bridge.keys.signing import sign_digest
from asset_bridge.reencryption import library_form as form
from asset_bridge.reencryption.commitment import _challenge
from asset_bridge.reencryption.hashes import cfrag_challenge
from tools.vectors.reencryption import FOLDER, Trade, fixed, resigned, with_coefficients
from tools.vectors.reencryption_case import (
    OFF_CURVE,
    Case,
    at,
    flip,
    forms,
    number,
    run,
    share_bytes,
)

LIE, TAU = (SecretScalar.from_wide(fixed(f"case {name}", 48)) for name in ("lie", "tau"))


@cache
def trade(label: str = "2 of 3", threshold: int = 2, shares: int = 3) -> Trade:
    """A fixed trade."""
    return Trade(label, threshold, shares)


def keys(of: Trade) -> dict[str, bytes]:
    """pk_A, pk_B and signer."""
    return {"pk_a": of.pk_a.to_bytes(), "pk_b": of.pk_b.to_bytes(), "signer": of.signer.to_bytes()}


def capsules() -> dict[str, Case]:
    """R6 to R9."""
    honest = trade().capsule.to_bytes()
    made = {
        name: Case("reencryption.capsule", comment, "capsule", body, {})
        for name, (comment, body) in forms(honest, (0, 33), (66,)).items()
    }
    made["honest"] = Case("accepted", "an honest capsule", "capsule", honest, {})
    other = trade("another asset").capsule.to_bytes()
    wrong = {
        "s-changed": ("a bit of s", flip(97, honest)),
        "e-negated": ("E with the other sign", flip(0, honest)),
        "v-negated": ("V with the other sign", flip(33, honest)),
        "e-and-v-swapped": ("E and V swapped", honest[33:66] + honest[:33] + honest[66:]),
        "s-of-another": ("s of another capsule", honest[:66] + other[66:]),
        "s-negated": ("n − s", honest[:66] + number(ORDER - int.from_bytes(honest[66:], "big"))),
    }
    for name, (comment, body) in wrong.items():
        made[name] = Case("reencryption.capsule", comment, "capsule", body, {})
    return made


def packages() -> dict[str, Case]:
    """R10."""
    one, other = trade(), trade("another asset")
    fields = {"delegating": one.keys.delegating.to_secret_bytes(), "capsule": one.capsule.to_bytes()}
    wrong = {
        "nonce-bit": ("a bit of the nonce", flip(0, one.sealed)),
        "ciphertext-bit": ("a bit of the ciphertext", flip(24, one.sealed)),
        "tag-bit": ("a bit of the tag", flip(199, one.sealed)),
        "cut": ("the last byte is missing", one.sealed[:-1]),
        "suffix": ("a zero byte follows", one.sealed + b"\x00"),
        "shorter-than-overhead": ("39 bytes", one.sealed[:39]),
        "empty": ("no bytes", b""),
        "of-another-asset": ("the package of another listing", other.sealed),
    }
    made = {n: Case("reencryption.package", c, "package", b, fields) for n, (c, b) in wrong.items()}
    made["honest"] = Case("accepted", "the provider's own opening", "package", one.sealed, fields)
    for name, change in (
        ("other-capsule", {"capsule": other.capsule.to_bytes()}),
        ("other-key", {"delegating": other.keys.delegating.to_secret_bytes()}),
    ):
        made[name] = Case("reencryption.package", f"honest bytes, {name}", "package", one.sealed, {**fields, **change})
    return made


def shares() -> dict[str, Case]:
    """R5, R14 as a consumer checks them."""
    one, other = trade(), trade("another asset")
    honest = share_bytes(one.kfrags[0].published())
    second = share_bytes(one.kfrags[1].published())
    made = {}
    for name, (comment, body) in forms(honest, (32, 65), ()).items():
        made[name] = Case("reencryption.share", comment, "share", body, keys(one))
    r, s, v = honest[98:130], int.from_bytes(honest[130:162], "big"), honest[162]
    wrong = {
        "id-bit": ("a bit of the id", flip(0, honest)),
        "u1-negated": ("U1 with the other sign", flip(32, honest)),
        "x-a-negated": ("X_A with the other sign", flip(65, honest)),
        "signature-of-another-slot": ("the next share's signature", honest[:98] + second[98:]),
        "signature-high-s": (
            "the same signature with n − s and the other v",
            honest[:98] + r + number(ORDER - s) + bytes([55 - v]),
        ),
        "signature-v-other": ("the other v", honest[:162] + bytes([55 - v])),
        "signature-v-zero": ("v as 0 or 1", honest[:162] + bytes([v - 27])),
        "signature-r-zero": ("r = 0", at(98, bytes(32), honest)),
        "signature-s-zero": ("s = 0", at(130, bytes(32), honest)),
        "signature-r-n": ("r = n", at(98, number(ORDER), honest)),
    }
    for name, (comment, body) in wrong.items():
        made[name] = Case("reencryption.receiver-signature", comment, "share", body, keys(one))
    made["honest"] = Case("accepted", "an honest share", "share", honest, keys(one))
    for name in ("pk_a", "pk_b", "signer"):
        fields = {**keys(one), name: keys(other)[name]}
        made[f"other-{name.replace('_', '-')}"] = Case(
            "reencryption.receiver-signature", f"{name} of another trade", "share", honest, fields
        )
    return made


def accepts() -> dict[str, Case]:
    """R13 to R15: a TEE node before `Accept` (P2)."""
    one = trade()
    first, second = one.kfrags[0], one.kfrags[1]
    fields = {**keys(one), "capsule": one.capsule.to_bytes()}
    honest = first.rk.to_secret_bytes() + share_bytes(first.published())
    made = {"honest": Case("accepted", "an honest share and its secret", "accept", honest, fields)}
    wrong = {
        "rk-of-another-slot": ("reencryption.commitment", "the next slot's secret", second.rk.to_secret_bytes()),
        "rk-one": ("reencryption.commitment", "the secret 1", number(1)),
        "rk-negated": (
            "reencryption.commitment",
            "n − rk",
            number(ORDER - int.from_bytes(first.rk.to_secret_bytes(), "big")),
        ),
        "rk-zero": ("keys.scalar", "the secret 0", number(0)),
        "rk-n": ("keys.scalar", "the secret n", number(ORDER)),
    }
    for name, (expect, comment, rk) in wrong.items():
        made[name] = Case(expect, comment, "accept", rk + honest[32:], fields)
    made["signature-broken"] = Case(
        "reencryption.receiver-signature", "what frames a node in umbral-pre", "accept", flip(140, honest), fields
    )
    return made


def forged(lie_in: str) -> bytes:
    """A cfrag whose proof is right for every part but one."""
    one = trade()
    kfrag, u = one.kfrags[0], pre.PARAMETER_U
    rk = {part: LIE if part == lie_in or (lie_in == "U" and part != "U") else kfrag.rk for part in "EVU"}
    e1, v1 = shared_point(rk["E"], one.capsule.e), shared_point(rk["V"], one.capsule.v)
    e2, v2, u2 = (shared_point(TAU, base) for base in (one.capsule.e, one.capsule.v, u))
    challenge = cfrag_challenge(one.capsule.e, e1, e2, one.capsule.v, v1, v2, u, kfrag.u1, u2)
    z = respond(TAU, LIE if lie_in == "U" else kfrag.rk, challenge)
    signature = kfrag.receiver_signature[:64]
    return pre.CapsuleFrag(e1, v1, kfrag.kfrag_id, kfrag.x_a, e2, v2, kfrag.u1, u2, z, signature).to_bytes()


def cfrags() -> dict[str, Case]:
    """R17 to R21."""
    one, other = trade(), trade("another asset")
    honest, second = one.cfrags[0].to_bytes(), one.cfrags[1].to_bytes()
    fields = {**keys(one), "capsule": one.capsule.to_bytes()}
    made = {"honest": Case("accepted", "an honest cfrag", "cfrag", honest, fields)}
    for name, (comment, body) in forms(honest, (0, 33, 98, 131, 164, 197, 230), (263,)).items():
        made[name] = Case("reencryption.cfrag-form", comment, "cfrag", body, fields)
    s = int.from_bytes(honest[327:359], "big")
    wrong = {
        "id-bit": ("a bit of the kfrag id", flip(66, honest)),
        "id-of-another-share": ("the id of the next share", at(66, second[66:98], honest)),
        "x-a-negated": ("X_A with the other sign", flip(98, honest)),
        "z-bit": ("a bit of z", flip(294, honest)),
        "signature-high-s": ("n − s", honest[:327] + number(ORDER - s)),
        "signature-of-another-share": ("the next share's signature", honest[:295] + second[295:]),
        "of-another-asset": ("a whole cfrag of another asset", other.cfrags[0].to_bytes()),
        "lie-in-e": ("E1 by another secret, all else right", forged("E")),
        "lie-in-v": ("V1 by another secret, all else right", forged("V")),
        "lie-in-u": ("E1 and V1 by another secret than U1", forged("U")),
        "capsule-swap": ("honest bytes of the same share for another capsule", b""),
    }
    for place, name in ((0, "e1"), (33, "v1"), (131, "e2"), (164, "v2"), (197, "u1"), (230, "u2")):
        wrong[f"{name}-negated"] = (f"{name} with the other sign", flip(place, honest))
        wrong[f"{name}-of-another-share"] = (
            f"{name} of the next share's cfrag",
            at(place, second[place : place + 33], honest),
        )
    wrong["capsule-swap"] = (wrong["capsule-swap"][0], pre.reencrypt(other.capsule, one.kfrags[0]).to_bytes())
    for name, (comment, body) in wrong.items():
        made[name] = Case("reencryption.cfrag", comment, "cfrag", body, fields)
    for name in ("pk_a", "pk_b", "signer"):
        changed = {**fields, name: keys(other)[name]}
        made[f"other-{name.replace('_', '-')}"] = Case(
            "reencryption.cfrag", f"{name} of another trade", "cfrag", honest, changed
        )
    return made


def context_bytes(context: pre.ListingContext) -> bytes:
    """chain id 32 ‖ ledger 20 ‖ provider 20 ‖ container id 16."""
    return context.to_bytes()


def proof_of_w(w: Point, on_g: SecretScalar, on_u: SecretScalar, secret: SecretScalar) -> bytes:
    """A proof with chosen nonces and secret."""
    one = trade()
    r_g, r_u = on_g.public_key(), shared_point(on_u, pre.PARAMETER_U)
    z = respond(on_g, secret, _challenge(one.context.to_bytes(), one.pk_a, w, r_g, r_u))
    return r_g.to_bytes() + r_u.to_bytes() + number(z)


def proofs_of_w() -> dict[str, Case]:
    """R28 to R30."""
    one, other = trade(), trade("another asset")
    fields = {"pk_a": one.pk_a.to_bytes(), "w": one.w.to_bytes(), "context": context_bytes(one.context)}
    made = {"honest": Case("accepted", "an honest proof", "w-proof", one.w_proof, fields)}
    for name, (comment, body) in forms(one.w_proof, (0, 33), (66,)).items():
        made[name] = Case("reencryption.w-proof", comment, "w-proof", body, fields)
    lie_w = shared_point(LIE, pre.PARAMETER_U)
    lies = {
        "only-on-g": (
            "W of another secret, the proof right on G",
            lie_w,
            proof_of_w(lie_w, TAU, TAU, one.keys.delegating),
        ),
        "only-on-u": ("W of another secret, the proof right on U", lie_w, proof_of_w(lie_w, TAU, TAU, LIE)),
        "two-nonces": ("R_U by another nonce", one.w, proof_of_w(one.w, TAU, LIE, one.keys.delegating)),
        "r-g-negated": ("R_G with the other sign", one.w, flip(0, one.w_proof)),
        "z-bit": ("a bit of z", one.w, flip(97, one.w_proof)),
        "of-another-asset": ("W and proof of another asset", other.w, other.w_proof),
    }
    for name, (comment, w, proof) in lies.items():
        made[name] = Case("reencryption.w-proof", comment, "w-proof", proof, {**fields, "w": w.to_bytes()})
    for name, change in (
        ("other-chain", {"chain_id": 1}),
        ("other-ledger", {"ledger": bytes(20)}),
        ("other-provider", {"provider": bytes(20)}),
        ("other-container", {"container_id": bytes(16)}),
    ):
        changed = {**fields, "context": context_bytes(replace(one.context, **change))}  # type: ignore[arg-type]
        made[name] = Case("reencryption.w-proof", f"copied under {name}", "w-proof", one.w_proof, changed)
    return made


def openings() -> dict[str, Case]:
    """R23 to R27. The body is the cfrags, 359 bytes each; each was verified with the fields `signer`, `verified_…`."""
    one, other = trade(), trade("another asset")
    half = pre.half_open(one.receiving, one.kfrags[0].x_a).to_secret_bytes()
    fields = {
        **keys(one),
        "capsule": one.capsule.to_bytes(),
        "half_key": half,
        "threshold": bytes([2]),
        "sealed": one.sealed,
    }
    parts = [cfrag.to_bytes() for cfrag in one.cfrags]
    made = {}
    for name, chosen in (
        ("1-2", (0, 1)),
        ("1-3", (0, 2)),
        ("3-2", (2, 1)),
        ("all", (0, 1, 2)),
        ("repeated", (0, 0, 1)),
    ):
        body = b"".join(parts[i] for i in chosen)
        made[f"honest-{name}"] = Case("accepted", f"cfrags {name}", "open", body, fields)
    for name, chosen in (("none", ()), ("one", (0,)), ("one-three-times", (0, 0, 0))):
        body = b"".join(parts[i] for i in chosen)
        made[f"too-few-{name}"] = Case("reencryption.too-few", f"cfrags: {name}", "open", body, fields)
    big = trade("5 of 8", 5, 8)
    made["honest-5-of-8"] = Case(
        "accepted",
        "the last five of eight",
        "open",
        b"".join(cfrag.to_bytes() for cfrag in big.cfrags[3:]),
        {
            **keys(big),
            "capsule": big.capsule.to_bytes(),
            "half_key": pre.half_open(big.receiving, big.kfrags[0].x_a).to_secret_bytes(),
            "threshold": bytes([5]),
            "sealed": big.sealed,
        },
    )
    made["too-few-4-of-5"] = replace(
        made["honest-5-of-8"],
        expect="reencryption.too-few",
        comment="four where five are needed",
        body=made["honest-5-of-8"].body[: 4 * 359],
    )
    made["threshold-zero"] = Case(
        "reencryption.threshold", "a threshold of 0", "open", parts[0], {**fields, "threshold": bytes(1)}
    )
    stranger = pre.half_open(one.receiving, other.kfrags[0].x_a).to_secret_bytes()
    made["other-half"] = Case(
        "reencryption.other-set",
        "the half key of another approval",
        "open",
        b"".join(parts[:2]),
        {**fields, "half_key": stranger},
    )
    made["other-package"] = Case(
        "reencryption.package",
        "the package of another asset",
        "open",
        b"".join(parts[:2]),
        {**fields, "sealed": other.sealed},
    )
    for name, secret in (
        ("garbage-secret", SecretScalar.from_wide(fixed("garbage", 48))),
        ("other-secret", other.keys.delegating),
    ):
        kfrags = with_coefficients(one, secret, *one.randomness.coefficients)
        accepted = [
            pre.KeyFrag(kfrag.rk, share).verify(pk_a=one.pk_a, pk_b=one.pk_b, signer=one.signer)
            for kfrag, share in zip(kfrags, resigned(one, kfrags), strict=True)
        ]
        body = b"".join(pre.reencrypt(one.capsule, kfrag).to_bytes() for kfrag in accepted[:2])
        made[name] = Case(
            "reencryption.garbage-shares", "every cfrag proves itself; together they open nothing", "open", body, fields
        )
    return made


def reencryptions() -> dict[str, Case]:
    """R18, R19: the body is rk ‖ share; what is released is the cfrag."""
    made = {}
    for label, threshold, count in (("2 of 3", 2, 3), ("5 of 8", 5, 8)):
        of = trade(label, threshold, count)
        kfrag = of.kfrags[-1]
        body = kfrag.rk.to_secret_bytes() + share_bytes(kfrag.published())
        fields = {**keys(of), "capsule": of.capsule.to_bytes()}
        made[label.replace(" ", "-")] = Case(
            "accepted", "the same 359 bytes on every platform", "reencrypt", body, fields
        )
    return made


def half_keys() -> dict[str, Case]:
    """R23, from the store."""
    one = trade()
    honest = pre.half_open(one.receiving, one.kfrags[0].x_a).to_secret_bytes()
    return {
        "honest": Case("accepted", "a stored half key", "half-key", honest, {}),
        "cut": Case("keys.size", "98 bytes", "half-key", honest[:-1], {}),
        "suffix": Case("keys.size", "100 bytes", "half-key", honest + b"\x00", {}),
        "zero": Case("keys.point", "zeros", "half-key", bytes(99), {}),
        "off-curve": Case("keys.point", "x = 5", "half-key", at(66, OFF_CURVE, honest), {}),
    }


def library_forms() -> dict[str, Case]:
    """R37 to R39."""
    one, other = trade(), trade("another asset")
    capsule, cfrag = form.capsule_to_library(one.capsule), form.cfrag_to_library(one.cfrags[0])
    kfrag = form.kfrag_to_library(one.kfrags[0], one.keys.signer)
    code = "reencryption.library-form"
    made = {
        "capsule-honest": Case("accepted", "105 bytes", "library-capsule", capsule, {}),
        "capsule-check": Case(
            "reencryption.capsule", "well-formed, its check fails", "library-capsule", flip(104, capsule), {}
        ),
        "cfrag-honest": Case("accepted", "381 bytes", "library-cfrag", cfrag, {}),
        "cfrag-scalar": Case(
            "reencryption.cfrag-form",
            "z = 0",
            "library-cfrag",
            at(cfrag.index(one.cfrags[0].to_bytes()[263:295]), bytes(32), cfrag),
            {},
        ),
        "kfrag-honest": Case("accepted", "310 bytes", "library-kfrag", kfrag, keys(one)),
    }
    for name, honest, fields in (("capsule", capsule, {}), ("cfrag", cfrag, {}), ("kfrag", kfrag, keys(one))):
        wrong = {
            "suffix": ("a trailing byte, which umbral-pre accepts", honest + b"\xc0"),
            "cut": ("the last byte is missing", honest[:-1]),
            "empty": ("no bytes", b""),
            "array-tag": ("the array as `dc 00 0n`", b"\xdc\x00" + bytes([honest[0] & 15]) + honest[1:]),
            "bin16": ("a field's length in two bytes", honest.replace(b"\xc4\x21", b"\xc5\x00\x21", 1)),
            "str8": ("a field as a string", honest.replace(b"\xc4\x21", b"\xd9\x21", 1)),
        }
        for what, (comment, body) in wrong.items():
            made[f"{name}-{what}"] = Case(code, comment, f"library-{name}", body, fields)
    made["kfrag-other-parameter"] = Case(
        code, "another point than U", "library-kfrag", at(4, one.pk_a.to_bytes(), kfrag), keys(one)
    )
    made["kfrag-proxy-signature"] = Case(
        "keys.signature",
        "the proxy-side signature is by another key",
        "library-kfrag",
        kfrag,
        {**keys(one), "signer": keys(other)["signer"]},
    )
    made["kfrag-receiver-signature"] = Case(
        "reencryption.receiver-signature",
        "the receiver-side signature broken: umbral-pre's own check passes",
        "library-kfrag",
        flip(300, kfrag),
        keys(one),
    )
    return made


def pre_payments() -> dict[str, Case]:
    """R31 to R36. The body is the slots, 163 bytes each. Whole sets stand in pre-payment.json too."""
    from tools.vectors.reencryption import pre_payment_cases

    made = {}
    for name, (expect, given) in pre_payment_cases().items():
        made[name] = pre_payment(expect, name.replace("-", " "), given)
    one, five = trade(), trade("5 of 8", 5, 8)
    honest = one.pre_payment()
    slots = honest["slots"]
    negated = replace(slots[2], u1=Point.from_bytes(flip(0, slots[2].u1.to_bytes())))
    signed = replace(
        negated,
        receiver_signature=sign_digest(
            one.keys.signer, pre.receiver_digest(negated.kfrag_id, negated.u1, negated.x_a, one.pk_a, one.pk_b)
        ),
    )
    one_secret = with_coefficients(five, five.keys.delegating)
    more = {
        "slot-negated": (
            "reencryption.garbage-shares",
            "a further slot with the other sign, signed anew",
            {**honest, "slots": [*slots[:2], signed]},
        ),
        "threshold-1-of-8": (
            "reencryption.duplicate-share",
            "eight slots with one commitment",
            {**five.pre_payment(), "slots": resigned(five, one_secret)},
        ),
        "no-slots": ("reencryption.threshold", "no slot at all", {**honest, "slots": []}),
        "pk-a-not-a-point": ("reencryption.listing-key", "pk_A is off the curve", {**honest, "pk_a": OFF_CURVE}),
        "w-not-a-point": ("reencryption.listing-key", "W is off the curve", {**honest, "w": OFF_CURVE}),
        "w-is-the-generator": ("reencryption.w-proof", "W = G", {**honest, "w": GENERATOR.to_bytes()}),
        "of-another-consumer": (
            "reencryption.receiver-signature",
            "another consumer's approval",
            {**honest, "receiving": trade("another asset").receiving},
        ),
    }
    for name, (expect, comment, given) in more.items():
        made[name] = pre_payment(expect, comment, given)
    return made


def pre_payment(expect: str, comment: str, given: dict[str, Any]) -> Case:
    """The arguments as fields."""
    fields = {name: given[name] for name in ("capsule", "pk_a", "signer", "w", "proof")}
    fields |= {"context": given["context"].to_bytes(), "threshold": bytes([given["threshold"]])}
    fields["receiving"] = given["receiving"].to_secret_bytes()
    return Case(expect, comment, "pre-payment", b"".join(share_bytes(slot) for slot in given["slots"]), fields)


GROUPS: dict[str, Callable[[], dict[str, Case]]] = {
    "capsule": capsules,
    "package": packages,
    "share": shares,
    "accept": accepts,
    "cfrag": cfrags,
    "w-proof": proofs_of_w,
    "open": openings,
    "reencrypt": reencryptions,
    "half-key": half_keys,
    "library": library_forms,
    "pre-payment": pre_payments,
}


def build() -> dict[str, bytes]:
    """File name → content."""
    files = {}
    for group, cases in GROUPS.items():
        for name, case in cases().items():
            released = run(case) if case.expect == "accepted" else b""
            files[f"{group}-{name}.case"] = case.encode(released)
    return files


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER / "cases"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in build().items():
        (folder / name).write_bytes(content)
