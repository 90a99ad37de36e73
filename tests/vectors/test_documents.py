"""Golden files of the documents (spec/documents.md): one encoding each, read back to the same bytes."""

from __future__ import annotations

from pathlib import Path

from asset_bridge.trade.documents.canonical import decode_json, encode_json
from asset_bridge.trade.documents.description import Description, decode_terms
from asset_bridge.trade.documents.endpoint import Endpoint
from asset_bridge.trade.documents.form import decode_form, decode_reply, encode_form, encode_reply
from asset_bridge.trade.documents.new_generation import decode_new_generation
from asset_bridge.trade.documents.profile import ProfileDocument
from asset_bridge.trade.documents.template import DEFAULT_TEMPLATE
from tools.vectors import documents as script

FOLDER = Path("spec/vectors/documents")


def test_the_same_bytes_are_written() -> None:
    for name, content in script.documents().items():
        assert content == (FOLDER / name).read_bytes(), name


def test_each_reads_back() -> None:
    def read(name: str) -> bytes:
        return (FOLDER / name).read_bytes()

    assert Description.decode(read("description.json")).encode() == read("description.json")
    assert decode_terms(read("terms.txt")).encode() == read("terms.txt")
    assert encode_json(decode_json(read("template.json"), "template")) == encode_json(DEFAULT_TEMPLATE)
    form = decode_form(read("form.cbor"))
    assert encode_form(form) == read("form.cbor")
    assert form.application_bytes == read("application.json")
    assert encode_reply(decode_reply(read("reply.cbor"))) == read("reply.cbor")
    for name, url in (("profile.json", ""), ("profile-2.json", "https://acks.hospital.example")):
        profile = ProfileDocument.decode(read(name))
        assert (profile.encode(), profile.ack_url) == (read(name), url)
    for name, agreed in (("new-generation.json", False), ("new-generation-agreed.json", True)):
        found = decode_new_generation(read(name))
        assert (found.encode(), bool(found.consent), bool(found.fetch)) == (read(name), agreed, agreed)
    assert Endpoint.decode(read("endpoint.json")).urls == ("https://tee.example:8443",)
