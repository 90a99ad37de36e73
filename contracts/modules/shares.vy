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
    count: uint256 = len(shares) // SHARE
    assert len(shares) == count * SHARE and len(sealed_shares) == count * SEALED, "grants: wrong length"
    assert len(precursor) == 33, "grants: wrong length"
    assert (
        convert(threshold, uint256) >= MIN_SHARES and convert(threshold, uint256) <= count and count <= MAX_SHARES
    ), "grants: threshold is out of range"

    nodes: DynArray[bytes32, MAX_SHARES] = []
    epochs: DynArray[uint64, MAX_SHARES] = []
    for i: uint256 in range(count, bound=MAX_SHARES):
        nodes.append(extract32(shares, i * SHARE))
        epochs.append(convert(extract32(shares, i * SHARE + 32, output_type=uint256) >> 192, uint64))
    operators: DynArray[address, MAX_SHARES] = []
    signers: DynArray[address, MAX_SHARES] = []
    operators, signers = staticcall INodeRegistry(registry).tee_slots(nodes, epochs)

    tail: Bytes[68] = concat(x"01", convert(parts.pk_a_sign, bytes1), parts.pk_a_x, x"01", orders._pk_b(terms.pk_b_sign, terms.pk_b_x))
    table: Bytes[2550] = concat(
        convert(threshold, bytes1), convert(convert(generation, uint32), bytes4), precursor
    )
    for i: uint256 in range(count, bound=MAX_SHARES):
        kfrag: bytes32 = extract32(shares, i * SHARE + 40)
        u1_x: bytes32 = extract32(shares, i * SHARE + 73)
        for j: uint256 in range(i, bound=MAX_SHARES):
            assert (
                nodes[j] != nodes[i]
                and operators[j] != operators[i]
                and extract32(shares, j * SHARE + 40) != kfrag
                and extract32(shares, j * SHARE + 73) != u1_x
            ), "grants: slots are not distinct"
        digest: bytes32 = sha256(concat(slice(shares, i * SHARE + 40, 65), precursor, tail))
        assert parts.signer == signatures._recover(
            digest,
            extract32(sealed_shares, i * SEALED, output_type=uint256),
            extract32(sealed_shares, i * SEALED + 32, output_type=uint256),
        ), "grants: share is not signed by the listed signer"
        assert extract32(sealed_shares, i * SEALED + 64, output_type=uint256) >> 216 > block.timestamp, "grants: order key has expired"
        table = convert(
            concat(
                table,
                slice(shares, i * SHARE, 40),
                convert(signers[i], bytes20),
                slice(shares, i * SHARE + 40, 97),
            ),
            Bytes[2550],
        )
    return table
