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
from asset_bridge.vault.network import is_url

FORMAT = "asset-bridge/profile/1"
FORMAT_WITH_URL = "asset-bridge/profile/2"
FORM_KEY_BYTES = 1216
_WHAT = "the profile"


@dataclass(frozen=True, slots=True)
class ProfileDocument:
    """`form_key_counter` says which key of the provider's seed this is; `ack_address` is empty without an endpoint of his own.

    `ack_url` says where the key of `ack_address` acknowledges receipts; a document with one is of the second format.
    """

    form_key: FormPublicKey
    form_key_counter: int
    ack_address: str = ""
    legal_name: str = ""
    ack_url: str = ""

    def encode(self) -> bytes:
        """Canonical JSON; InputError trade.document."""
        encoded = encode_json(
            ({"ack_url": self.ack_url} if self.ack_url else {})
            | {
                "format": FORMAT_WITH_URL if self.ack_url else FORMAT,
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
        with_url = table.get("format") == FORMAT_WITH_URL
        fields = {"format", "form_key", "form_key_counter", "ack_address", "legal_name"}
        require_fields(table, _WHAT, fields | {"ack_url"} if with_url else fields)
        if table["format"] not in (FORMAT, FORMAT_WITH_URL):
            raise bad(_WHAT, f"does not have the format {FORMAT} or {FORMAT_WITH_URL}")
        ack_address, ack_url = table["ack_address"], table.get("ack_url", "")
        if with_url and not (is_url(ack_url) and ack_address):
            raise bad(_WHAT, "does not say which key acknowledges at which URL")
        if ack_address != "" and not is_address(ack_address):
            raise bad(_WHAT, "has an ack address that is no EIP-55 address")
        return ProfileDocument(
            form_key=FormPublicKey.from_bytes(hex_bytes(table["form_key"], "the form key", FORM_KEY_BYTES)),
            form_key_counter=counting(table["form_key_counter"], "the form key's counter", 2**32 - 1),
            ack_address=ack_address,
            legal_name=text(table["legal_name"], "the legal name", high=200),
            ack_url=ack_url,
        )


def ack_address_of(document: bytes) -> str:
    """The account that signs the provider's `Ack`s, or nothing; TamperedError trade.document."""
    return ProfileDocument.decode(document).ack_address
