"""Evidence of TEE nodes: what it binds, how it is verified, and how a policy judges it. Pure.

Source: spec/attestation.md. The chain of types is `bytes → ClaimedEvidence → Claims → Accepted | Rejected → Choice`; each step is
the only maker of the next type. `now`, collateral and the set of verifiers are arguments.
"""
