"""Write spec/vectors/documents: each document of spec/documents.md from fixed inputs, in its one encoding.

Run: python tools/vectors/documents.py [FOLDER]
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.records import AcceptSignature, ApprovedSlot, NodeKind
from asset_bridge.keys.derivation import form_key
from asset_bridge.trade.documents.canonical import encode_json
from asset_bridge.trade.documents.description import Description, encode_terms
from asset_bridge.trade.documents.endpoint import Endpoint
from asset_bridge.trade.documents.form import Attachment, Form, encode_form, encode_reply, with_attachments
from asset_bridge.trade.documents.new_generation import NewGeneration
from asset_bridge.trade.documents.profile import ProfileDocument
from asset_bridge.trade.documents.template import DEFAULT_TEMPLATE, EXAMPLE_APPLICATION

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "spec" / "vectors" / "documents"


def fixed(label: str, length_bytes: int = 32) -> bytes:
    """Fixed bytes that look random."""
    return hashlib.shake_256(b"asset-bridge document vectors: " + label.encode()).digest(length_bytes)


def new_slot(number: int) -> ApprovedSlot:
    """A slot of fixed bytes; nothing in it is a valid share."""

    def of(label: str, length_bytes: int = 32) -> bytes:
        return fixed(f"slot {number} {label}", length_bytes)

    expires_at = 1_800_000_000 + number
    return ApprovedSlot(
        of("id"),
        b"\x03" + of("u1"),
        of("receiver", 65),
        of("node"),
        number + 1,
        of("kem"),
        expires_at,
        of("key", 65),
        of("rk", 80),
    )


def documents() -> dict[str, bytes]:
    """File name → bytes."""
    attachments = (
        Attachment("ethics vote.pdf", "application/pdf", fixed("vote", 40)),
        Attachment("Vollmacht – Übersetzung.txt", "text/plain", "Übersetzung\n".encode()),
    )
    template = {
        "type": "object",
        "properties": {"site": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"}},
        "required": ["site"],
    }
    description = Description(
        "Cardiology cohort – 2,000 patients",
        "Diagnoses and laboratory values, 2019 to 2023.",
        ("cardiology", "laboratory"),
        ("DUO:0000042",),
        2000,
        template,
    )
    operator = AccountKey(fixed("operator"))
    endpoint = Endpoint(
        NodeKind.TEE,
        fixed("node"),
        operator.address,
        31337,
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        ("https://tee.example:8443",),
        fixed("pin"),
    )
    form = Form(
        with_attachments(EXAMPLE_APPLICATION, attachments), fixed("hybrid", 1216), fixed("signature", 65), attachments
    )
    profile = ProfileDocument(
        form_key(fixed("seed"), 3).public_key(), 3, operator.address, "General Hospital, Records Office"
    )
    slots = tuple(new_slot(number) for number in range(3))
    accepts = tuple(
        AcceptSignature(2, n, slot.kfrag_id, slot.kem_key_digest, slot.node_id, slot.epoch, fixed(f"accept {n}", 65))
        for n, slot in enumerate(slots)
    )
    proposal = NewGeneration(
        31337,
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        fixed("order"),
        2,
        2,
        b"\x02" + fixed("precursor"),
        slots,
        accepts,
    )
    return {
        "new-generation.json": proposal.encode(),
        "new-generation-agreed.json": replace(
            proposal, consent=fixed("consent", 125), fetch=fixed("fetch", 65)
        ).encode(),
        "description.json": description.encode(),
        "terms.txt": encode_terms("Für den genannten Zweck.\nKeine Weitergabe."),
        "template.json": encode_json(DEFAULT_TEMPLATE),
        "application.json": form.application_bytes,
        "form.cbor": encode_form(form),
        "reply.cbor": encode_reply("Willkommen – please cite the dataset."),
        "profile.json": profile.encode(),
        "profile-2.json": replace(profile, ack_url="https://acks.hospital.example").encode(),
        "endpoint.json": endpoint.sign(operator),
        "VERSION": b"1\n",
    }


def write(folder: Path) -> None:
    """Every file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in documents().items():
        (folder / name).write_bytes(content)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
