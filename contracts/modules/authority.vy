# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Authority
@license Apache-2.0
@notice Finds out for whom a call acts: for the caller, or for the account that signed the same verb (EIP-712), so that
        anyone may submit it. Nonces are unordered and used once; a signature ends at its deadline; contract accounts
        answer by ERC-1271. Does not decide whether that account may do it.
@custom:spec spec/contracts.md, section 2
@custom:stop An account stops a signature it gave by using its nonce, or by letting the deadline pass.
"""

event NonceUsed:
    account: indexed(address)
    nonce: uint256


DOMAIN_TYPE: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
NAME_HASH: constant(bytes32) = keccak256("asset-bridge")
VERSION_HASH: constant(bytes32) = keccak256("1")
MAX_S: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168
# account(20), nonce(32), deadline(8) stand before the signature.
HEAD_BYTES: constant(uint256) = 60

_CHAIN: immutable(uint256)
_DOMAIN: immutable(bytes32)

# One bit a nonce: word nonce >> 8, bit nonce & 255.
_used: HashMap[address, HashMap[uint256, uint256]]


@deploy
def __init__():
    _CHAIN = chain.id
    _DOMAIN = keccak256(abi_encode(DOMAIN_TYPE, NAME_HASH, VERSION_HASH, chain.id, self))


@view
@external
@reentrant
def domain_separator() -> bytes32:
    """
    @notice The EIP-712 domain separator of this contract on this chain.
    """
    return self._domain()


@view
@external
@reentrant
def nonce_used(account: address, nonce: uint256) -> bool:
    """
    @notice Whether `account` has used up `nonce` here.
    """
    return (self._used[account][nonce >> 8] >> (nonce & 255)) & 1 == 1


@view
@internal
def _domain() -> bytes32:
    # After a fork that changes the chain id, old signatures must not count on the new chain.
    if chain.id == _CHAIN:
        return _DOMAIN
    return keccak256(abi_encode(DOMAIN_TYPE, NAME_HASH, VERSION_HASH, chain.id, self))


@view
@internal
def _digest(struct_hash: bytes32) -> bytes32:
    return keccak256(concat(x"1901", self._domain(), struct_hash))


@view
@internal
def _claimed(authority: Bytes[1084]) -> address:
    """
    @notice Whom `authority` names, before its signature is checked: for ids that contain the account that signs them.
    """
    if len(authority) == 0:
        return msg.sender
    assert len(authority) > HEAD_BYTES, "authority: too short"
    return convert(slice(authority, 0, 20), address)


@internal
def _actor(authority: Bytes[1084], head: Bytes[640]) -> address:
    """
    @notice The account for which this call acts.
    @param authority Empty, or account(20), nonce(32), deadline(8), signature.
    @param head      Type hash and encoded fields of the verb, without nonce and deadline; unused when `authority` is empty.
    """
    if len(authority) == 0:
        return msg.sender
    assert len(authority) > HEAD_BYTES, "authority: too short"
    account: address = convert(slice(authority, 0, 20), address)
    nonce: uint256 = extract32(authority, 20, output_type=uint256)
    deadline: uint256 = convert(slice(authority, 52, 8), uint256)
    assert block.timestamp <= deadline, "authority: deadline has passed"
    bit: uint256 = 1 << (nonce & 255)
    word: uint256 = self._used[account][nonce >> 8]
    assert word & bit == 0, "authority: nonce is used"
    self._used[account][nonce >> 8] = word | bit
    digest: bytes32 = self._digest(keccak256(concat(head, abi_encode(nonce, deadline))))
    assert self._signed(account, digest, slice(authority, HEAD_BYTES, len(authority) - HEAD_BYTES)), "authority: signature is not the account's"
    log NonceUsed(account=account, nonce=nonce)
    return account


@view
@internal
def _signed(account: address, digest: bytes32, signature: Bytes[1084]) -> bool:
    if account == empty(address):
        return False
    if len(signature) == 65:
        s: uint256 = extract32(signature, 32, output_type=uint256)
        if s <= MAX_S and ecrecover(
            digest, convert(slice(signature, 64, 1), uint256), extract32(signature, 0, output_type=uint256), s
        ) == account:
            return True
    # An account with code may have a key as well (EIP-7702), so code is asked only after the key failed.
    if not account.is_contract:
        return False
    success: bool = False
    answer: Bytes[32] = b""
    success, answer = raw_call(
        account,
        abi_encode(digest, signature, method_id=method_id("isValidSignature(bytes32,bytes)")),
        max_outsize=32,
        is_static_call=True,
        revert_on_failure=False,
    )
    return success and len(answer) == 32 and slice(answer, 0, 4) == x"1626ba7e"
