"""The TEE node's HTTP routes. Every answer says what kind of TEE this is and its measurement.

Source: spec/node-http-tee.md §2. The routes are open: what decides is inside the message (a challenge's nonce, the order's state, the fetch
signer's signature). Promises: nothing here decides anything; the core does.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from starlette.applications import Starlette

from asset_bridge.chain.records import ApprovedSlot, FetchSignature
from asset_bridge.errors import BridgeError, DefectError, InputError
from asset_bridge.nodes.tee.core import NONCE_BYTES, TeeNodeCore
from asset_bridge.trade.documents.new_generation import SLOT_LENGTHS
from asset_bridge.trade.evidence import OrderKey
from asset_bridge.transport.calls import Answer, Call, Reason, Route, field_bytes, field_int
from asset_bridge.transport.server import Guard, build_app
from asset_bridge.transport.wire import from_json, hex_of, to_json

SWEEP_SECONDS = 5.0
MOST_IN_A_BATCH = 16
_LOG = logging.getLogger("asset_bridge.tee")
_UINT32, _UINT8 = 2**32 - 1, 2**8 - 1


def routes(core: TeeNodeCore) -> list[Route]:
    """The node's own routes; /health, /metrics, /openapi.json and /v1/info come with `build_app`."""

    def answer(payload: Mapping[str, Any]) -> Answer:
        said = {**payload, "tee": core.tee, "measurement": core.measurement}
        return Answer(json=said, headers={"cache-control": "no-store"})

    def evidence(call: Call) -> Answer:
        return answer({"evidence": hex_of(core.evidence(field_bytes(call.json(), "nonce", NONCE_BYTES)))})

    def order_key(call: Call) -> Answer:
        made = OrderKey.parse(core.order_key(call.hex32("order_id")))
        return answer(to_json(made))

    def accept(call: Call) -> Answer:
        obj = call.json()
        order_id = call.hex32("order_id")
        generation, slot = field_int(obj, "generation", 1, _UINT32), field_int(obj, "slot", 0, _UINT8)
        if "replacement" in obj:
            replacement = from_json(ApprovedSlot, obj["replacement"], SLOT_LENGTHS)
            if "precursor" in obj:
                precursor = field_bytes(obj, "precursor", 33)
                made = core.accept_generation(order_id, generation, slot, replacement, precursor)
                return answer({"accept": to_json(made)})
            return answer({"accept": to_json(core.accept_reseal(order_id, generation, slot, replacement))})
        return answer({"accept": to_json(core.accept(order_id, generation, slot))})

    def served(order_id: bytes, fetch: FetchSignature) -> dict[str, Any]:
        cfrag, receipt, acks = core.reencrypt(order_id, fetch)
        return {"slot": receipt.slot, "cfrag": hex_of(cfrag), "receipt": to_json(receipt), "acks": to_json(acks)}

    def reencrypt(call: Call) -> Answer:
        return answer(served(call.hex32("order_id"), _fetch(call.json())))

    def reencrypt_many(call: Call) -> Answer:
        asked = call.json().get("requests")
        if not isinstance(asked, list) or not 1 <= len(asked) <= MOST_IN_A_BATCH:
            raise InputError("transport.json", f"requests is not a list of 1 to {MOST_IN_A_BATCH} requests.")
        parsed = [(field_bytes(item, "order_id", 32), _fetch(item)) for item in map(_object, asked)]
        return answer({"answers": [_one_of_many(served, order_id, fetch) for order_id, fetch in parsed]})

    def destroyed(call: Call) -> Answer:
        return answer({"destroyed": to_json(core.destroyed(call.hex32("order_id")))})

    return [
        Route("POST", "/v1/evidence", evidence, "Fresh evidence for a challenge of 32 random bytes"),
        Route("POST", "/v1/orders/{order_id}/key", order_key, "The key that this node makes for an order"),
        Route("POST", "/v1/orders/{order_id}/accept", accept, "Open, check and accept a share"),
        Route("POST", "/v1/orders/{order_id}/reencrypt", reencrypt, "The cfrag of a paid order, with its receipt"),
        Route(
            "POST", "/v1/reencrypt", reencrypt_many, "The same for up to 16 orders, each checked and answered by itself"
        ),
        Route("GET", "/v1/orders/{order_id}/destroyed", destroyed, "What this node says it destroyed"),
    ]


def _object(item: object) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise InputError("transport.json", "A request of the batch is not an object.")
    return item


def _fetch(obj: dict[str, Any]) -> FetchSignature:
    return FetchSignature(field_int(obj, "generation", 1, _UINT32), field_bytes(obj, "signature", 65))


def _one_of_many(
    served: Callable[[bytes, FetchSignature], dict[str, Any]], order_id: bytes, fetch: FetchSignature
) -> dict[str, Any]:
    """This request's answer, or its refusal: one order's refusal says nothing about the others."""
    try:
        return served(order_id, fetch)
    except DefectError:
        raise
    except BridgeError as error:
        return {"error": error.as_json()}


def health(core: TeeNodeCore, sweeper: Sweeper) -> list[Reason]:
    """Why the node would refuse now: its chain endpoints, its registration, or a sweeper that ended."""
    reasons = [] if sweeper.alive else [Reason("tee.sweeper", "The thread that destroys ended keys is not running.")]
    try:
        core.view.fresh()
        if not core.registered():
            reasons.append(
                Reason("tee.not-registered", "The registry does not hold this node as live with its present key.")
            )
    except BridgeError as error:
        reasons.append(Reason(error.code, error.message, error.actor))
    return reasons


def build(core: TeeNodeCore, guard: Guard, *, also: Callable[[], object] | None = None) -> Starlette:
    """The node's app; sweeping starts and stops with it, and its end destroys every key.

    `also` is called with each sweep: `StartedTee.renew_if_due`.
    """
    sweeper = Sweeper(core, also)
    return build_app(
        routes(core),
        title="Asset Bridge TEE node",
        info=core.info,
        health=lambda: health(core, sweeper),
        guard=guard,
        headers={"asset-bridge-tee": core.tee, "asset-bridge-measurement": core.measurement},
        on_start=(sweeper.start,),
        on_stop=(sweeper.stop, core.close),
    )


class Sweeper:
    """A thread that looks every few seconds whether orders have ended."""

    def __init__(
        self, core: TeeNodeCore, also: Callable[[], object] | None = None, every_seconds: float = SWEEP_SECONDS
    ) -> None:
        self._core, self._also, self._every, self._stop = core, also, every_seconds, threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, name="tee-sweeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, after the round in hand."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            try:
                self._core.sweep()
                if self._also is not None:
                    self._also()
            except BridgeError as error:
                _LOG.error("sweep", extra={"fields": {"code": error.code}})
