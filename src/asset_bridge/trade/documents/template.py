"""The template of an application: a small, safe part of JSON Schema, and the shipped default.

Source: spec/documents.md §4. A template comes from a provider and runs on a consumer's machine, so it may use only what costs little:
no references, no groups or unbounded repetition in a pattern. Promises: `validate_application` names every field that is wrong.
Does not promise: that an answer is true.
"""

from __future__ import annotations

import re
from typing import Any

from asset_bridge.errors import BridgeError, InputError, TamperedError
from asset_bridge.trade.documents.canonical import encode_json

MAX_TEMPLATE_BYTES = 64 * 1024
MAX_DEPTH = 12
MAX_APPLICATION_BYTES = 256 * 1024
_KEYWORDS = frozenset(
    {"$schema", "type", "title", "description", "default", "examples", "properties", "required", "additionalProperties"}
    | {"items", "enum", "const", "pattern", "minLength", "maxLength", "minimum", "maximum"}
    | {"minItems", "maxItems", "uniqueItems"}
)
# Literals, character classes and bounded repetition between anchors: no group, no alternation, no * or +.
_SAFE_PATTERN = re.compile(r"\^(?:(?:\[[^\[\]\\]{1,60}\]|\\d|[\w:/. -])(?:\{\d{1,3}(?:,\d{1,3})?\}|\?)?){1,30}\$")

ATTACHMENTS: dict[str, Any] = {
    "type": "array",
    "title": "Documents attached (filled in by the program)",
    "maxItems": 20,
    "items": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 120},
            "media_type": {"type": "string", "maxLength": 130},
            "length_bytes": {"type": "integer", "minimum": 0},
            "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        },
        "required": ["name", "media_type", "length_bytes", "sha256"],
        "additionalProperties": False,
    },
}

DEFAULT_TEMPLATE: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Application for access to health data",
    "type": "object",
    "properties": {
        "legal_entity": {
            "type": "string",
            "title": "Legal entity that will use the data",
            "minLength": 2,
            "maxLength": 200,
        },
        "responsible_person": {
            "type": "object",
            "title": "Person responsible at that entity",
            "properties": {
                "name": {"type": "string", "title": "Name", "minLength": 2, "maxLength": 200},
                "role": {"type": "string", "title": "Role", "minLength": 2, "maxLength": 200},
                "contact": {"type": "string", "title": "E-mail or telephone", "minLength": 3, "maxLength": 200},
            },
            "required": ["name", "role", "contact"],
            "additionalProperties": False,
        },
        "country": {
            "type": "string",
            "title": "Country of that entity (ISO 3166, two letters)",
            "pattern": "^[A-Z]{2}$",
        },
        "purpose": {
            "type": "object",
            "title": "Purpose",
            "properties": {
                "duo_code": {"type": "string", "title": "Data Use Ontology code", "pattern": "^DUO:[0-9]{7}$"},
                "text": {"type": "string", "title": "In your own words", "minLength": 20, "maxLength": 5000},
            },
            "required": ["duo_code", "text"],
            "additionalProperties": False,
        },
        "duration_months": {"type": "integer", "title": "For how many months", "minimum": 1, "maximum": 120},
        "place_of_processing": {
            "type": "string",
            "title": "Where the data will be processed",
            "minLength": 2,
            "maxLength": 500,
        },
        "ethics_or_permit_number": {
            "type": "string",
            "title": "Number of the ethics vote or data permit",
            "minLength": 1,
            "maxLength": 200,
        },
        "attachments": ATTACHMENTS,
    },
    "required": [
        "legal_entity",
        "responsible_person",
        "country",
        "purpose",
        "duration_months",
        "place_of_processing",
        "ethics_or_permit_number",
    ],
    "additionalProperties": False,
}

EXAMPLE_APPLICATION: dict[str, Any] = {
    "legal_entity": "University Institute of Epidemiology",
    "responsible_person": {
        "name": "Head of data science",
        "role": "Principal investigator",
        "contact": "data-office@example.org",
    },
    "country": "DE",
    "purpose": {
        "duo_code": "DUO:0000042",
        "text": "Study of risk factors for cardiovascular disease in routine care data.",
    },
    "duration_months": 24,
    "place_of_processing": "Institute's own secured computing centre",
    "ethics_or_permit_number": "EK-2026-0417",
}


def check_template(template: object) -> None:
    """Accept a template that is cheap and safe to run.

    Raises:
        TamperedError(trade.template): it is too long or deep, uses another keyword, or is no JSON Schema.
    """
    if not isinstance(template, dict) or len(encode_json(template)) > MAX_TEMPLATE_BYTES:
        raise _refused("is no JSON Schema object of at most 64 KiB")
    _check_schema(template, 0)
    if template.get("type") != "object":
        raise _refused("does not describe an object")
    # Here and below, since few commands meet a template and all would pay for the import.
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(template)
    except SchemaError:
        raise _refused("is no valid JSON Schema") from None


def _check_schema(schema: object, depth: int) -> None:
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        raise _refused("is nested too deeply or malformed")
    if unknown := set(schema) - _KEYWORDS:
        raise _refused(f"uses {', '.join(sorted(map(str, unknown)))[:100]}, which a template may not")
    pattern = schema.get("pattern")
    if pattern is not None and not (isinstance(pattern, str) and _SAFE_PATTERN.fullmatch(pattern)):
        raise _refused("has a pattern with groups, alternatives or unbounded repetition")
    if not isinstance(schema.get("additionalProperties", True), bool):
        raise _refused("has additionalProperties other than true or false")
    properties = schema.get("properties", {})
    if not isinstance(properties, dict):
        raise _refused("has malformed properties")
    for inner in properties.values():
        _check_schema(inner, depth + 1)
    if "items" in schema:
        _check_schema(schema["items"], depth + 1)


def _refused(why: str) -> TamperedError:
    return TamperedError(
        "trade.template", f"the template of the application {why}", hint="the provider must change it", actor="provider"
    )


def validate_application(application: object, template: dict[str, Any] | None) -> None:
    """Check an application against the provider's template, or the default one.

    Raises:
        InputError(trade.application): each wrong field by its place.
        TamperedError(trade.template): the template itself is refused.
    """
    schema = DEFAULT_TEMPLATE if template is None else template
    check_template(schema)
    if len(encode_json(application)) > MAX_APPLICATION_BYTES:
        raise InputError("trade.application", "the application is longer than 256 KiB; attach long texts as documents")
    from jsonschema import Draft202012Validator
    from referencing import Registry

    validator = Draft202012Validator(schema, registry=Registry())  # an empty registry: nothing is ever fetched
    problems = sorted({_say(error.absolute_path, error.message) for error in validator.iter_errors(application)})
    if problems:
        more = f"; and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise InputError(
            "trade.application",
            "the application does not match the provider's template: " + "; ".join(problems[:8]) + more,
            hint="correct these fields and send the request again",
        )


def _say(path: Any, message: str) -> str:
    place = "/".join(str(step) for step in path) or "application"
    return f"{place}: {message[:160]}"


def application_problem(application: object, template: dict[str, Any] | None) -> str:
    """The same check for a reader of a received application: the sentence, or nothing."""
    try:
        validate_application(application, template)
    except BridgeError as error:
        return error.message
    return ""


def example_application(template: dict[str, Any] | None = None) -> dict[str, Any]:
    """An application to fill in: the shipped example for the default template, else placeholders of the right kinds."""
    if template is None or template == DEFAULT_TEMPLATE:
        return dict(EXAMPLE_APPLICATION)
    made = _placeholder(template)
    return made if isinstance(made, dict) else {}


def _placeholder(schema: dict[str, Any]) -> Any:
    for fixed in ("const", "default"):
        if fixed in schema:
            return schema[fixed]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type", "string")
    if kind == "object":
        wanted = schema.get("required", list(schema.get("properties", {})))
        return {
            name: _placeholder(schema["properties"][name]) for name in wanted if name in schema.get("properties", {})
        }
    if kind == "array":
        return []
    if kind in ("integer", "number"):
        return schema.get("minimum", 0)
    if kind == "boolean":
        return False
    return f"<{schema.get('title', 'text')}>"
