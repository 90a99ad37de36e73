"""The TEE node: keys made at start, permission read at a finalized block, refusal at any head (protocol §6)."""
