"""The provider's profile: the key that forms are sealed to, and who the provider is if he wants to say so.

Source: spec/documents.md §7. Its digest stands on chain under the provider's account, which is what authenticates it.
"""

from __future__ import annotations

from dataclasses import dataclass

from asset_bridge.errors import TamperedError
from asset_bridge.keys.address import is_address
from asset_bridge.keys.kem import FormPublicKey
from asset_bridge.trade.documents.canonical import (
    as_input,
    bad,
    counting,
    decode_json,
    encode_json,
    hex_bytes,
    require_fields,
    text,
)

FORMAT = "asset-bridge/profile/1"
FORM_KEY_BYTES = 1216
_WHAT = "the profile"


@dataclass(frozen=True, slots=True)
class ProfileDocument:
    """`form_key_counter` says which key of the provider's seed this is; `ack_address` is empty without an endpoint of his own."""

    form_key: FormPublicKey
    form_key_counter: int
    ack_address: str = ""
    legal_name: str = ""

    def encode(self) -> bytes:
        """Canonical JSON; InputError trade.document."""
        encoded = encode_json(
            {
                "format": FORMAT,
                "form_key": "0x" + self.form_key.to_bytes().hex(),
                "form_key_counter": self.form_key_counter,
                "ack_address": self.ack_address,
                "legal_name": self.legal_name,
            }
        )
        try:
            ProfileDocument.decode(encoded)
        except TamperedError as error:
            raise as_input(error) from None
        return encoded

    @staticmethod
    def decode(encoded: bytes) -> ProfileDocument:
        """Read a profile; TamperedError trade.document."""
        table = decode_json(encoded, _WHAT)
        require_fields(table, _WHAT, {"format", "form_key", "form_key_counter", "ack_address", "legal_name"})
        if table["format"] != FORMAT:
            raise bad(_WHAT, f"does not have the format {FORMAT}")
        ack_address = table["ack_address"]
        if ack_address != "" and not is_address(ack_address):
            raise bad(_WHAT, "has an ack address that is no EIP-55 address")
        return ProfileDocument(
            form_key=FormPublicKey.from_bytes(hex_bytes(table["form_key"], "the form key", FORM_KEY_BYTES)),
            form_key_counter=counting(table["form_key_counter"], "the form key's counter", 2**32 - 1),
            ack_address=ack_address,
            legal_name=text(table["legal_name"], "the legal name", high=200),
        )


def ack_address_of(document: bytes) -> str:
    """The account that signs the provider's `Ack`s, or nothing; TamperedError trade.document."""
    return ProfileDocument.decode(document).ack_address
