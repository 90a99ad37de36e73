"""The OpenAPI document of a node, made from its routes.

Source: spec/node-http.md §4. Promises: every route of the app is in it, with its method, its cap and whether it must be signed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from asset_bridge.transport.calls import Route

_PARAMETER = re.compile(r"\{([a-z_]+)(?::path)?\}")


def openapi_document(title: str, routes: Sequence[Route]) -> dict[str, Any]:
    """OpenAPI 3.1 of these routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operation: dict[str, Any] = {
            "summary": route.summary,
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in _PARAMETER.findall(route.path)
            ],
            "responses": {"200": {"description": "Done."}, "default": {"$ref": "#/components/responses/Failure"}},
        }
        if route.signed:
            operation["security"] = [{"rfc9421": []}]
        if route.method in ("POST", "PUT"):
            kind = "application/json" if route.request is not None else "application/octet-stream"
            schema = dict(route.request) if route.request is not None else {"maxLength": route.max_body_bytes}
            operation["requestBody"] = {"content": {kind: {"schema": schema}}}
        paths.setdefault(route.path.replace(":path}", "}"), {})[route.method.lower()] = operation
    text = {"type": "string"}
    failure = {
        "type": "object",
        "required": ["code", "message", "hint", "actor"],
        "properties": {"code": text, "message": text, "hint": text, "actor": text},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1"},
        "paths": paths,
        "components": {
            "schemas": {"Failure": failure},
            "responses": {
                "Failure": {
                    "description": "One shape for every failure.",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Failure"}}},
                }
            },
            "securitySchemes": {
                "rfc9421": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Signature",
                    "description": "RFC 9421 with an Ethereum account, spec/node-http.md §2",
                }
            },
        },
    }
