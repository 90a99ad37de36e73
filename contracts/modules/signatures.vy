# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Compact signatures
@license Apache-2.0
@notice Recovers the signer of a digest from an EIP-2098 signature (64 bytes). High s has no encoding here, so a
        signature has one form only. Does not look up who the signer should be.
@custom:spec spec/contracts.md, section 2
"""

# Half the order of secp256k1: a larger s is the second form of the same signature.
MAX_S: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168
LOW_255: constant(uint256) = max_value(uint256) >> 1


@internal
@pure
def _recover(digest: bytes32, r: uint256, v_and_s: uint256) -> address:
    """
    @notice The address that made the compact signature (r, v_and_s) of `digest`; zero when there is none.
    """
    s: uint256 = v_and_s & LOW_255
    if s > MAX_S:
        return empty(address)
    return ecrecover(digest, (v_and_s >> 255) + 27, r, s)
