"""What `publish` makes public, shown before it happens (design §9.8).

Promises: the same checks as `publish`, and the exact padded length; nothing is written or sent. Does not promise: to judge the texts.
"""

from __future__ import annotations

from dataclasses import dataclass

from asset_bridge.chain.keys import address_bytes
from asset_bridge.sealing.padding import Padding
from asset_bridge.sealing.seal import Sealer
from asset_bridge.trade.desk import Desk
from asset_bridge.trade.publish import ON_CHAIN_WARNING, Plan, prepare

EVERYBODY = "everybody"


@dataclass(frozen=True, slots=True)
class PublicLine:
    """One thing that becomes public: to whom, and for how long."""

    what: str
    who: str
    how_long: str


@dataclass(frozen=True, slots=True)
class PublicView:
    """What `publish` would make public."""

    lines: tuple[PublicLine, ...]
    body_length_bytes: int
    warning: str


def preview(desk: Desk, plan: Plan) -> PublicView:
    """The view of a plan; refuses what `publish` would refuse."""
    source, description, terms, _offer = prepare(desk, plan)
    padding = Padding.ON_CHAIN if plan.on_chain else Padding.PADME
    sealer = Sealer(  # only for the length; its key is thrown away
        file_key=desk.randbytes(32),
        container_id=desk.randbytes(16),
        lister=address_bytes(desk.address),
        index=source.index,
        randbytes=desk.randbytes,
        padding=padding,
    )
    length = sealer.body_length_bytes
    where = "for ever (in the chain itself)" if plan.on_chain else "while a storage node keeps it; assume for ever"
    lines = [
        PublicLine(f"account {desk.address}", EVERYBODY, "for ever"),
        PublicLine(f"description, {len(description)} bytes", EVERYBODY, "assume for ever"),
        PublicLine(f"terms, {len(terms)} bytes", EVERYBODY, "assume for ever"),
        PublicLine("price and deadlines", EVERYBODY, "for ever"),
        PublicLine(f"ciphertext, {length} bytes, padded", EVERYBODY, where),
        PublicLine("header, capsule, key package, public keys", EVERYBODY, "for ever"),
        PublicLine("time of listing", EVERYBODY, "for ever"),
    ]
    if desk.reader.profile(desk.address) is None:
        legal = f"profile: form key{', ' + plan.legal_name if plan.legal_name else ''}"
        lines.append(PublicLine(legal, EVERYBODY, "assume for ever"))
    return PublicView(tuple(lines), length, ON_CHAIN_WARNING if plan.on_chain else "")
