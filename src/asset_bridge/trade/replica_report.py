"""What a light node tells operators of storage nodes about the files it put on storage: who holds them, and what its last audit found.

Source: spec/node-http.md §9 (GET /v1/replicas). Promises: `decode` passes only the one form. Does not promise: that the light node's word
is true; whoever doubts it reads blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from asset_bridge.errors import InputError
from asset_bridge.ipld.cid import Cid
from asset_bridge.transport.wire import bytes_of, hex_of, integer_of


@dataclass(frozen=True, slots=True)
class AuditResult:
    """One file's last round: names of replicas that were good, repaired, lost; what was wrong, by name; what is still short or missing."""

    good: tuple[str, ...]
    repaired: tuple[str, ...]
    lost: tuple[str, ...]
    damage: dict[str, str]
    missing_replicas: int
    missing_blocks: tuple[str, ...]
    missing_count: int


@dataclass(frozen=True, slots=True)
class FileReplicas:
    """One file: its root, its length, `body` or `document`, the node ids of those that hold it; `audit` is None before its first round."""

    root: str
    length_bytes: int
    purpose: str
    held_by: tuple[bytes, ...]
    audit: AuditResult | None


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    """All files of one light node. `audited_at` is 0 before the first round."""

    files: tuple[FileReplicas, ...]
    wanted: int
    audited_at: int

    def encode(self) -> dict[str, Any]:
        """As the route sends it."""
        return {
            "files": [_file_json(one) for one in self.files],
            "wanted": self.wanted,
            "audited_at": self.audited_at,
        }

    @classmethod
    def decode(cls, answer: dict[str, Any]) -> ReplicaReport:
        """Raises InputError(transport.json): any other form."""
        files = answer.get("files")
        if not isinstance(files, list):
            raise _misshapen()
        return cls(
            tuple(_file(one) for one in files), integer_of(answer.get("wanted")), integer_of(answer.get("audited_at"))
        )


def _file_json(one: FileReplicas) -> dict[str, Any]:
    audit = None
    if one.audit is not None:
        audit = {
            "good": list(one.audit.good),
            "repaired": list(one.audit.repaired),
            "lost": list(one.audit.lost),
            "damage": one.audit.damage,
            "missing_replicas": one.audit.missing_replicas,
            "missing_blocks": list(one.audit.missing_blocks),
            "missing_count": one.audit.missing_count,
        }
    return {
        "root": one.root,
        "length": one.length_bytes,
        "purpose": one.purpose,
        "held_by": [hex_of(node_id) for node_id in one.held_by],
        "audit": audit,
    }


def _file(value: Any) -> FileReplicas:
    found = _object(value)
    audit = found.get("audit")
    return FileReplicas(
        str(Cid.parse(_text(found.get("root")))),
        integer_of(found.get("length")),
        _text(found.get("purpose")),
        tuple(bytes_of(one, 32, name="held_by") for one in _list(found.get("held_by"))),
        None if audit is None else _audit(_object(audit)),
    )


def _audit(found: dict[str, Any]) -> AuditResult:
    damage = _object(found.get("damage"))
    return AuditResult(
        _texts(found.get("good")),
        _texts(found.get("repaired")),
        _texts(found.get("lost")),
        {_text(name): _text(code) for name, code in damage.items()},
        integer_of(found.get("missing_replicas")),
        tuple(str(Cid.parse(text)) for text in _texts(found.get("missing_blocks"))),
        integer_of(found.get("missing_count")),
    )


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(_text(one) for one in _list(value))


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 200 or not value.isprintable():
        raise _misshapen()
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _misshapen()
    return value


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _misshapen()
    return value


def _misshapen() -> InputError:
    return InputError("transport.json", "The list of replicas has no known form.")
