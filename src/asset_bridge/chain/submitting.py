"""Send what another account signed: look at it first, then make the call with its authority.

Source: spec/signed-verb.md §3; spec/contracts.md §2 ("Authority"). Promises: chain, contract, deadline, nonce and signature are checked
before anything is sent; what was done already is told with its transaction. Does not promise: that the submitter is first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from asset_bridge.chain.abi import Event
from asset_bridge.chain.messages import is_signed_by
from asset_bridge.chain.reader import Reader
from asset_bridge.chain.records import At, Sent
from asset_bridge.chain.signing.calls import arguments_for, value_of
from asset_bridge.chain.signing.forms import AUTHORITY, Form, SignedVerb, digest_of
from asset_bridge.errors import InputError, TamperedError


@dataclass(frozen=True, slots=True)
class Cost:
    """What the chain wants for a call from whoever sends it."""

    gas: int
    fee_wei: int


@dataclass(frozen=True, slots=True)
class Submission:
    """A signed verb as it would be sent now. `value_wei` are coins that the submitter gives, `done` the event of an earlier submission."""

    signed: SignedVerb
    form: Form
    arguments: dict[str, Any]
    value_wei: int
    cost: Cost
    done: Event | None = None


class Submitting(ABC):
    """The part of a ChainAccount that submits for others."""

    _reader: Reader

    @abstractmethod
    def bond_wei(self, order_id: bytes) -> int: ...
    @abstractmethod
    def _transact(
        self, verb: str, contract: str, function: str, args: Sequence[object], value_wei: int = 0, *, once: bool = True
    ) -> Sent: ...
    @abstractmethod
    def _estimate(self, contract: str, function: str, args: Sequence[object], value_wei: int) -> Cost:
        """Gas and price of a call now; RefusedError when the contract says no."""

    def examine(self, signed: SignedVerb) -> Submission:
        """Check a signed verb without sending it.

        Raises:
            InputError(chain.signed-chain, chain.signed-contract): made for another chain or another deployment.
            InputError(chain.signed-nonce): its nonce was used by another act of its account.
            InputError(chain.signed-expired): its deadline has passed.
            TamperedError(chain.signed-signature): something in it was changed, or the chain moved on from what was signed.
            RefusedError: the contract would refuse it now.
        """
        reader, form = self._reader, signed.form
        if signed.chain_id != reader.chain_id:
            raise InputError(
                "chain.signed-chain",
                f"this was signed for chain {signed.chain_id}; this home works on chain {reader.chain_id}",
                hint="submit it from a home on that chain",
            )
        if signed.contract != reader.deployment.address_of(form.contract):
            raise InputError(
                "chain.signed-contract",
                f"this was signed for another {form.contract} ({signed.contract}) than this network's",
                hint="submit it from a home on that network",
            )
        done = self._done(signed)
        if done is not None:
            return Submission(signed, form, {}, 0, Cost(0, 0), done)
        if reader.block().timestamp > signed.deadline:
            raise InputError(
                "chain.signed-expired", "the time to submit this is over", hint="ask its account to sign again"
            )
        form, arguments = arguments_for(reader, signed)
        digest = digest_of(form, reader.deployment, signed.account, arguments, signed.nonce, signed.deadline)
        if not is_signed_by(signed.account, digest, signed.signature) and not reader.source.code(signed.account):
            raise TamperedError(
                "chain.signed-signature",
                f"this is not what account {signed.account} signed, or what it signed is not so any more",
                hint="take the document as it was made, or ask for a new one; nothing was sent",
            )
        value_wei = value_of(form, arguments, self.bond_wei)
        cost = self._estimate(form.contract, form.function, _call(form, arguments, signed), value_wei)
        return Submission(signed, form, arguments, value_wei, cost)

    def submit(self, given: Submission) -> Sent:
        """Send what `examine` gave; this account pays for it."""
        form, args = given.form, _call(given.form, given.arguments, given.signed)
        return self._transact(form.function, form.contract, form.function, args, given.value_wei)

    def _done(self, signed: SignedVerb) -> Event | None:
        reader, form = self._reader, signed.form
        number, block = int.from_bytes(signed.nonce, "big"), reader.block()
        (used,) = reader.source.calls([(form.contract, "nonce_used", (signed.account, number))], block, At.HEAD)
        if not used:
            return None
        marks = reader.source.find({"NonceUsed"}, block, account=signed.account, nonce=number)
        mine = next((mark for mark in marks if mark.contract == form.contract), None)
        fields = {} if signed.order_id is None else {"order_id": signed.order_id}
        for event in reader.source.find({form.event}, block, **fields):
            if mine is not None and event.transaction_hash == mine.transaction_hash:
                return event
        raise InputError(
            "chain.signed-nonce",
            f"account {signed.account} used the nonce of this for another act, so it can never happen",
            hint="ask its account to sign again",
        )


def _call(form: Form, arguments: dict[str, Any], signed: SignedVerb) -> tuple[object, ...]:
    return tuple(signed.authority if name == AUTHORITY else arguments[name.lstrip("*")] for name in form.names)
