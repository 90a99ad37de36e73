"""A provider's profile: made before the first listing, read by consumers (protocol §3, spec/documents.md §7).

Promises: the form key a consumer seals to is the one whose digest stands on chain under the provider's account.
"""

from __future__ import annotations

from dataclasses import replace

from asset_bridge.chain.records import ZERO_ADDRESS, Sent
from asset_bridge.errors import InputError
from asset_bridge.ipld.unixfs import file_dag
from asset_bridge.keys.derivation import form_key
from asset_bridge.keys.kem import FormSecretKey
from asset_bridge.trade.desk import Desk
from asset_bridge.trade.documents.profile import ProfileDocument

FIRST_COUNTER = 0


def ensure_profile(desk: Desk, legal_name: str = "") -> list[Sent]:
    """Publish a profile if this provider has none; the transactions sent."""
    if desk.reader.profile(desk.address) is not None:
        return []
    key = form_key(desk.vault.provider_seed.reveal(), FIRST_COUNTER)
    document = ProfileDocument(key.public_key(), FIRST_COUNTER, "", legal_name).encode()
    root = file_dag(document).root
    desk.light.upload(root.to_bytes(), len(document), lambda _: document, "document", None)
    return [desk.account.set_profile(root.digest, desk.address, ZERO_ADDRESS)]


def name_ack_endpoint(desk: Desk, ack_address: str, url: str) -> Sent:
    """Say in the profile which key acknowledges this provider's receipts, and where; both empty: nobody does.

    Raises:
        InputError(trade.no-profile): nothing was published yet.
        InputError(trade.document): no URL, one that no TEE node would ask, or no address.
    """
    if url and not url.lower().startswith("https://") and not desk.reader.is_development:
        raise InputError("trade.document", "TEE nodes ask at https addresses only", hint="name it as https://…")
    found = desk.reader.profile(desk.address)
    document = replace(read_profile(desk, desk.address), ack_address=ack_address, ack_url=url).encode()
    root = file_dag(document).root
    desk.light.upload(root.to_bytes(), len(document), lambda _: document, "document", None)
    assert found is not None  # read_profile refused otherwise
    return desk.account.set_profile(root.digest, found.payee, desk.reader.provider_account(desk.address).recovery)


def read_profile(desk: Desk, provider: str) -> ProfileDocument:
    """A provider's profile document.

    Raises:
        InputError(trade.no-profile): the provider has published none, so no form can be sealed to him.
        TamperedError(trade.document): it is malformed.
    """
    profile = desk.reader.profile(provider)
    if profile is None:
        raise InputError(
            "trade.no-profile", f"the provider {provider} has no profile", hint="ask the provider", actor="provider"
        )
    return ProfileDocument.decode(desk.public_document(profile.document_digest))


def own_form_key(desk: Desk) -> FormSecretKey:
    """The secret key of this provider's published form key.

    Raises:
        InputError(trade.form-key): the profile holds a key that this home's seed does not give.
    """
    document = read_profile(desk, desk.address)
    key = form_key(desk.vault.provider_seed.reveal(), document.form_key_counter)
    if key.public_key().to_bytes() != document.form_key.to_bytes():
        raise InputError(
            "trade.form-key",
            "the published form key does not come from this home's seed",
            hint="use the home that published the profile, or restore it from its backup",
        )
    return key
