"""Sign a verb for somebody else to send, and send what others signed: the part of a session that needs no coins of its own account.

with Consumer.open("~/institute", passphrase) as consumer:
    document = consumer.sign_only(lambda session: session.cancel(order_id))
with Provider.open("~/sponsor", passphrase) as anyone:
    anyone.submit(anyone.examine(document))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from asset_bridge.chain.abi import Event
from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.reader import Reader
from asset_bridge.chain.records import Sent
from asset_bridge.chain.signing.account import NothingSent, SigningAccount
from asset_bridge.chain.submitting import Submission
from asset_bridge.errors import DefectError, InputError
from asset_bridge.trade.desk import Desk
from asset_bridge.trade.documents.signed_verb import decode_signed_verb, encode_signed_verb, says

DEFAULT_SECONDS = 86_400
SHORTEST_SECONDS, LONGEST_SECONDS = 60, 30 * 86_400


@dataclass(frozen=True, slots=True)
class Signed:
    """A verb that was signed and not sent: the document for whoever submits it. `says` is its sentence."""

    document: bytes
    says: str
    account: str
    deadline: int


@dataclass(frozen=True, slots=True)
class Examined:
    """What submitting a document would do now and cost this account; `done` is the event of an earlier submission."""

    says: str
    account: str
    deadline: int
    value_wei: int
    fee_wei: int
    gas: int
    done: Event | None
    submission: Submission

    @property
    def order_id(self) -> bytes | None:
        """The order that it is about, where it is there already."""
        return self.submission.signed.order_id


class Signing:
    """The part of a Session that signs and submits."""

    desk: Desk

    def sign_from_now_on(self, seconds: int = DEFAULT_SECONDS) -> None:
        """From here each verb that would send a transaction signs it and raises NothingSent instead.

        Raises:
            InputError(client.signed-deadline): a signature that is good for less than a minute or for more than 30 days.
        """
        if not SHORTEST_SECONDS <= seconds <= LONGEST_SECONDS:
            raise InputError(
                "client.signed-deadline",
                "a signature is good for at least one minute and at most 30 days",
                hint="write --deadline 24h; a short one is the only way to take a signature back",
            )
        key, reader = self.desk.signer, self.desk.reader
        if not isinstance(key, AccountKey) or not isinstance(reader, Reader):
            raise DefectError("client.no-signing-key", "this session holds no key that signs", actor="nobody")
        account = SigningAccount(reader, key, seconds=seconds, randbytes=self.desk.randbytes)
        self.desk = replace(self.desk, account=account)

    def sign_only(self, act: Callable[[Self], object], seconds: int = DEFAULT_SECONDS) -> Signed | None:
        """The document of the transaction that `act` would send first; None where it would send none."""
        before = self.desk
        self.sign_from_now_on(seconds)
        try:
            act(self)
        except NothingSent as stopped:
            return signed_of(stopped)
        finally:
            self.desk = before
        return None

    def examine(self, document: bytes) -> Examined:
        """Check a document and try it, without sending. Raises what chain/submitting.py and its document raise."""
        signed = decode_signed_verb(document)
        found = self.desk.account.examine(signed)
        cost = found.cost
        return Examined(
            says(signed),
            signed.account,
            signed.deadline,
            found.value_wei,
            cost.fee_wei,
            cost.gas,
            found.done,
            found,
        )

    def submit(self, examined: Examined) -> Sent | None:
        """Send it, at this account's cost; None where it was done already."""
        return None if examined.done is not None else self.desk.account.submit(examined.submission)


def signed_of(stopped: NothingSent) -> Signed:
    """The document of what was signed."""
    signed = stopped.signed
    return Signed(encode_signed_verb(signed), says(signed), signed.account, signed.deadline)
