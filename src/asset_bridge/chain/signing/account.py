"""An account that signs its verbs and sends nothing.

Source: spec/signed-verb.md §1. Promises: the same checks and preimages as the sending account, up to the transaction; the document
never holds a secret. Does not promise: that the contract will accept it, which is found when it is submitted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

from asset_bridge.chain.actor import Actor
from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.packing import SEALED_SHARE_BYTES
from asset_bridge.chain.reader import Reader
from asset_bridge.chain.records import Sent
from asset_bridge.chain.signing.calls import next_generation
from asset_bridge.chain.signing.forms import FORMS, SignedVerb, digest_of
from asset_bridge.errors import InputError

NONCE_BYTES = 32


class NothingSent(Exception):
    """The verb came to its transaction and signed it; `signed` is the result. Not an error: no story may take it for a failure."""

    def __init__(self, signed: SignedVerb) -> None:
        super().__init__("signed, not sent")
        self.signed = signed


class SigningAccount(Actor):
    """An Actor whose every transaction ends in NothingSent; a signature is good for `seconds`."""

    def __init__(self, reader: Reader, key: AccountKey, *, seconds: int, randbytes: Callable[[int], bytes]) -> None:
        super().__init__(reader, key)
        self._seconds, self._randbytes = seconds, randbytes

    def _transact(
        self,
        verb: str,
        contract: str,
        function: str,
        args: Sequence[object],
        value_wei: int = 0,  # noqa: ARG002  read again by whoever submits
        *,
        once: bool = True,  # noqa: ARG002  an authority counts once
    ) -> NoReturn:
        """Raises NothingSent, or InputError(chain.not-signable) for what anyone may send without one."""
        form = FORMS.get((contract, function))
        if form is None or verb == "settle":
            raise InputError(
                "chain.not-signable",
                f"`{verb}` cannot be signed for somebody else to send: "
                + ("anyone may send it without a signature" if verb in FREE else "its own account sends it"),
                hint="run it without --sign-only, from an account that has coins",
            )
        named = {name.lstrip("*"): value for name, value in zip(form.names, args, strict=True)}
        if function == "regenerate":
            named["generation"] = self._agreed_generation(named)
        deployment = self._reader.deployment
        deadline = self._reader.block().timestamp + self._seconds
        deadline = min([deadline, *(expires - 1 for expires in _order_keys(function, named))])
        nonce = self._randbytes(NONCE_BYTES)
        digest = digest_of(form, deployment, self.address, named, nonce, deadline)
        carried = {name: named[name] for name in form.carried}
        raise NothingSent(
            SignedVerb(
                chain_id=deployment.chain_id,
                contract=deployment.address_of(contract),
                form=form,
                arguments=carried,
                account=self.address,
                nonce=nonce,
                deadline=deadline,
                signature=self._key.sign_digest(digest),
            )
        )

    def _agreed_generation(self, named: dict[str, object]) -> int:
        """Of new shares that the consumer agreed to. Without his word the signature would also count after payment, with shares that no
        `Fetch` of his is at hand for, and a challenge of them would be lost (spec/contracts.md §8)."""
        order_id = named["order_id"]
        assert isinstance(order_id, bytes)
        if not named["consent"]:
            raise InputError(
                "chain.not-signable",
                "New shares of an order that is not paid cannot be signed for somebody else to send: its own account sends them.",
                hint="run it without --sign-only, from an account that has coins",
            )
        return next_generation(self._reader.facts(order_id))

    def open_balance(self, token: str, account: bytes | None = None) -> None:
        """Nothing: it makes a later credit cheaper, needs no signature, and anyone may do it."""

    def _estimate(self, *_call: object) -> NoReturn:
        raise InputError("chain.signing-only", "an account that only signs submits nothing", hint="drop --sign-only")

    def _call_token(self, verb: str, token: str, data: bytes) -> Sent:  # noqa: ARG002
        raise InputError(
            "chain.signed-allowance",
            f"The token {token} has no permit, so only account {self.address} itself can let the Exchange take the price.",
            hint="send coins for one transaction to it and run `pay` without --sign-only, or ask for a price in a token with a permit",
        )


FREE = frozenset(
    {"settle", "expire", "refund", "record_delivery", "record_destroyed", "close_challenge", "apply_change"}
)


def _order_keys(function: str, named: dict[str, object]) -> list[int]:
    """When the order keys in an approval or a new seal expire: after that no contract takes the signature."""
    if function in ("approve", "regenerate"):
        sealed = named["sealed_shares"]
        assert isinstance(sealed, bytes)
        return [int.from_bytes(sealed[i + 64 : i + 69], "big") for i in range(0, len(sealed), SEALED_SHARE_BYTES)]
    if function == "reseal":
        sealed = named["sealed_share"]
        assert isinstance(sealed, bytes)
        return [int.from_bytes(sealed[:5], "big")]
    return []
