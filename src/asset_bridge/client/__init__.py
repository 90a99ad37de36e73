"""The trade for a script: `Provider` and `Consumer`, and what they take and return. The commands stand on the same objects."""

from asset_bridge.client.consumer import Consumer
from asset_bridge.client.provider import InboxItem, Provider
from asset_bridge.client.results import (
    Approved,
    CatalogEntry,
    Checked,
    Claimed,
    Consented,
    Fetched,
    Paid,
    Proposed,
    Regenerated,
    Requested,
    Resealed,
    Revoked,
)
from asset_bridge.client.signing import Examined, Signed
from asset_bridge.trade.documents.description import Description
from asset_bridge.trade.documents.template import DEFAULT_TEMPLATE, example_application, validate_application
from asset_bridge.trade.preview import PublicView
from asset_bridge.trade.publish import Published
from asset_bridge.trade.status import Status
from asset_bridge.vault.passphrase import passphrase_from_descriptor, passphrase_from_file

__all__ = [
    "DEFAULT_TEMPLATE",
    "Approved",
    "CatalogEntry",
    "Checked",
    "Claimed",
    "Consented",
    "Consumer",
    "Description",
    "Examined",
    "Fetched",
    "InboxItem",
    "Paid",
    "Proposed",
    "Provider",
    "PublicView",
    "Published",
    "Regenerated",
    "Requested",
    "Resealed",
    "Revoked",
    "Signed",
    "Status",
    "example_application",
    "passphrase_from_descriptor",
    "passphrase_from_file",
    "validate_application",
]
