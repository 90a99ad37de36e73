"""Every key that comes from a seed: a provider's by asset and order, a consumer's by order.

Implements spec/keys.md K13-K17: okm = HKDF-SHA-512(ikm = seed, salt, info = label ‖ fixed-width fields).
Promises: one-way and never additive, so no key gives another or the seed; the same arguments give the same key for
ever (re-sealing needs nothing stored); another threshold, generation or order shares no coefficient.
Does not promise: that a key outlives its tweak. Destroying the tweak is how an asset is shredded.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from asset_bridge.errors import InputError
from asset_bridge.keys.checks import ACCOUNT_BYTES, CONTAINER_ID_BYTES, ID_BYTES, SEED_BYTES, fixed, unsigned
from asset_bridge.keys.kem import HYBRID_SEED_BYTES, ConsumerHybridSecretKey, FormSecretKey
from asset_bridge.keys.secp256k1 import WIDE_BYTES, SecretScalar

MAX_SHARES = 16  # protocol §4.2
KFRAG_ID_BYTES = 32
CHAIN_ID_BYTES = 32  # uint256, as in the EVM
GENERATION_BYTES = 4
COUNTER_BYTES = 4


@dataclass(frozen=True, slots=True)
class AssetKeys:
    """What a provider's seed and one asset's tweak give."""

    delegating: SecretScalar
    signer: SecretScalar
    k_pq: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ShareRandomness:
    """The random choices of one set of shares: ephemeral key of X_A, coefficients 1..t-1, kfrag ids."""

    precursor: SecretScalar
    coefficients: tuple[SecretScalar, ...]
    ids: tuple[bytes, ...]


def _expand(seed: bytes, salt: bytes, info: bytes, length_bytes: int) -> bytes:
    return HKDF(SHA512(), length_bytes, salt, info).derive(fixed("seed", seed, SEED_BYTES))


def asset_keys(seed: bytes, tweak: bytes, container_id: bytes) -> AssetKeys:
    """The delegating key, the kfrag signer and K_pq of one asset (K13, K14).

    Raises InputError(keys.size) for a seed or tweak other than 32 bytes or a container id other than 16.
    """
    salt = fixed("tweak", tweak, ID_BYTES)
    container = fixed("container id", container_id, CONTAINER_ID_BYTES)
    return AssetKeys(
        delegating=SecretScalar.from_wide(_expand(seed, salt, b"delegating" + container, WIDE_BYTES)),
        signer=SecretScalar.from_wide(_expand(seed, salt, b"signer" + container, WIDE_BYTES)),
        k_pq=_expand(seed, salt, b"kpq" + container, 32),
    )


def share_randomness(
    seed: bytes, tweak: bytes, container_id: bytes, order_id: bytes, generation: int, threshold: int, shares: int
) -> ShareRandomness:
    """The random choices for an order's shares (K15): equal arguments, equal shares.

    Raises InputError(keys.threshold) unless 2 <= threshold <= shares <= 16, InputError(keys.size) for lengths and
    for a generation outside 1..2^32-1.
    """
    if not 2 <= threshold <= shares <= MAX_SHARES:
        raise InputError(
            "keys.threshold", f"the threshold must be at least 2 and at most {shares} of at most 16 shares"
        )
    if generation == 0:
        raise InputError("keys.size", "the first generation is 1")
    info = b"kfrags" + fixed("container id", container_id, CONTAINER_ID_BYTES) + fixed("order id", order_id, ID_BYTES)
    info += unsigned("generation", generation, GENERATION_BYTES) + bytes([threshold, shares])
    wide_bytes = WIDE_BYTES * threshold  # the precursor's key, then t-1 coefficients
    okm = _expand(seed, fixed("tweak", tweak, ID_BYTES), info, wide_bytes + KFRAG_ID_BYTES * shares)
    scalars = [SecretScalar.from_wide(okm[at : at + WIDE_BYTES]) for at in range(0, wide_bytes, WIDE_BYTES)]
    ids = tuple(okm[at : at + KFRAG_ID_BYTES] for at in range(wide_bytes, len(okm), KFRAG_ID_BYTES))
    return ShareRandomness(precursor=scalars[0], coefficients=tuple(scalars[1:]), ids=ids)


def form_key(seed: bytes, counter: int) -> FormSecretKey:
    """The hybrid key for application forms; the provider's profile carries `counter` (K16)."""
    info = b"form" + unsigned("counter", counter, COUNTER_BYTES)
    return FormSecretKey(_expand(seed, b"", info, HYBRID_SEED_BYTES))


def _order_context(chain_id: int, exchange: bytes, asset_id: bytes) -> bytes:
    chain = unsigned("chain id", chain_id, CHAIN_ID_BYTES)
    return chain + fixed("exchange", exchange, ACCOUNT_BYTES) + fixed("asset id", asset_id, ID_BYTES)


def receiving_key(seed: bytes, order_nonce: bytes, chain_id: int, exchange: bytes, asset_id: bytes) -> SecretScalar:
    """A consumer's receiving key b of one order (K17); its public half is pk_B."""
    info = b"receiving" + _order_context(chain_id, exchange, asset_id)
    return SecretScalar.from_wide(_expand(seed, fixed("order nonce", order_nonce, ID_BYTES), info, WIDE_BYTES))


def consumer_hybrid_key(
    seed: bytes, order_nonce: bytes, chain_id: int, exchange: bytes, asset_id: bytes
) -> ConsumerHybridSecretKey:
    """A consumer's hybrid key of one order (K17)."""
    info = b"hybrid" + _order_context(chain_id, exchange, asset_id)
    salt = fixed("order nonce", order_nonce, ID_BYTES)
    return ConsumerHybridSecretKey(_expand(seed, salt, info, HYBRID_SEED_BYTES))
