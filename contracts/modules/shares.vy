# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Shares of an approval
@license Apache-2.0
@notice Turns the provider's shares into the table of an order and checks what can be checked in public: sizes, distinct
        ids, commitments, nodes and operators, live nodes, and each receiver-side signature against the listed signer.
        Does not see the sealed secrets: the node that opens one answers for it with `Accept`.
@custom:spec spec/contracts.md, section 4
"""
from interfaces import INodeRegistry
from modules import orders
from modules import signatures

struct KeyParts:
    points: bytes32
    pk_a_sign: uint8
    pk_a_x: bytes32
    signer: address
    credits: bytes32


SHARE: constant(uint256) = 137
SEALED: constant(uint256) = 213
MIN_SHARES: constant(uint256) = 2
MAX_SHARES: constant(uint256) = 16


@pure
@internal
def _card(parts: KeyParts) -> bytes32:
    """
    @notice The card of the asset whose keys and storage these are.
    """
    commitment: bytes32 = keccak256(
        concat(parts.points, convert(parts.pk_a_sign, bytes1), parts.pk_a_x, convert(parts.signer, bytes20))
    )
    return keccak256(concat(commitment, parts.credits))


@view
@internal
def _table(
    registry: address,
    parts: KeyParts,
    terms: orders.Terms,
    generation: uint256,
    threshold: uint8,
    precursor: Bytes[33],
    shares: Bytes[2192],
    sealed_shares: Bytes[3408],
) -> Bytes[2550]:
    """
    @notice The checked table: head, then for each slot the share with the node's signing address put in.
    """
    size: uint256 = len(shares)
    count: uint256 = size // SHARE
    assert size % SHARE == 0 and len(sealed_shares) == count * SEALED and len(precursor) == 33, "grants: wrong length"
    assert (
        convert(threshold, uint256) >= MIN_SHARES and convert(threshold, uint256) <= count and count <= MAX_SHARES
    ), "grants: threshold is out of range"

    # Shares are read in place. No sum below passes 3,408.
    nodes: DynArray[bytes32, MAX_SHARES] = []
    epochs: uint256 = 0
    place: uint256 = 0
    at: uint256 = 0
    for i: uint256 in range(count, bound=MAX_SHARES):
        nodes.append(extract32(shares, at))
        epoch: uint256 = extract32(shares, unsafe_add(at, 32), output_type=uint256) >> 192
        assert epoch <= orders.LOW_16, "registry: not the current epoch"
        epochs |= epoch << place
        place = unsafe_add(place, 16)
        at = unsafe_add(at, SHARE)
    signers: DynArray[uint256, MAX_SHARES] = staticcall INodeRegistry(registry).tee_slots(nodes, epochs)

    tail: Bytes[101] = concat(
        precursor, x"01", convert(parts.pk_a_sign, bytes1), parts.pk_a_x, x"01", orders._pk_b(terms.pk_b_sign, terms.pk_b_x)
    )
    signer: address = parts.signer
    table: Bytes[2550] = concat(
        convert(threshold, bytes1), convert(convert(generation, uint32), bytes4), precursor
    )
    at = 0
    sealed: uint256 = 0
    for node_signer: uint256 in signers:
        kfrag: bytes32 = extract32(shares, unsafe_add(at, 40))
        u1_x: bytes32 = extract32(shares, unsafe_add(at, 73))
        before: uint256 = 0
        for j: uint256 in range(MAX_SHARES):
            if before == at:
                break
            assert (
                extract32(shares, unsafe_add(before, 40)) != kfrag and extract32(shares, unsafe_add(before, 73)) != u1_x
            ), "grants: slots are not distinct"
            before = unsafe_add(before, SHARE)
        assert signer == signatures._recover(
            sha256(concat(slice(shares, unsafe_add(at, 40), 65), tail)),
            extract32(sealed_shares, sealed, output_type=uint256),
            extract32(sealed_shares, unsafe_add(sealed, 32), output_type=uint256),
        ), "grants: share is not signed by the listed signer"
        assert extract32(sealed_shares, unsafe_add(sealed, 64), output_type=uint256) >> 216 > block.timestamp, "grants: order key has expired"
        table = convert(
            concat(
                table,
                slice(shares, at, 40),
                convert(convert(node_signer, address), bytes20),
                slice(shares, unsafe_add(at, 40), 97),
            ),
            Bytes[2550],
        )
        at = unsafe_add(at, SHARE)
        sealed = unsafe_add(sealed, SEALED)
    return table
