"""Documents: one encoding, bounds, and the names of the data that may not become public (spec/documents.md)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.records import Node, NodeEpoch, Vendor
from asset_bridge.errors import BridgeError, InputError, TamperedError
from asset_bridge.trade.documents.canonical import decode_json, encode_json
from asset_bridge.trade.documents.description import Description, decode_terms, encode_terms, refuse_names
from asset_bridge.trade.documents.endpoint import Endpoint
from asset_bridge.trade.documents.form import (
    Attachment,
    Form,
    decode_form,
    decode_reply,
    encode_form,
    encode_reply,
    with_attachments,
)
from asset_bridge.trade.documents.profile import ProfileDocument, ack_address_of
from asset_bridge.trade.documents.template import (
    DEFAULT_TEMPLATE,
    EXAMPLE_APPLICATION,
    check_template,
    example_application,
    validate_application,
)
from tools.vectors import documents as golden

DOCUMENTS = golden.documents()


def refused(kind: type[BridgeError], code: str, call: Callable[[], object]) -> BridgeError:
    with pytest.raises(kind) as caught:
        call()
    assert (type(caught.value), caught.value.code) == (kind, code), caught.value
    return caught.value


# ── canonical encodings ──


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b'{"a":1,"a":2}',
        b'{"a":NaN}',
        b'{"a":1}\n',
        b'{"a":1.0e0}',
        b'{"a":"\\u00e4"}',
        b'{"a":"\\ud800"}',
        b"\xff",
        b"[" * 100_000,
        b'{"a":' * 3000,
    ],
)
def test_only_canonical_json_is_read(content: bytes) -> None:
    refused(TamperedError, "trade.document", lambda: decode_json(content, "a document"))


def test_json_that_cannot_be_written() -> None:
    for value in (float("nan"), "\ud800", {1: object()}):
        refused(InputError, "trade.document", lambda v=value: encode_json(v))


READERS: dict[str, Callable[[bytes], object]] = {
    "description.json": Description.decode,
    "profile.json": ProfileDocument.decode,
    "endpoint.json": Endpoint.decode,
    "form.cbor": decode_form,
    "reply.cbor": decode_reply,
}


@pytest.mark.parametrize("name", READERS)
def test_a_changed_byte_never_gives_anything_but_a_refusal_or_another_valid_document(name: str) -> None:
    """Text may say something else; the shape may not break, and no raw error may escape."""
    content, read = DOCUMENTS[name], READERS[name]
    for position in range(0, len(content), max(1, len(content) // 400)):
        for bit in (0x01, 0x20, 0x80):
            changed = content[:position] + bytes([content[position] ^ bit]) + content[position + 1 :]
            try:
                read(changed)
            except BridgeError:
                continue
    for changed in (content[:-1], content + b"\0", b"", content * 2):
        with pytest.raises(BridgeError):
            read(changed)


# ── description and terms ──


@pytest.mark.parametrize(
    "changes",
    [
        {"title": ""},
        {"title": "x" * 201},
        {"title": "line\x1b[31mred"},
        {"title": "\u202eevil"},
        {"summary": "x" * 10_001},
        {"keywords": ("",)},
        {"keywords": ("k",) * 51},
        {"duo": ("DUO:42",)},
        {"records": -1},
    ],
)
def test_a_description_out_of_bounds_is_refused(changes: dict[str, Any]) -> None:
    good = Description("Title", "Summary")
    assert Description.decode(good.encode()) == good
    refused(InputError, "trade.document", lambda: replace(good, **changes).encode())


def test_description_from_a_template_file(tmp_path: Any) -> None:
    path = tmp_path / "t.json"
    path.write_text('{"type":"object"}')
    assert Description.build(title="T", template_file=path).template == {"type": "object"}
    path.write_text("{")
    refused(InputError, "trade.template", lambda: Description.build(title="T", template_file=path))


def test_terms() -> None:
    assert decode_terms(encode_terms("Für alles.\n")) == "Für alles.\n"
    for terms in ("", "\x00", "x" * (1 << 20) + "x", "\ud800"):
        refused(InputError, "trade.document", lambda t=terms: encode_terms(t))
    refused(TamperedError, "trade.document", lambda: decode_terms(b"\xff"))


@pytest.mark.parametrize(
    "text",
    [
        "See labs/lab-results.csv",
        "LAB-RESULTS.CSV inside",
        "contains README for all",
        "all of imaging/series 1",
        "from /srv/export/2024",
        "ne\u0301e.txt",
    ],
)
def test_names_of_the_data_may_not_become_public(text: str) -> None:
    paths = ["labs/lab-results.csv", "README", "imaging/series 1", "n\u00e9e.txt"]
    error = refused(InputError, "trade.name-in-public", lambda: refuse_names([text], paths, "/srv/export/2024"))
    assert error.hint


def test_words_that_only_contain_a_name_are_allowed() -> None:
    refuse_names(["A cohort with readmissions, laboratory and imaging data."], ["README", "lab", "a", "x/imag"], "data")


# ── template and application ──


def test_the_default_template_takes_its_example_and_names_what_is_wrong() -> None:
    validate_application(EXAMPLE_APPLICATION, None)
    assert example_application() == EXAMPLE_APPLICATION
    broken = {**EXAMPLE_APPLICATION, "country": "Germany", "duration_months": 0}
    broken.pop("legal_entity")
    error = refused(InputError, "trade.application", lambda: validate_application(broken, None))
    for word in ("country", "duration_months", "legal_entity"):
        assert word in error.message
    refused(InputError, "trade.application", lambda: validate_application([], None))
    refused(InputError, "trade.application", lambda: validate_application({"a": "x" * 300_000}, None))


def test_an_example_for_another_template_has_its_fields() -> None:
    template = {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"enum": ["x"]}, "c": {"type": "integer", "minimum": 3}},
        "required": ["a", "b", "c"],
    }
    made = example_application(template)
    assert (made["b"], made["c"], set(made)) == ("x", 3, {"a", "b", "c"})


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


@pytest.mark.parametrize(
    "template",
    [
        {"type": "string"},
        {"type": "object", "$ref": "http://example.com/x"},
        {"type": "object", "properties": {"a": {"$ref": "#"}}},
        {"type": "object", "allOf": []},
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "(a+)+$"}}},
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "^a*$"}}},
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "^[a-z]{1,9999}$"}}},
        {"type": "object", "properties": {"a": {"type": "strong"}}},
        {"type": "object", "properties": []},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "object", "title": "x" * 70_000},
        nested(13),
        [],
    ],
)
def test_a_template_that_costs_too_much_or_fetches_is_refused(template: Any) -> None:
    refused(TamperedError, "trade.template", lambda: check_template(template))


def test_a_template_may_nest_and_have_plain_patterns() -> None:
    check_template(nested(10))
    check_template(DEFAULT_TEMPLATE)


# ── form and reply ──


def form_of(*attachments: Attachment) -> Form:
    return Form(with_attachments(EXAMPLE_APPLICATION, attachments), bytes(1216), bytes(65), attachments)


def test_a_form_reads_back() -> None:
    form = form_of(Attachment("vote.pdf", "application/pdf", b"%PDF"), Attachment("b", "text/plain", b""))
    assert decode_form(encode_form(form)) == form
    assert form.application["attachments"][0]["name"] == "vote.pdf"


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "a\\b", ".hidden", "x" * 121, "a\nb", "\u202egpj.exe", "C:"])
def test_an_attachment_name_that_could_leave_its_folder_is_refused(name: str) -> None:
    bad = Attachment(name, "text/plain", b"")
    refused(InputError, "trade.attachment", lambda: form_of(bad))
    form = replace(form_of(), attachments=(bad,))
    refused(TamperedError, "trade.document", lambda: decode_form(encode_form(form)))


def test_attachments_are_bound_to_the_application() -> None:
    form = form_of(Attachment("vote.pdf", "application/pdf", b"%PDF"))
    for attachments in ((), (replace(form.attachments[0], content=b"other"),)):
        other = replace(form, attachments=attachments)
        refused(TamperedError, "trade.document", lambda f=other: decode_form(encode_form(f)))
    twice = (Attachment("A", "text/plain", b""), Attachment("a", "text/plain", b""))
    refused(InputError, "trade.attachment", lambda: form_of(*twice))
    refused(InputError, "trade.attachment", lambda: form_of(Attachment("a", "text", b"")))
    refused(InputError, "trade.attachment", lambda: form_of(Attachment("a", "text/plain", bytes(16 << 20))))
    refused(InputError, "trade.attachment", lambda: with_attachments({"attachments": []}, ()))


def test_replies() -> None:
    assert decode_reply(encode_reply("Welcome.")) == "Welcome."
    for reply in ("", "\x00", "x" * 20_001):
        refused(InputError, "trade.document", lambda r=reply: encode_reply(r))


# ── profile and endpoint ──


def test_profile() -> None:
    assert ack_address_of(DOCUMENTS["profile.json"]).startswith("0x")
    table = json.loads(DOCUMENTS["profile.json"])
    for name, value in (
        ("form_key", "0x00"),
        ("ack_address", "0x12"),
        ("form_key_counter", -1),
        ("format", "x"),
        ("x", 1),
    ):
        refused(
            TamperedError,
            "trade.document",
            lambda n=name, v=value: ProfileDocument.decode(encode_json({**table, n: v})),
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"ack_url": ""}, {"ack_url": "ftp://acks.example"}, {"ack_url": "https://a:b@acks.example"}, {"ack_url": 7},
        {"ack_address": ""}, {"ack_address": "0x12"}, {"format": "asset-bridge/profile/1"}, {"format": "asset-bridge/profile/3"},
        {"ack_url": None},
    ],
)  # fmt: skip
def test_a_profile_with_a_url_says_key_and_place(changes: dict[str, object]) -> None:
    raw = DOCUMENTS["profile-2.json"]
    assert ProfileDocument.decode(raw).ack_url == "https://acks.hospital.example"
    table = {name: value for name, value in {**json.loads(raw), **changes}.items() if value is not None}
    refused(TamperedError, "trade.document", lambda: ProfileDocument.decode(encode_json(table)))


def node_of(endpoint: Endpoint) -> Node:
    epoch = NodeEpoch(1, endpoint.operator, Vendor.NONE, bytes(32), bytes(32), bytes(32), 0)
    return Node(endpoint.node_id, endpoint.kind, endpoint.operator, bytes(32), 1, epoch, (), True, 0, 0)


def test_an_endpoint_document_is_its_operators_alone() -> None:
    endpoint = Endpoint.decode(DOCUMENTS["endpoint.json"])
    endpoint.expect(node_of(endpoint), endpoint.chain_id, endpoint.registry)
    refused(InputError, "trade.endpoint", lambda: endpoint.sign(AccountKey(bytes(31) + b"\x01")))
    table = json.loads(DOCUMENTS["endpoint.json"])
    forged = encode_json({**table, "urls": ["https://evil.example"]})
    refused(TamperedError, "trade.endpoint", lambda: Endpoint.decode(forged))
    refused(TamperedError, "trade.endpoint", lambda: endpoint.expect(node_of(endpoint), 1, endpoint.registry))
    other = replace(node_of(endpoint), node_id=bytes(32))
    refused(TamperedError, "trade.endpoint", lambda: endpoint.expect(other, endpoint.chain_id, endpoint.registry))
    for urls in ([], ["ftp://x"], ["http://u:p@x"], ["https://x"] * 9, "https://x"):
        refused(TamperedError, "trade.document", lambda u=urls: Endpoint.decode(encode_json({**table, "urls": u})))
