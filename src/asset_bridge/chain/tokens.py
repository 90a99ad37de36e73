"""Tokens as prices: what a token calls its units, what an account holds and has allowed, and the permit that spares a transaction.

Source: ERC-20 (`symbol`, `decimals`, `balanceOf`, `allowance`, `approve`), EIP-2612 (`permit`, `nonces`, `DOMAIN_SEPARATOR`), EIP-712;
spec/chain.md §6. Symbol and decimals are read at a final block on which every endpoint agrees: a wrong number of decimals would
show a person another price than the one that is paid.
Promises: a permit is signed only under the domain that this token on this chain must have, whatever an endpoint says, for exactly
the price, to the Exchange alone, and only until the order can no longer be paid. Does not promise: that a token is worth anything;
which tokens may be a price is the governor's list (AssetLedger).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from asset_bridge.chain.abi import Event
from asset_bridge.chain.encoding import EncodingError, decode, encode
from asset_bridge.chain.keys import address_bytes
from asset_bridge.chain.network import Deployment
from asset_bridge.chain.records import ZERO_ADDRESS, At, BlockRef
from asset_bridge.errors import InputError
from asset_bridge.keys.keccak import keccak

MAX_DECIMALS = 36
MAX_SYMBOL_CHARACTERS = 20
DOMAIN_TYPE = keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
PERMIT_TYPE = keccak(b"Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)")
PERMIT = "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)"
APPROVE = "approve(address,uint256)"


@dataclass(frozen=True, slots=True)
class Token:
    """What prices are counted in: the native coin (ZERO_ADDRESS) or a token, by its own words for its units."""

    address: str
    symbol: str
    decimals: int

    def text(self, units: int) -> str:
        """`units` in whole units with the symbol, exact, without trailing zeros."""
        whole, part = divmod(units, 10**self.decimals)
        digits = f"{part:0{self.decimals}d}".rstrip("0") if part else ""
        return f"{whole}{'.' + digits if digits else ''} {self.symbol}"


COIN = Token(ZERO_ADDRESS, "ETH", 18)


class TokenSource(Protocol):
    """What of a chain is needed to read tokens."""

    deployment: Deployment

    def block(self, at: At = At.HEAD) -> BlockRef: ...
    def find(self, names: Iterable[str], block: BlockRef, **fields: object) -> list[Event]: ...
    def calls(self, calls: Sequence[tuple[str, str, tuple[object, ...]]], block: BlockRef, at: At) -> list[Any]: ...
    def token_answers(self, token: str, calls: Sequence[bytes], block: BlockRef, at: At) -> list[bytes | None]:
        """What the token answers to each call at this block, None where it reverts; at FINAL every endpoint must give the same."""
        ...


def token_call(signature: str, *values: object) -> bytes:
    """Selector and arguments of a token's function, as in `token_call("balanceOf(address)", account)`."""
    kinds = [kind for kind in signature.partition("(")[2][:-1].split(",") if kind]
    return keccak(signature.encode())[:4] + encode(kinds, values)


def _number(answer: bytes | None) -> int | None:
    return int.from_bytes(answer, "big") if answer is not None and len(answer) == 32 else None


def _text(answer: bytes | None) -> str:
    """A string, or the bytes32 that early tokens answer with; empty where there is neither."""
    try:
        if answer is None:
            return ""
        if len(answer) == 32:
            return answer.rstrip(b"\0").decode()
        return str(decode(["string"], answer, exact=False)[0])
    except (EncodingError, UnicodeDecodeError):
        return ""


class TokenReader:
    """The part of the reader that knows tokens."""

    source: TokenSource

    def _ask_token(self, token: str, *calls: bytes, at: At = At.HEAD) -> list[bytes | None]:
        return self.source.token_answers(token, calls, self.source.block(at), at)

    def token(self, address: str) -> Token:
        """What `address` calls its units; the native coin for ZERO_ADDRESS. A token without a symbol is called by its address.

        Raises:
            InputError(chain.token): no token that tells its decimals is there.
        """
        if address == ZERO_ADDRESS:
            return COIN
        decimals, symbol = self._ask_token(address, token_call("decimals()"), token_call("symbol()"), at=At.FINAL)
        places, name = _number(decimals), _text(symbol)
        if places is None or places > MAX_DECIMALS:
            raise InputError(
                "chain.token",
                f"There is no token at {address} that tells its decimals.",
                hint="check the address; a token deployed just now needs a few more blocks",
            )
        good = name.isprintable() and " " not in name and 0 < len(name) <= MAX_SYMBOL_CHARACTERS
        return Token(address, name if good else address, places)

    def tokens_listed(self) -> list[str]:
        """Every token that could ever be a price on this network, oldest first; money may wait in one that was removed."""
        found = self.source.find({"TokenListed"}, self.source.block())
        return list(dict.fromkeys(str(event.args["token"]) for event in found))

    def token_times(self) -> dict[str, int]:
        """From when on each token that was ever listed may be a price, in seconds since 1970; 0 where it was removed."""
        return self._token_times(self.source.block())

    def _token_times(self, block: BlockRef) -> dict[str, int]:
        known = self.tokens_listed()
        answers = self.source.calls([("AssetLedger", "token_active_at", (one,)) for one in known], block, At.HEAD)
        return {one: int(at) for one, at in zip(known, answers, strict=True)}

    def tokens_active(self) -> list[str]:
        """The tokens that may be a price now."""
        block = self.source.block()
        return [one for one, at in self._token_times(block).items() if 0 < at <= block.timestamp]

    def require_listed(self, token: str) -> None:
        """Raises InputError(chain.token-not-listed) unless the token (or the native coin) may be a price now."""
        if token != ZERO_ADDRESS and token not in (listed := self.tokens_active()):
            raise InputError(
                "chain.token-not-listed",
                f"The token {token} may not be a price on this network.",
                hint=f"tokens that may: {', '.join(listed) or 'none'}; the network's governor lists them",
            )

    def token_units(self, account: str, token: str) -> int:
        """What `account` itself holds of a token, in the token's smallest unit; 0 where no token answers."""
        (answer,) = self._ask_token(token, token_call("balanceOf(address)", account))
        return _number(answer) or 0

    def token_allowance(self, owner: str, token: str) -> int:
        """How much of a token the Exchange may take from `owner` now."""
        (answer,) = self._ask_token(
            token, token_call("allowance(address,address)", owner, self.source.deployment.exchange)
        )
        return _number(answer) or 0

    def require_token_units(self, account: str, token: str, units: int) -> None:
        """Raises InputError(chain.token-funds) when `account` holds less than `units` of the token."""
        held = self.token_units(account, token)
        if held < units:
            kind = self.token(token)
            raise InputError(
                "chain.token-funds",
                f"Account {account} needs {kind.text(units)} (token {token}) to pay; it has {kind.text(held)}.",
                hint=f"send {kind.text(units - held)} on chain {self.source.deployment.chain_id} to {account}",
            )

    def permit(self, owner: str, token: str, units: int, deadline: int, sign: Callable[[bytes], bytes]) -> bytes:
        """A signed EIP-2612 permit for the Exchange as `pay` takes it (spec/contracts.md §3); empty where the token has none.

        Whether it has one is found by trying: its domain must be the one that EIP-2612 demands, and the permit must not revert.
        """
        exchange, chain_id = self.source.deployment.exchange, self.source.deployment.chain_id
        questions = ("DOMAIN_SEPARATOR()", "name()", "version()")
        separator, name, version, answer = self._ask_token(
            token, *(token_call(one) for one in questions), token_call("nonces(address)", owner)
        )
        names = keccak(_text(name).encode()) + keccak((_text(version) or "1").encode())
        own = keccak(DOMAIN_TYPE + names + chain_id.to_bytes(32, "big") + bytes(12) + address_bytes(token))
        nonce = _number(answer)
        if separator != own or nonce is None:
            return b""
        values = (owner, exchange, units, nonce, deadline)
        struct = encode(["bytes32", "address", "address", "uint256", "uint256", "uint256"], [PERMIT_TYPE, *values])
        signature = sign(keccak(b"\x19\x01" + own + keccak(struct)))
        r, s, v = signature[:32], signature[32:64], signature[64]
        (tried,) = self._ask_token(token, token_call(PERMIT, owner, exchange, units, deadline, v, r, s))
        if tried is None:
            return b""
        return b"".join(number.to_bytes(32, "big") for number in (units, deadline, v)) + r + s
