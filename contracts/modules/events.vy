# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Events of the Exchange
@license Apache-2.0
@notice What a reader needs to know every order and to bring its preimages again. No text and no personal data.
@custom:spec spec/contracts.md, section 6
"""
from interfaces import IAssetLedger

event Requested:
    order_id: indexed(bytes32)
    provider: indexed(address)
    consumer: indexed(address)
    asset_id: bytes32
    offer: IAssetLedger.Offer
    fetch_signer: address
    pk_b_sign: uint8
    pk_b_x: bytes32
    hybrid_key: bytes32
    form: bytes32
    form_length: uint64
    order_nonce: bytes32


event Cancelled:
    order_id: indexed(bytes32)


event Expired:
    order_id: indexed(bytes32)


event Paid:
    order_id: indexed(bytes32)
    payer: address
    accepted: uint16


event Delivered:
    order_id: indexed(bytes32)
    generation: uint32
    recorder: bytes32
    fetch: Bytes[64]
    receipts: Bytes[2192]
    old_rows: Bytes[2512]


event Settled:
    order_id: indexed(bytes32)
    accepted: bool


event Refunded:
    order_id: indexed(bytes32)
    amount: uint256
    agreed: bool


event ChallengeOpened:
    order_id: indexed(bytes32)
    answer_by: uint256


event ChallengeClosed:
    order_id: indexed(bytes32)
    met: bool
