# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Events of the NodeRegistry
@license Apache-2.0
@notice What a reader needs to know every node, its epochs and its stake.
@custom:spec spec/contracts.md, section 6
"""

event NodeRegistered:
    node_id: indexed(bytes32)
    operator: indexed(address)
    kind: indexed(uint8)
    salt: bytes32
    stake: uint256


event EpochStarted:
    node_id: indexed(bytes32)
    epoch: uint64
    endpoint: bytes32
    endpoint_length: uint64
    signing_key: address
    vendor: uint8
    measurement: bytes32
    platform: bytes32
    evidence: bytes32
    expires_at: uint64


event Refreshed:
    node_id: indexed(bytes32)
    epoch: uint64


event StakeAdded:
    node_id: indexed(bytes32)
    amount: uint256


event NodeWithdrawn:
    node_id: indexed(bytes32)
    amount: uint256


event Slashed:
    node_id: indexed(bytes32)
    exchange: indexed(address)
    beneficiary: indexed(address)
    amount: uint256


event Collected:
    beneficiary: indexed(address)
    amount: uint256


event ExchangeRemoved:
    exchange: indexed(address)
