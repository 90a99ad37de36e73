"""What is sealed to whom: one function a label, every context field named and of fixed width.

Implements spec/keys.md K18-K20 and protocol §1. HPKE (RFC 9180) base mode; the context is `info` = label ‖ 00 ‖ fields.
Promises: opening under another key, label or any other field fails as `keys.envelope`, whatever differs.
Does not promise: who sealed it (base mode has no sender), or that the randomness is ours: `cryptography` draws it.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from asset_bridge.errors import TamperedError
from asset_bridge.keys.checks import ACCOUNT_BYTES, ID_BYTES, POINT_BYTES, fixed, unsigned
from asset_bridge.keys.kem import (
    ConsumerHybridPublicKey,
    ConsumerHybridSecretKey,
    FormPublicKey,
    FormSecretKey,
    SharePublicKey,
    ShareSecretKey,
)
from asset_bridge.keys.secp256k1 import SecretScalar

_CLASSICAL = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_HYBRID = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
SEALED_KFRAG_BYTES = 80  # 32 encapsulated, 32, tag 16
SEALED_KPQ_BYTES = 1168  # 1,120 encapsulated, 32, tag 16
HYBRID_OVERHEAD_BYTES = 1136


def _seal(
    suite: Suite, plaintext: bytes, key: SharePublicKey | FormPublicKey | ConsumerHybridPublicKey, info: bytes
) -> bytes:
    try:
        return suite.encrypt(plaintext, key.native(), info=info)
    except ValueError:  # a low-order X25519 point; its shared secret would be zero
        raise TamperedError("keys.kem-key", "nothing can be sealed safely to this key") from None


def _open(
    suite: Suite, sealed: bytes, key: ShareSecretKey | FormSecretKey | ConsumerHybridSecretKey, info: bytes, what: str
) -> bytes:
    try:
        return suite.decrypt(sealed, key.native(), info=info)
    except (InvalidTag, ValueError):
        raise TamperedError("keys.envelope", f"{what} does not open under this key and context") from None


def _kfrag_info(
    key: SharePublicKey,
    order_id: bytes,
    generation: int,
    slot: int,
    kfrag_id: bytes,
    u1: bytes,
    x_a: bytes,
    node_id: bytes,
    epoch: int,
) -> bytes:
    return b"".join(
        (
            b"asset-bridge/1/kfrag\x00",
            fixed("order id", order_id, ID_BYTES),
            unsigned("generation", generation, 4),
            unsigned("slot", slot, 1),
            fixed("kfrag id", kfrag_id, ID_BYTES),
            fixed("U1", u1, POINT_BYTES),
            fixed("X_A", x_a, POINT_BYTES),
            fixed("node id", node_id, ID_BYTES),
            unsigned("epoch", epoch, 8),
            key.digest(),
        )
    )


def seal_kfrag(
    key: SharePublicKey,
    rk: SecretScalar,
    *,
    order_id: bytes,
    generation: int,
    slot: int,
    kfrag_id: bytes,
    u1: bytes,
    x_a: bytes,
    node_id: bytes,
    epoch: int,
) -> bytes:
    """Seal a share's secret to the TEE node's key made for this order; 80 bytes."""
    info = _kfrag_info(key, order_id, generation, slot, kfrag_id, u1, x_a, node_id, epoch)
    return _seal(_CLASSICAL, rk.to_secret_bytes(), key, info)


def open_kfrag(
    key: ShareSecretKey,
    sealed: bytes,
    *,
    order_id: bytes,
    generation: int,
    slot: int,
    kfrag_id: bytes,
    u1: bytes,
    x_a: bytes,
    node_id: bytes,
    epoch: int,
) -> SecretScalar:
    """Open a share's secret; TamperedError(keys.envelope), or keys.scalar if what was sealed is no scalar."""
    info = _kfrag_info(key.public_key(), order_id, generation, slot, kfrag_id, u1, x_a, node_id, epoch)
    return SecretScalar.from_bytes(_open(_CLASSICAL, sealed, key, info, "the sealed share"))


def _kpq_info(key: ConsumerHybridPublicKey, order_id: bytes, pq_commit: bytes) -> bytes:
    order = fixed("order id", order_id, ID_BYTES)
    return b"asset-bridge/1/kpq\x00" + order + fixed("commitment", pq_commit, ID_BYTES) + key.digest()


def seal_kpq(key: ConsumerHybridPublicKey, k_pq: bytes, *, order_id: bytes, pq_commit: bytes) -> bytes:
    """Seal the post-quantum half of the file key to the consumer; 1,168 bytes."""
    return _seal(_HYBRID, fixed("K_pq", k_pq, 32), key, _kpq_info(key, order_id, pq_commit))


def open_kpq(key: ConsumerHybridSecretKey, sealed: bytes, *, order_id: bytes, pq_commit: bytes) -> bytes:
    """Open K_pq; compare it with the listing by `file_key.check_pq_commit`."""
    k_pq = _open(_HYBRID, sealed, key, _kpq_info(key.public_key(), order_id, pq_commit), "the post-quantum half")
    if len(k_pq) != 32:
        raise TamperedError("keys.envelope", "the post-quantum half has the wrong size", actor="provider")
    return k_pq


def _form_info(chain_id: int, exchange: bytes, asset_id: bytes, consumer: bytes, order_nonce: bytes) -> bytes:
    return b"".join(
        (
            b"asset-bridge/1/form\x00",
            unsigned("chain id", chain_id, 32),
            fixed("exchange", exchange, ACCOUNT_BYTES),
            fixed("asset id", asset_id, ID_BYTES),
            fixed("consumer", consumer, ACCOUNT_BYTES),
            fixed("order nonce", order_nonce, ID_BYTES),
        )
    )


def seal_form(
    key: FormPublicKey,
    form: bytes,
    *,
    chain_id: int,
    exchange: bytes,
    asset_id: bytes,
    consumer: bytes,
    order_nonce: bytes,
) -> bytes:
    """Seal an application form to the provider; 1,136 bytes longer than the form."""
    return _seal(_HYBRID, form, key, _form_info(chain_id, exchange, asset_id, consumer, order_nonce))


def open_form(
    key: FormSecretKey,
    sealed: bytes,
    *,
    chain_id: int,
    exchange: bytes,
    asset_id: bytes,
    consumer: bytes,
    order_nonce: bytes,
) -> bytes:
    """Open an application form; TamperedError(keys.envelope)."""
    return _open(_HYBRID, sealed, key, _form_info(chain_id, exchange, asset_id, consumer, order_nonce), "the form")


def _reply_info(order_id: bytes) -> bytes:
    return b"asset-bridge/1/reply\x00" + fixed("order id", order_id, ID_BYTES)


def seal_reply(key: ConsumerHybridPublicKey, reply: bytes, *, order_id: bytes) -> bytes:
    """Seal a provider's reply to the consumer; 1,136 bytes longer than the reply."""
    return _seal(_HYBRID, reply, key, _reply_info(order_id))


def open_reply(key: ConsumerHybridSecretKey, sealed: bytes, *, order_id: bytes) -> bytes:
    """Open a provider's reply; TamperedError(keys.envelope)."""
    return _open(_HYBRID, sealed, key, _reply_info(order_id), "the reply")
