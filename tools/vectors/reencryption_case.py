"""A case of spec/vectors/reencryption/cases: its file, and what the product does with it (spec/reencryption.md §11)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from asset_bridge import reencryption as pre
from asset_bridge.keys.secp256k1 import ORDER, Point, SecretScalar
from asset_bridge.reencryption import library_form as form

P = 2**256 - 2**32 - 977
FIELD_MAX = b"\x02" + P.to_bytes(32, "big")
OFF_CURVE = b"\x02" + (5).to_bytes(32, "big")  # 5³ + 7 is no square mod p


@dataclass(frozen=True)
class Case:
    """One vector. `fields` are public unless named secret in the specification; all of them are test values."""

    expect: str
    comment: str
    object: str
    body: bytes
    fields: dict[str, bytes]

    def encode(self, released: bytes) -> bytes:
        """The file."""
        lines = [f"expect: {self.expect}", f"comment: {self.comment}", f"object: {self.object}"]
        lines += [f"{name}: {value.hex()}" for name, value in self.fields.items()]
        lines += [f"released: {hashlib.sha256(released).hexdigest()}", "", ""]
        return "\n".join(lines).encode() + self.body


def run(case: Case) -> bytes:
    """Do what the case's object says and return what was released; raises the refusal."""
    fields, body = case.fields, case.body
    points = {
        name: Point.from_bytes(fields[name])
        for name in ("pk_a", "pk_b", "signer")
        if name in fields and case.object != "pre-payment"
    }
    capsule = (
        pre.Capsule.from_bytes(fields["capsule"]) if "capsule" in fields and case.object != "pre-payment" else None
    )
    if case.object == "capsule":
        return pre.Capsule.from_bytes(body).to_bytes()
    if case.object == "package":
        return pre.decrypt_package(SecretScalar.from_bytes(fields["delegating"]), capsule, body)  # type: ignore[arg-type]
    if case.object == "share":
        parsed_share(body).check_signature(**points)
        return body
    if case.object in ("accept", "reencrypt"):
        rk, share = SecretScalar.from_bytes(body[:32]), parsed_share(body[32:])
        kfrag = pre.accept_share(rk=rk, share=share, capsule=capsule, **points)  # type: ignore[arg-type]
        return body if case.object == "accept" else pre.reencrypt(capsule, kfrag).to_bytes()  # type: ignore[arg-type]
    if case.object == "cfrag":
        return pre.CapsuleFrag.from_bytes(body).verify(capsule=capsule, **points).to_bytes()  # type: ignore[arg-type]
    if case.object == "w-proof":
        pre.verify_commitment(points["pk_a"], Point.from_bytes(fields["w"]), body, parsed_context(fields["context"]))
        return body
    if case.object == "open":
        verified = [
            pre.CapsuleFrag.from_bytes(body[i : i + 359]).verify(capsule=capsule, **points)  # type: ignore[arg-type]
            for i in range(0, len(body), 359)
        ]
        half = pre.HalfKey.from_secret_bytes(fields["half_key"])
        threshold = fields["threshold"][0]
        return pre.open_package(
            half,
            pk_a=points["pk_a"],
            capsule=capsule,
            cfrags=verified,
            threshold=threshold,
            sealed=fields["sealed"],  # type: ignore[arg-type]
        )
    if case.object == "half-key":
        return pre.HalfKey.from_secret_bytes(body).to_secret_bytes()
    if case.object == "library-capsule":
        return form.capsule_from_library(body).to_bytes()
    if case.object == "library-cfrag":
        return form.cfrag_from_library(body).to_bytes()
    if case.object == "library-kfrag":
        return share_bytes(form.kfrag_from_library(body, **points).published())
    assert case.object == "pre-payment", case.object
    half = pre.pre_payment_check(
        **{name: fields[name] for name in ("capsule", "pk_a", "signer", "w", "proof")},
        context=parsed_context(fields["context"]),
        slots=[parsed_share(body[i : i + 163]) for i in range(0, len(body), 163)],
        threshold=fields["threshold"][0],
        receiving=SecretScalar.from_bytes(fields["receiving"]),
    )
    return half.to_secret_bytes()


def parsed_share(encoded: bytes) -> pre.PublishedShare:
    """From 163 bytes."""
    return pre.PublishedShare.from_fields(encoded[:32], encoded[32:65], encoded[65:98], encoded[98:])


def parsed_context(encoded: bytes) -> pre.ListingContext:
    """From 88 bytes."""
    return pre.ListingContext(int.from_bytes(encoded[:32], "big"), encoded[32:52], encoded[52:72], encoded[72:])


def parse(encoded: bytes) -> tuple[Case, str]:
    """A file's case, and its `released`."""
    head, _, body = encoded.partition(b"\n\n")
    table = dict(line.split(": ", 1) for line in head.decode().splitlines())
    expect, comment, what, released = (table.pop(name) for name in ("expect", "comment", "object", "released"))
    return Case(expect, comment, what, body, {name: bytes.fromhex(value) for name, value in table.items()}), released


def at(position: int, value: bytes, encoded: bytes) -> bytes:
    """`encoded` with bytes replaced."""
    return encoded[:position] + value + encoded[position + len(value) :]


def flip(position: int, encoded: bytes, bit: int = 1) -> bytes:
    """One bit changed."""
    return at(position, bytes([encoded[position] ^ bit]), encoded)


def number(value: int) -> bytes:
    """32 bytes."""
    return value.to_bytes(32, "big")


def share_bytes(share: pre.PublishedShare) -> bytes:
    """id ‖ U1 ‖ X_A ‖ signature with v, 163 bytes."""
    return share.kfrag_id + share.u1.to_bytes() + share.x_a.to_bytes() + share.receiver_signature


def forms(encoded: bytes, points: tuple[int, ...], scalars: tuple[int, ...]) -> dict[str, tuple[str, bytes]]:
    """What is wrong with any fixed-length object: lengths, second spellings of points, scalars out of range."""
    last = points[-1]
    found = {
        "empty": ("no bytes at all", b""),
        "cut": ("the last byte is missing", encoded[:-1]),
        "suffix": ("a zero byte follows", encoded + b"\x00"),
        "twice": ("the object twice", encoded * 2),
        "point-zero-tag": ("tag 00: infinity has no encoding", at(points[0], bytes(33), encoded)),
        "point-hybrid-tag": ("tag 06, SEC1 hybrid", at(points[0], b"\x06", encoded)),
        "point-tag-05": ("tag 05, which umbral-pre accepts", at(points[0], b"\x05", encoded)),
        "point-off-curve": ("x = 5 is on no point", at(last, OFF_CURVE, encoded)),
        "point-not-reduced": ("x = p", at(last, FIELD_MAX, encoded)),
    }
    for name, value in (("zero", 0), ("n", ORDER), ("max", 2**256 - 1)):
        for place in scalars:
            found[f"scalar-{name}"] = (f"the scalar is {name}", at(place, number(value), encoded))
    return found
