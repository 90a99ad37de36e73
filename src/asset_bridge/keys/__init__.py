"""Keys: derivation from seeds, the curve, signatures, HPKE envelopes, the file key. Rules: spec/keys.md."""
