# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Re-encryption verifier
@license Apache-2.0
@notice Tells whether a re-encrypted fragment is the one that the share behind U1 gives for a capsule: Umbral's proof, and
        the listed signer's word for the share. Keeps nothing. Says nothing about what the fragments open.
@custom:spec spec/contracts.md, section 11
@custom:stop None: it has no state and no owner.
"""
from modules import orders
from modules import signatures

# Field and order of secp256k1.
P: constant(uint256) = 115792089237316195423570985008687907853269984665640564039457584007908834671663
N: constant(uint256) = 115792089237316195423570985008687907852837564279074904382605163141518161494337
HALF: constant(uint256) = 57896044618658097711785492504343953926634992332820282019728792003954417335832  # 1/2 mod P
# Umbral's parameter point U.
U_SIGN: constant(uint256) = 3
U_X: constant(uint256) = 3426915944274541045015425600917052394373455440135403995790873812677312672717
U_POINT: constant(Bytes[33]) = x"03079390d0fbe220fc34aab8ecbf49098098036820fadb98c03143e55db8ec73cd"

# Length of the domain (4), then CFRAG_VERIFICATION.
DOMAIN: constant(Bytes[22]) = x"0000001243465241475f564552494649434154494f4e"
# e1(33), v1(33), z(32), receiver-side signature(64), for U, E and V: x of z*base, x of c*image, slope (96), inverse(32).
PROOF: constant(uint256) = 482
SIGNATURE: constant(uint256) = 98
CHORDS: constant(uint256) = 162
INVERSE: constant(uint256) = 450


@pure
@external
@reentrant
def verify(
    capsule: Bytes[98],
    pk_a: Bytes[33],
    signer: address,
    pk_b: Bytes[33],
    kfrag_id: bytes32,
    u1: Bytes[33],
    x_a: Bytes[33],
    proof: Bytes[512],
) -> bool:
    """
    @notice Whether `proof` shows the fragment (e1, v1) of this share, for this capsule and these keys.
    """
    if (
        len(capsule) != 98
        or len(pk_a) != 33
        or len(pk_b) != 33
        or len(u1) != 33
        or len(x_a) != 33
        or len(proof) != PROOF
        or signer == empty(address)
    ):
        return False
    # Does the signer stand for this share, and is its precursor a point?
    if signer != signatures._recover(
        sha256(concat(kfrag_id, u1, x_a, x"01", pk_a, x"01", pk_b)),
        extract32(proof, SIGNATURE, output_type=uint256),
        extract32(proof, SIGNATURE + 32, output_type=uint256),
    ) or self._multiple(1, x_a, 0) == empty(address):
        return False
    z: uint256 = extract32(proof, 66, output_type=uint256)
    if z == 0 or z >= N:
        return False

    # Each chord goes through z*base and -(c*image); its third point is minus the nonce's point.
    slope_u: uint256 = extract32(proof, CHORDS + 64, output_type=uint256)
    slope_e: uint256 = extract32(proof, CHORDS + 160, output_type=uint256)
    slope_v: uint256 = extract32(proof, CHORDS + 256, output_type=uint256)
    inverse: uint256 = extract32(proof, INVERSE, output_type=uint256)
    product_ue: uint256 = uint256_mulmod(slope_u, slope_e, P)
    if uint256_mulmod(inverse, uint256_mulmod(product_ue, slope_v, P), P) != 1:
        return False
    of_u: address = empty(address)
    of_e: address = empty(address)
    of_v: address = empty(address)
    u1_c: address = empty(address)
    e1_c: address = empty(address)
    v1_c: address = empty(address)
    u2: Bytes[33] = b""
    e2: Bytes[33] = b""
    v2: Bytes[33] = b""
    of_u, u1_c, u2 = self._chord(proof, CHORDS, slope_u, uint256_mulmod(inverse, uint256_mulmod(slope_e, slope_v, P), P))
    of_e, e1_c, e2 = self._chord(proof, CHORDS + 96, slope_e, uint256_mulmod(inverse, uint256_mulmod(slope_u, slope_v, P), P))
    of_v, v1_c, v2 = self._chord(proof, CHORDS + 192, slope_v, uint256_mulmod(inverse, product_ue, P))
    if of_u == empty(address) or of_e == empty(address) or of_v == empty(address):
        return False

    c: uint256 = convert(
        sha256(
            concat(
                DOMAIN,
                slice(capsule, 0, 33),
                slice(proof, 0, 33),
                e2,
                slice(capsule, 33, 33),
                slice(proof, 33, 33),
                v2,
                U_POINT,
                u1,
                u2,
            )
        ),
        uint256,
    ) % (N - 1) + 1
    return (
        of_u == ecrecover(empty(bytes32), U_SIGN + 25, U_X, uint256_mulmod(z, U_X, N))
        and u1_c == self._multiple(c, u1, 0)
        and of_e == self._multiple(z, capsule, 0)
        and e1_c == self._multiple(c, slice(proof, 0, 33), 0)
        and of_v == self._multiple(z, capsule, 33)
        and v1_c == self._multiple(c, slice(proof, 33, 33), 0)
    )


@pure
@internal
def _multiple(scalar: uint256, points: Bytes[98], start: uint256) -> address:
    """
    @notice The address of scalar * point, zero when the 33 bytes at `start` are no point. ecrecover gives (s*R - m*G) / r
            for the point R with x = r; with m = 0 and s = scalar * r that is scalar * R.
    """
    sign: uint256 = extract32(points, start, output_type=uint256) >> 248
    x: uint256 = extract32(points, start + 1, output_type=uint256)
    return ecrecover(empty(bytes32), sign + 25, x, uint256_mulmod(scalar, x, N))


@pure
@internal
def _chord(proof: Bytes[512], start: uint256, slope: uint256, slope_inverse: uint256) -> (address, address, Bytes[33]):
    """
    @notice For the line through A and -H with this slope: the addresses of A and H, and A - H compressed. The address of A
            is zero when A and H have one x: no chord is defined then.
    """
    a_x: uint256 = extract32(proof, start, output_type=uint256)
    h_x: uint256 = extract32(proof, start + 32, output_type=uint256)
    if a_x % P == h_x % P:
        return empty(address), empty(address), b""
    both: uint256 = uint256_addmod(a_x, h_x, P)
    x: uint256 = uint256_addmod(uint256_mulmod(slope, slope, P), P - both, P)
    # Vieta: the three x of the line y = slope * x + height on y^2 = x^3 + 7 have pair products adding up to -2 * slope * height.
    pairs: uint256 = uint256_addmod(uint256_mulmod(a_x, h_x, P), uint256_mulmod(both, x, P), P)
    height: uint256 = P - uint256_mulmod(uint256_mulmod(pairs, HALF, P), slope_inverse, P)
    a_y: uint256 = uint256_addmod(uint256_mulmod(slope, a_x, P), height, P)
    h_y: uint256 = P - uint256_addmod(uint256_mulmod(slope, h_x, P), height, P)
    y: uint256 = P - uint256_addmod(uint256_mulmod(slope, x, P), height, P)
    return self._address(a_x, a_y), self._address(h_x, h_y), orders._pk_b(convert(2 + y % 2, uint8), convert(x, bytes32))


@pure
@internal
def _address(x: uint256, y: uint256) -> address:
    return convert(convert(keccak256(abi_encode(x, y)), uint256) & (2**160 - 1), address)
