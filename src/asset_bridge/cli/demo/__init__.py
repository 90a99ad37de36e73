"""The demonstration: a whole trade on this machine, every part real but the attestation, which is simulated and says so."""
