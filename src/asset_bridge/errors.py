"""Every error the product raises on purpose.

    BridgeError
    ├── InputError         the caller can fix the request          exit 2   http 400
    ├── RefusedError       a rule said no; retrying is useless     exit 3   http 403
    ├── TamperedError      bytes do not verify; never show them    exit 4   http 422
    ├── UnavailableError   a peer is slow or down; retry may help  exit 5   http 503
    ├── StoppedError       the person stopped it; resuming is safe exit 130 http 499
    └── DefectError        our own bug                             exit 70  http 500

The class says who can act, `code` is stable ("room.reason", spec/errors.md), the sentence is free to improve.
Promises: no key, plaintext or peer's raw reply in `code`, `message`, `hint` or `actor`, at any level.
Does not promise: that a message is translated or keeps its words between releases.
"""

from __future__ import annotations

from typing import ClassVar

ACTORS = (
    "you",
    "provider",
    "consumer",
    "light node",
    "storage node",
    "tee node",
    "chain endpoint",
    "operator",
    "nobody",
)


class BridgeError(Exception):
    """A failure with a stable code and, where there is one, the next step.

    Args:
        code: "room.reason", lower case, as listed in `spec/errors.md`.
        message: one sentence that names the cause.
        hint: the next step, or empty.
        actor: who must act, a role (one of ACTORS) with an optional name behind it, as in "tee node 0x12ab…".
    """

    exit_status: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, code: str, message: str, *, hint: str = "", actor: str = "you") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.actor = actor

    def as_json(self) -> dict[str, str]:
        """The one JSON shape of a failure (spec/node-http.md): code, message, hint, actor."""
        return {"code": self.code, "message": self.message, "hint": self.hint, "actor": self.actor}


class InputError(BridgeError):
    """The caller can fix the request."""

    exit_status = 2
    http_status = 400


class RefusedError(BridgeError):
    """A rule said no; the same request will be refused again."""

    exit_status = 3
    http_status = 403


class TamperedError(BridgeError):
    """Bytes do not verify; they were discarded."""

    exit_status = 4
    http_status = 422


class UnavailableError(BridgeError):
    """A peer or a resource is missing now; the same request may succeed later."""

    exit_status = 5
    http_status = 503


class StoppedError(BridgeError):
    """The person stopped the work; it can be resumed."""

    exit_status = 130
    http_status = 499


class DefectError(BridgeError):
    """A bug of ours. The id in the message finds the log line; nothing else is shown."""

    exit_status = 70
    http_status = 500


BY_HTTP_STATUS: dict[int, type[BridgeError]] = {
    kind.http_status: kind
    for kind in (InputError, RefusedError, TamperedError, UnavailableError, StoppedError, DefectError)
}
