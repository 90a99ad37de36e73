"""EIP-1559 transactions and what they bid: encoding, first fee, fee bump.

Source: EIP-1559, EIP-2718, spec/chain.md §4. Pure. The tip is the only part of a bid that an endpoint's answer could make us
lose, so it has a ceiling of our own.
"""

from __future__ import annotations

from dataclasses import dataclass

from asset_bridge.chain.encoding import rlp
from asset_bridge.chain.keys import AccountKey, address_bytes
from asset_bridge.keys.keccak import keccak

GWEI = 10**9
MAX_TIP_WEI = 50 * GWEI  # ten times what a busy day asked for; an endpoint that suggests more is not followed
BUMP_NUMERATOR, BUMP_DENOMINATOR = 5, 4  # nodes replace a transaction from 10 % more (geth) or 12.5 % (others)
GAS_SLACK_NUMERATOR, GAS_SLACK_DENOMINATOR = 5, 4  # the state may change between estimate and block


@dataclass(frozen=True, slots=True)
class Bid:
    """What a transaction offers for one unit of gas."""

    max_fee_wei: int
    tip_wei: int


def first_bid(base_fee_wei: int, suggested_tip_wei: int) -> Bid:
    """Twice the base fee (six full blocks of growth) plus the suggested tip, which is capped."""
    tip_wei = min(suggested_tip_wei, MAX_TIP_WEI)
    return Bid(2 * base_fee_wei + tip_wei, tip_wei)


def bumped(bid: Bid, base_fee_wei: int, suggested_tip_wei: int) -> Bid:
    """A bid that replaces `bid` and suits today's base fee."""
    fresh = first_bid(base_fee_wei, suggested_tip_wei)
    tip_wei = max(_more(bid.tip_wei), fresh.tip_wei)
    return Bid(max(_more(bid.max_fee_wei), fresh.max_fee_wei, tip_wei), tip_wei)


def _more(wei: int) -> int:
    return wei * BUMP_NUMERATOR // BUMP_DENOMINATOR + 1


def with_slack(gas: int, block_gas_limit: int) -> int:
    """The gas limit for an estimate."""
    return min(gas * GAS_SLACK_NUMERATOR // GAS_SLACK_DENOMINATOR, block_gas_limit)


def sign_transaction(
    key: AccountKey, *, chain_id: int, nonce: int, to: str, data: bytes, value_wei: int, gas_limit: int, bid: Bid
) -> tuple[bytes, bytes]:
    """(hash, raw bytes) of a signed type-2 transaction; `to` empty creates a contract."""
    fields: list[object] = [
        chain_id,
        nonce,
        bid.tip_wei,
        bid.max_fee_wei,
        gas_limit,
        address_bytes(to) if to else b"",
        value_wei,
        data,
        [],
    ]
    signature = key.sign_digest(keccak(b"\x02" + rlp(fields)))
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    raw = b"\x02" + rlp([*fields, signature[64] - 27, r, s])
    return keccak(raw), raw
