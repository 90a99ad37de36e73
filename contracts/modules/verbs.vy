# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Verbs of the Exchange
@license Apache-2.0
@notice EIP-712 type hashes of what an account can sign for the Exchange.
@custom:spec spec/contracts.md, section 2
"""

REQUEST_TYPE: constant(bytes32) = keccak256(
    "Request(bytes32 order,address fetchSigner,uint256 periods,bytes32 card,uint64 formLength,uint256 nonce,uint64 deadline)"
)
CANCEL_TYPE: constant(bytes32) = keccak256("Cancel(bytes32 order,uint256 nonce,uint64 deadline)")
PAY_TYPE: constant(bytes32) = keccak256(
    "Pay(bytes32 order,address token,uint256 price,bytes32 table,uint256 nonce,uint64 deadline)"
)
ACCEPT_DELIVERY_TYPE: constant(bytes32) = keccak256("AcceptDelivery(bytes32 order,uint256 nonce,uint64 deadline)")
AGREE_REFUND_TYPE: constant(bytes32) = keccak256("AgreeRefund(bytes32 order,uint256 nonce,uint64 deadline)")
CLAIM_TYPE: constant(bytes32) = keccak256("Claim(bytes32 account,address token,uint256 nonce,uint64 deadline)")
