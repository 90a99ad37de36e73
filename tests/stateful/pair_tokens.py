"""Tokens in both worlds: one with EIP-2612, and one whose permit takes another struct, as in tokens older than it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import boa

from asset_bridge.chain.keys import address_bytes, checksum_address
from asset_bridge.chain.packing import TermsArgs
from asset_bridge.chain.records import ZERO_ADDRESS, Sent
from asset_bridge.chain.tokens import token_call
from asset_bridge.chain.twin import ChainTwin
from asset_bridge.errors import RefusedError

SOURCE = Path(__file__).parents[2] / "contracts" / "mocks" / "Token.vy"
TOKEN_REFUSED = ("exchange: token did not arrive", "reverted")
"""What the twin and the Exchange say where the token itself refuses: the mock's subtraction fails without a word."""


@cache
def _code(permits: bool) -> bytes:
    import vyper

    source = SOURCE.read_text()
    if not permits:
        source = source.replace('"Permit(address owner', '"Other(address owner')
    return bytes.fromhex(vyper.compile_code(source, output_formats=["bytecode"])["bytecode"][2:])


class PairTokens:
    """The part of a Pair that knows tokens."""

    twin: ChainTwin
    seen: Counter[str]
    touched: bytes
    senders: set[str]

    def deploy_token(self, *, permits: bool) -> str:
        """A token in both worlds; the governor has not listed it."""
        made, _ = boa.env.deploy_code(bytecode=_code(permits))
        token = checksum_address(address_bytes(str(made)))
        self.twin.add_token(token, "TST", 6, permits=permits, name="Token")
        return token

    def mint(self, token: str, account: str, units: int) -> None:
        """Give tokens to an account that has none."""
        boa.env.execute_code(token, data=token_call("mint(address,uint256)", account, units))
        self.twin.give_tokens(token, account, units)

    def call_token(self, sender: str, token: str, data: bytes, verb: str) -> Sent:
        """A call of a token's function in both worlds; they must agree on whether it goes."""
        boa.env.evm.patch.timestamp = self.twin.now_at
        real = boa.env.execute_code(token, sender=sender, data=data)
        try:
            sent = self.twin.execute(sender, token, "token", (data,), 0, verb)
        except RefusedError:
            sent = None
        assert (sent is None) == real.is_error, (
            f"{verb}: {'the contract' if sent is None else 'the twin'} alone takes it"
        )
        if sent is None:
            raise RefusedError("chain.reverted", "the token refused")
        self.touched += address_bytes(token) + data
        self.senders.add(sender)
        self.seen[verb] += 1
        return sent

    def real_token_answer(self, token: str, call: bytes) -> bytes | None:
        """What the compiled token answers, at the time of the newest block."""
        boa.env.evm.patch.timestamp = self.twin.head.ref.timestamp
        computation = boa.env.execute_code(token, data=call, is_modifying=False)
        return None if computation.is_error else bytes(computation.output)

    def token_differences(self, token: str, calls: Sequence[bytes]) -> list[tuple[bytes, bytes | None, bytes | None]]:
        """Calls that the token and the twin answer differently now."""
        answers = [(self.real_token_answer(token, c), self.twin.token_answer(token, c, self.twin.head)) for c in calls]
        return [(call, *both) for call, both in zip(calls, answers, strict=True) if both[0] != both[1]]

    def count_token(self, verb: str, args: Sequence[object]) -> None:
        """Note that a verb went for an order that is priced in a token, or for a balance in one."""
        terms = next((each for each in args if isinstance(each, TermsArgs)), None)
        token = terms.token if terms else args[0] if verb == "claim" else ZERO_ADDRESS
        if token == ZERO_ADDRESS:
            return
        self.seen[f"{verb} in a token"] += 1
        if not self.twin.view(("AssetLedger", "token_active_at", (token,)), self.twin.head):
            self.seen[f"{verb} in a token that was removed"] += 1
