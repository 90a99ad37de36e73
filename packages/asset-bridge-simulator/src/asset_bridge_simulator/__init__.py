"""Simulated attestation with its own roots. Never a TEE; absent from a production image."""
