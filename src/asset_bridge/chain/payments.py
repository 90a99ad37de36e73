"""A price in a token: what must be there before `pay`, and the permit that goes with it.

Source: spec/chain.md §8. Promises: the Exchange is allowed exactly the price, by a permit or by a transaction before the payment;
a payment that was stopped between the two goes on with what was allowed. Does not promise: that a repeated `pay` of an order that
is paid gives the first result; the contract refuses it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.reader import Reader
from asset_bridge.chain.records import ZERO_ADDRESS, OrderState, Sent
from asset_bridge.chain.tokens import APPROVE, token_call
from asset_bridge.errors import RefusedError


class TokenPayments(ABC):
    """The part of a ChainAccount that lets the Exchange take a price in a token."""

    _reader: Reader
    _key: AccountKey

    @abstractmethod
    def _call_token(self, verb: str, token: str, data: bytes) -> Sent:
        """Get a call of a token's function into a block."""

    def allow_payment(self, order_id: bytes) -> tuple[Sent, ...]:
        """Let the Exchange take the price of an approved order in a token that has no permit; nothing is sent where `pay` needs none.

        The allowance is exactly the price. One that is too small is set to zero first: some tokens refuse to change it otherwise.
        Raises:
            InputError(chain.token-funds): this account holds less than the price.
            RefusedError(chain.token-allowance): the token took the call and allows nothing.
        """
        terms, reader = self._reader.order(order_id).terms.offer, self._reader
        if self._permit(order_id) is not None:
            return ()
        token, price = terms.token, terms.price_wei
        steps = [0, price] if reader.token_allowance(self._key.address, token) else [price]
        sent = tuple(self._call_token("allow", token, token_call(APPROVE, reader.exchange, units)) for units in steps)
        if reader.token_allowance(self._key.address, token) < price:
            raise RefusedError(
                "chain.token-allowance",
                f"The token {token} took the approval and still lets the Exchange take less than the price.",
                hint="nothing was paid; the token is not one that can be a price",
            )
        return sent

    def _permit(self, order_id: bytes) -> bytes | None:
        """The permit that `pay` sends; empty where none is needed, None where an allowance must be made first."""
        order, reader = self._reader.order(order_id), self._reader
        token, price = order.terms.offer.token, order.terms.offer.price_wei
        if token == ZERO_ADDRESS or order.state is not OrderState.APPROVED:  # the contract says why it refuses
            return b""
        reader.require_token_units(self._key.address, token, price)
        if reader.token_allowance(self._key.address, token) >= price:  # also by a permit that someone else sent first
            return b""
        return reader.permit(self._key.address, token, price, order.pay_by, self._key.sign_digest) or None
