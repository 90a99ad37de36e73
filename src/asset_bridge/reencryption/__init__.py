"""Threshold proxy re-encryption (Umbral on secp256k1). Rules: spec/reencryption.md."""

from asset_bridge.reencryption.capsule import CAPSULE_BYTES, Capsule, decrypt_package, encrypt_package
from asset_bridge.reencryption.cfrag import CFRAG_BYTES, CapsuleFrag, VerifiedCapsuleFrag, accept_share, reencrypt
from asset_bridge.reencryption.commitment import (
    W_PROOF_BYTES,
    ListingContext,
    prove_commitment,
    verify_commitment,
)
from asset_bridge.reencryption.hashes import PARAMETER_U, receiver_digest, receiver_message
from asset_bridge.reencryption.kfrag import KeyFrag, PublishedShare, VerifiedKeyFrag, generate_shares
from asset_bridge.reencryption.opening import HALF_KEY_BYTES, HalfKey, half_open, open_package
from asset_bridge.reencryption.prepayment import pre_payment_check

__all__ = [
    "CAPSULE_BYTES",
    "CFRAG_BYTES",
    "HALF_KEY_BYTES",
    "PARAMETER_U",
    "W_PROOF_BYTES",
    "Capsule",
    "CapsuleFrag",
    "HalfKey",
    "KeyFrag",
    "ListingContext",
    "PublishedShare",
    "VerifiedCapsuleFrag",
    "VerifiedKeyFrag",
    "accept_share",
    "decrypt_package",
    "encrypt_package",
    "generate_shares",
    "half_open",
    "open_package",
    "pre_payment_check",
    "prove_commitment",
    "receiver_digest",
    "receiver_message",
    "reencrypt",
    "verify_commitment",
]
