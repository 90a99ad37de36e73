"""Send a transaction once: journal first, then the network, then wait; the same call again has no second effect.

Source: reliability N3, F7, F10; spec/chain.md §4. The order is fixed: estimate (a revert ends here, nothing is written) → funds →
nonce, signature and journal in one fsynced write → broadcast to every endpoint → wait for the receipt of any attempt.
Promises: after a crash or a lost answer the next `send` of the same call, or `resume`, finds the transaction by its hashes and
nonce; a stuck one is replaced at the same nonce with a higher bid; a nonce that someone else used is noticed.
Does not promise: finality. A reorg may remove a mined transaction; the next act sends it again at its own nonce.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from operator import methodcaller

from asset_bridge.chain.endpoint import Endpoint, NodeRefusal, Reverted
from asset_bridge.chain.endpoints import Endpoints
from asset_bridge.chain.fees import Bid, bumped, first_bid, sign_transaction, with_slack
from asset_bridge.chain.journal import Attempt, Intent, Journal
from asset_bridge.chain.keys import AccountKey, address_bytes
from asset_bridge.chain.reasons import reason_of, refused
from asset_bridge.chain.records import BlockRef, Sent
from asset_bridge.errors import BridgeError, InputError, RefusedError, UnavailableError
from asset_bridge.keys.keccak import keccak

BUMP_AFTER_SECONDS = 45.0  # three to four blocks of Ethereum
POLL_SECONDS = 0.25
FIRST_POLL_SECONDS = 0.05  # a development chain that mines at once has it by then
RESEND_EVERY_POLLS = 8
DISPLACED_POLLS = (
    3  # a nonce that is used without our receipt must be seen that often: receipts may lag behind the count
)


class _Displaced(Exception):
    """The nonce was used by a transaction that is not ours."""


class Sender:
    """Sends for one account. Safe to share between threads; several processes may share the journal file."""

    def __init__(
        self,
        endpoints: Endpoints,
        key: AccountKey,
        journal: Journal,
        *,
        wait_seconds: float = 120.0,
        bump_after_seconds: float = BUMP_AFTER_SECONDS,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._endpoints, self._key, self._journal = endpoints, key, journal
        self._wait_seconds, self._bump_after_seconds = wait_seconds, bump_after_seconds
        self._clock, self._sleep = clock, sleep

    # ── the one way in ──
    def send(self, verb: str, to: str, data: bytes, value_wei: int = 0, *, once: bool = True) -> Sent:
        """Have the call executed in a block, once.

        Args:
            once: this exact call can happen only once (ids make it so); a repeated call then returns the first's result.
        Raises:
            RefusedError: the contract says no. InputError(chain.funds): the account cannot pay for it.
            UnavailableError(chain.pending): sent, but not in a block in time; the same call again picks it up.
        """
        key = keccak((address_bytes(to) if to else b"") + value_wei.to_bytes(32, "big") + data)
        for _ in range(3):
            self.catch_up()
            intent = self._open(key, once) or self._begin(key, verb, to, data, value_wei, once)
            try:
                return self._settle(intent)
            except _Displaced:
                self._journal.set_state(intent, "displaced")
        raise UnavailableError(
            "chain.displaced",
            f"Other transactions of account {self._key.address} took this one's place three times; it had no effect.",
            hint="use the account from one place only, then repeat the command",
        )

    def resume(self) -> list[Sent]:
        """Settle everything that an earlier run left pending; call at start."""
        settled: list[Sent] = []
        self.catch_up()
        for intent in self._journal.pending():
            try:
                settled.append(self._settle(intent, answered=False))
            except _Displaced:
                self._journal.set_state(intent, "displaced")
            except RefusedError:
                continue  # mined and reverted: recorded so, the caller of the same verb hears it
        return settled

    def catch_up(self) -> None:
        """Send again, lowest nonce first, whatever is promised but not in a block; nothing new is signed."""
        count = self._transaction_count()
        for intent in self._journal.done_from(count):
            if self._find(intent) is None:
                self._journal.set_state(intent, "pending")  # a reorg removed it from the chain
        for intent in self._journal.pending():
            if intent.nonce >= count:
                self._broadcast(self._journal.attempts(intent)[-1], raise_funds=False)

    # ── steps ──
    def _open(self, key: bytes, once: bool) -> Intent | None:
        intent = self._journal.newest(key)
        reusable = intent and (intent.state == "pending" or (intent.state == "mined" and (once or not intent.answered)))
        return intent if reusable else None

    def estimate(self, to: str, data: bytes, value_wei: int = 0) -> tuple[int, int]:
        """Gas that a call would use now, and what it would cost at most in wei, `value_wei` not counted.

        Raises:
            RefusedError: the contract says no. InputError(chain.funds): the account has less than the value.
        """
        gas, (_, head) = self._gas(to, data, value_wei), self._endpoints.head()
        return gas, gas * first_bid(head.base_fee_wei, self._suggested_tip_wei()).max_fee_wei

    def _gas(self, to: str, data: bytes, value_wei: int) -> int:
        call: dict[str, str] = {"from": self._key.address, "data": "0x" + data.hex(), "value": hex(value_wei)}
        if to:
            call["to"] = to
        try:
            return self._endpoints.first(lambda e: e.as_int(e.call("eth_estimateGas", call)))
        except Reverted as reverted:
            raise refused(reason_of(reverted.data)) from None
        except NodeRefusal as refusal:
            if "insufficient funds" in refusal.reply or "gas required exceeds allowance" in refusal.reply:
                raise self._no_funds(value_wei) from None
            raise

    def _begin(self, key: bytes, verb: str, to: str, data: bytes, value_wei: int, once: bool) -> Intent:
        _, head = self._endpoints.head()
        gas = self._gas(to, data, value_wei)
        gas_limit = with_slack(gas, head.gas_limit)
        bid = first_bid(head.base_fee_wei, self._suggested_tip_wei())
        need_wei = value_wei + gas_limit * bid.max_fee_wei
        if self._coins_wei() < need_wei:
            raise self._no_funds(need_wei)

        def sign(nonce: int) -> Attempt:
            return self._sign(nonce, to, data, value_wei, gas_limit, bid)

        return self._journal.begin(
            key=key,
            verb=verb,
            to=to,
            data=data,
            value_wei=value_wei,
            gas_limit=gas_limit,
            chain_nonce=self._transaction_count(),
            now_at=int(self._clock()),
            once=once,
            sign=sign,
        )

    def _sign(self, nonce: int, to: str, data: bytes, value_wei: int, gas_limit: int, bid: Bid) -> Attempt:
        digest, raw = sign_transaction(
            self._key,
            chain_id=self._endpoints.chain_id,
            nonce=nonce,
            to=to,
            data=data,
            value_wei=value_wei,
            gas_limit=gas_limit,
            bid=bid,
        )
        return Attempt(digest, raw, bid.max_fee_wei, bid.tip_wei, int(self._clock()))

    def _settle(self, intent: Intent, *, answered: bool = True) -> Sent:
        waited, polls, used_polls, since_attempt = 0.0, 0, 0, 0.0
        while True:
            found = self._find(intent)
            if found is not None:
                return self._finish(intent, *found, answered=answered)
            if polls % RESEND_EVERY_POLLS == 0:
                self._broadcast(self._journal.attempts(intent)[-1], raise_funds=True)
            if self._transaction_count() > intent.nonce:
                used_polls += 1
                if used_polls >= DISPLACED_POLLS and self._find(intent) is None:
                    raise _Displaced
            if since_attempt >= self._bump_after_seconds:
                self._bump(intent)
                since_attempt = 0.0
            if waited >= self._wait_seconds:
                raise UnavailableError(
                    "chain.pending",
                    f"The transaction {self._journal.attempts(intent)[-1].hash.hex()} is sent but in no block yet.",
                    hint="repeat the same command; it picks this transaction up and sends no second one",
                    actor="nobody",
                )
            pause = FIRST_POLL_SECONDS if polls == 0 else POLL_SECONDS
            self._sleep(pause)
            waited, since_attempt, polls = waited + pause, since_attempt + pause, polls + 1

    def _finish(self, intent: Intent, sent: Sent, status: int, *, answered: bool) -> Sent:
        if status == 1:
            self._journal.set_state(intent, "mined", answered=answered)
            return sent
        self._journal.set_state(intent, "reverted", answered=answered)
        raise refused(self._replay(intent, sent.block))

    def _replay(self, intent: Intent, block: BlockRef) -> str:
        """The reason of a transaction that was mined and reverted: the same call on the state before and after its block."""
        call = {
            "from": self._key.address,
            "to": intent.to,
            "data": "0x" + intent.data.hex(),
            "value": hex(intent.value_wei),
        }
        for number in (block.number - 1, block.number):
            try:
                self._endpoints.first(methodcaller("call", "eth_call", call, hex(number)))
            except Reverted as reverted:
                return reason_of(reverted.data)
            except UnavailableError:
                continue
        return ""

    def _bump(self, intent: Intent) -> None:
        last = self._journal.attempts(intent)[-1]
        _, head = self._endpoints.head()
        bid = bumped(Bid(last.max_fee_wei, last.tip_wei), head.base_fee_wei, self._suggested_tip_wei())
        if self._coins_wei() < intent.value_wei + intent.gas_limit * bid.max_fee_wei:
            return  # the first bid stays valid; better stuck than refused
        attempt = self._sign(intent.nonce, intent.to, intent.data, intent.value_wei, intent.gas_limit, bid)
        self._journal.add_attempt(intent, attempt)
        self._broadcast(attempt, raise_funds=False)

    # ── the network ──
    def _broadcast(self, attempt: Attempt, *, raise_funds: bool) -> None:
        answers = self._endpoints.each(lambda e: e.call("eth_sendRawTransaction", "0x" + attempt.raw.hex()))
        # every other failure (already known, lost answer, down) is decided by looking for the receipt, never by this answer
        if raise_funds and all(isinstance(a, NodeRefusal) and "insufficient funds" in a.reply for a in answers):
            raise self._no_funds(None)

    def _find(self, intent: Intent) -> tuple[Sent, int] | None:
        for attempt in self._journal.attempts(intent):
            answers = self._endpoints.each(partial(self._receipt, transaction=attempt.hash, verb=intent.verb))
            usable = [a for a in answers if not isinstance(a, BridgeError)]
            if usable and usable[0] is not None and all(a == usable[0] for a in usable):
                return usable[0]
        return None

    def _receipt(self, endpoint: Endpoint, transaction: bytes, verb: str) -> tuple[Sent, int] | None:
        value = endpoint.call("eth_getTransactionReceipt", "0x" + transaction.hex())
        if value is None:
            return None
        receipt = endpoint.as_object(value)
        if receipt.get("blockHash") is None:
            return None
        if endpoint.as_bytes(receipt.get("transactionHash"), 32) != transaction:
            raise endpoint.lying("it returned the receipt of another transaction")
        header = self._endpoints.header(endpoint, endpoint.as_bytes(receipt.get("blockHash"), 32))
        if header is None or header.ref.number != endpoint.as_int(receipt.get("blockNumber")):
            return None
        sent = Sent(
            transaction,
            header.ref,
            endpoint.as_int(receipt.get("gasUsed")),
            endpoint.as_int(receipt.get("effectiveGasPrice")),
            verb,
        )
        return sent, endpoint.as_int(receipt.get("status"))

    def _transaction_count(self) -> int:
        """This account's transactions in blocks, by the endpoint that has seen most."""
        answers = self._endpoints.each(
            lambda e: e.as_int(e.call("eth_getTransactionCount", self._key.address, "latest"))
        )
        counts = [a for a in answers if isinstance(a, int)]
        if not counts:
            raise next(a for a in answers if isinstance(a, BridgeError))
        return max(counts)

    def _coins_wei(self) -> int:
        return self._endpoints.first(lambda e: e.as_int(e.call("eth_getBalance", self._key.address, "latest")))

    def _suggested_tip_wei(self) -> int:
        try:
            return self._endpoints.first(lambda e: e.as_int(e.call("eth_maxPriorityFeePerGas")))
        except NodeRefusal:
            return 10**9

    def _no_funds(self, need_wei: int | None) -> InputError:
        have_wei = self._coins_wei()
        need = "more than it has" if need_wei is None else f"at least {need_wei / 10**18:.6f} coins ({need_wei} wei)"
        return InputError(
            "chain.funds",
            f"Account {self._key.address} needs {need}; it has {have_wei / 10**18:.6f} ({have_wei} wei).",
            hint=f"send coins of chain {self._endpoints.chain_id} to {self._key.address}",
        )
