"""The twin's tokens: ERC-20 with or without EIP-2612, as far as the product uses them.

Source: ERC-20, EIP-2612. State: `tokens` (balances), `allowances`, `token_facts`, `permit_nonces`, all outside the contracts.
"""

from __future__ import annotations

from dataclasses import dataclass

from asset_bridge.chain.encoding import decode, encode
from asset_bridge.chain.keys import address_bytes, checksum_address
from asset_bridge.chain.messages import recover
from asset_bridge.chain.tokens import APPROVE, DOMAIN_TYPE, PERMIT, PERMIT_TYPE
from asset_bridge.chain.twin.world import ContractRevert, World
from asset_bridge.errors import BridgeError
from asset_bridge.keys.keccak import keccak

VIEWS = ("balanceOf(address)", "allowance(address,address)", "nonces(address)", "decimals()", "symbol()", "name()")
SELECTORS = {keccak(text.encode())[:4]: text for text in (*VIEWS, "DOMAIN_SEPARATOR()", "version()", APPROVE, PERMIT)}


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """What a token tells of itself; `permits`: it has EIP-2612; without a name it is called by its symbol."""

    symbol: str
    decimals: int
    permits: bool
    name: str = ""


def answer(world: World, token: str, call: bytes, now_at: int) -> bytes | None:
    """What a view (or a permit that is only tried) answers; None for a revert."""
    name = SELECTORS.get(call[:4], "")
    facts: TokenFacts | None = world.table("", "token_facts").get(token)
    values = _arguments(name, call)
    if name == "balanceOf(address)":
        return _word(world.table("", "tokens").get((token, *values), 0))
    if name == "allowance(address,address)":
        return _word(world.table("", "allowances").get((token, *values), 0))
    if facts is None or (name in ("nonces(address)", "DOMAIN_SEPARATOR()", PERMIT) and not facts.permits):
        return None
    if name == "decimals()":
        return _word(facts.decimals)
    if name in ("symbol()", "name()"):
        return encode(["string"], [facts.name if name == "name()" and facts.name else facts.symbol])
    if name == "nonces(address)":
        return _word(world.table("", "permit_nonces").get((token, *values), 0))
    if name == "DOMAIN_SEPARATOR()":
        return _separator(world, token, facts)
    if name == PERMIT:
        return b"" if _permit_digest_is_signed(world, token, facts, values, now_at) else None
    return None


def call_token(world: World, sender: str, token: str, call: bytes, now_at: int) -> None:
    """A transaction to a token: `approve`, or a permit that anyone submits."""
    if SELECTORS.get(call[:4]) == PERMIT:
        owner, spender, *numbers, r, s = _arguments(PERMIT, call)
        words = b"".join(_word(_int(one)) for one in numbers)
        if answer(world, token, call, now_at) is None:
            raise ContractRevert("token: permit is not the owner's")
        take_permit(world, token, str(owner), str(spender), words + _bytes(r) + _bytes(s), now_at)
        return
    if SELECTORS.get(call[:4]) != APPROVE:
        raise ContractRevert("token: unknown function")
    spender, units = _arguments(APPROVE, call)
    world.table("", "allowances")[token, sender, spender] = units


def take_permit(world: World, token: str, owner: str, spender: str, permit: bytes, now_at: int) -> None:
    """A permit as the Exchange passes it on; one that does not hold has no effect (somebody may have used it first)."""
    facts: TokenFacts | None = world.table("", "token_facts").get(token)
    units, deadline, v = (int.from_bytes(permit[i : i + 32], "big") for i in (0, 32, 64))
    values = (owner, spender, units, deadline, v, permit[96:128], permit[128:])
    if facts is not None and facts.permits and _permit_digest_is_signed(world, token, facts, values, now_at):
        nonces = world.table("", "permit_nonces")
        nonces[token, owner] = nonces.get((token, owner), 0) + 1
        world.table("", "allowances")[token, owner, spender] = units


def _permit_digest_is_signed(
    world: World, token: str, facts: TokenFacts, values: tuple[object, ...], now_at: int
) -> bool:
    owner, spender, units, deadline, v, r, s = values
    nonce = world.table("", "permit_nonces").get((token, owner), 0)
    kinds = ["bytes32", "address", "address", "uint256", "uint256", "uint256"]
    struct = keccak(encode(kinds, [PERMIT_TYPE, owner, spender, units, nonce, deadline]))
    if _int(v) > 255:  # no uint8: a contract would refuse the whole call
        return False
    signature = _bytes(r) + _bytes(s) + bytes([_int(v)])
    try:
        signer = recover(keccak(b"\x19\x01" + _separator(world, token, facts) + struct), signature)
    except BridgeError:
        return False
    return now_at <= _int(deadline) and signer == owner


def _separator(world: World, token: str, facts: TokenFacts) -> bytes:
    names = keccak((facts.name or facts.symbol).encode()) + keccak(b"1")
    return keccak(DOMAIN_TYPE + names + world.chain_id.to_bytes(32, "big") + bytes(12) + address_bytes(token))


def _arguments(signature: str, call: bytes) -> tuple[object, ...]:
    kinds = [kind for kind in signature.partition("(")[2][:-1].split(",") if kind]
    values = decode(kinds, call[4:]) if kinds else ()
    return tuple(
        checksum_address(address_bytes(value)) if kind == "address" else value
        for kind, value in zip(kinds, values, strict=True)
    )


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value


def _bytes(value: object) -> bytes:
    assert isinstance(value, bytes)
    return value


def _word(number: int) -> bytes:
    return int(number).to_bytes(32, "big")
