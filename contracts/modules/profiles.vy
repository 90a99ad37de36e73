# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Profiles of providers
@license Apache-2.0
@notice Who acts for a provider, where its money goes, and which account can take part in changing that. The provider's
        address stays in every asset for ever; its owner, payee and recovery account change only after a delay in which
        owner or recovery account can cancel. Whoever holds both keys, or the only one there is, decides alone.
@custom:spec spec/contracts.md, section 5
@custom:stop Owner or recovery account cancel a change until it is applied.
"""
from modules import authority
from modules import governed

uses: authority
uses: governed

# `owner` zero: the provider itself. `change_hash` zero: no change waits.
struct Account:
    owner: address
    payee: address
    recovery: address
    change_hash: bytes32
    change_at: uint256


event ProfileSet:
    provider: indexed(address)
    profile: bytes32
    payee: address
    recovery: address


event ChangeProposed:
    provider: indexed(address)
    owner: address
    payee: address
    recovery: address
    change_at: uint256


event ChangeCancelled:
    provider: indexed(address)


event ChangeApplied:
    provider: indexed(address)
    owner: address
    payee: address
    recovery: address


SET_PROFILE_TYPE: constant(bytes32) = keccak256(
    "SetProfile(address provider,bytes32 profile,address payee,address recovery,uint256 nonce,uint64 deadline)"
)
PROPOSE_CHANGE_TYPE: constant(bytes32) = keccak256(
    "ProposeChange(address provider,address owner,address payee,address recovery,uint256 nonce,uint64 deadline)"
)
CANCEL_CHANGE_TYPE: constant(bytes32) = keccak256("CancelChange(address provider,uint256 nonce,uint64 deadline)")
# 7 days.
MIN_CHANGE_SECONDS: constant(uint256) = 604_800

change_seconds: public(immutable(uint256))

_accounts: HashMap[address, Account]


@deploy
def __init__(change_delay_seconds: uint256):
    assert governed.development or change_delay_seconds >= MIN_CHANGE_SECONDS, "ledger: change delay is too short"
    change_seconds = change_delay_seconds


@external
def set_profile(provider: address, profile: bytes32, payee: address, recovery: address, authority_: Bytes[1084]):
    """
    @notice Names the profile document; the first call also sets payee and recovery account, later ones must repeat them.
    """
    self._only_owner(
        provider, authority._actor(authority_, abi_encode(SET_PROFILE_TYPE, provider, profile, payee, recovery))
    )
    assert payee != empty(address), "ledger: payee is zero"
    if self._accounts[provider].payee == empty(address):
        self._accounts[provider].payee = payee
        self._accounts[provider].recovery = recovery
    else:
        assert self._accounts[provider].payee == payee, "ledger: payee changes by propose_change"
        assert self._accounts[provider].recovery == recovery, "ledger: recovery changes by propose_change"
    log ProfileSet(provider=provider, profile=profile, payee=payee, recovery=recovery)


@external
def propose_change(
    provider: address, owner: address, payee: address, recovery: address, authority_: Bytes[1084]
):
    """
    @notice Announces new owner, payee and recovery account; replaces a change that waits.
    """
    self._only_owner_or_recovery(
        provider, authority._actor(authority_, abi_encode(PROPOSE_CHANGE_TYPE, provider, owner, payee, recovery))
    )
    assert owner != empty(address) and payee != empty(address), "ledger: zero address"
    assert self._accounts[provider].payee != empty(address), "ledger: no profile"
    # A waiting change must be cancelled first, else a repeated proposal would hide the one that waits.
    assert self._accounts[provider].change_hash == empty(bytes32), "ledger: a change waits"
    change_at: uint256 = block.timestamp + change_seconds
    self._accounts[provider].change_hash = keccak256(abi_encode(owner, payee, recovery))
    self._accounts[provider].change_at = change_at
    log ChangeProposed(provider=provider, owner=owner, payee=payee, recovery=recovery, change_at=change_at)


@external
def cancel_change(provider: address, authority_: Bytes[1084]):
    """
    @notice Drops the change that waits.
    """
    self._only_owner_or_recovery(
        provider, authority._actor(authority_, abi_encode(CANCEL_CHANGE_TYPE, provider))
    )
    assert self._accounts[provider].change_hash != empty(bytes32), "ledger: no change waits"
    self._accounts[provider].change_hash = empty(bytes32)
    log ChangeCancelled(provider=provider)


@external
def apply_change(provider: address, owner: address, payee: address, recovery: address):
    """
    @notice Makes a change whose delay is over; anyone may call it.
    """
    assert self._accounts[provider].change_hash == keccak256(abi_encode(owner, payee, recovery)), "ledger: not the change that waits"
    assert block.timestamp >= self._accounts[provider].change_at, "ledger: change is too early"
    self._accounts[provider] = Account(
        owner=owner, payee=payee, recovery=recovery, change_hash=empty(bytes32), change_at=0
    )
    log ChangeApplied(provider=provider, owner=owner, payee=payee, recovery=recovery)


@view
@external
@reentrant
def account(provider: address) -> Account:
    """
    @notice Owner, payee, recovery account and waiting change of a provider.
    """
    stored: Account = self._accounts[provider]
    stored.owner = self._owner(provider)
    return stored


@view
@external
@reentrant
def owner_of(account_: address) -> address:
    """
    @notice Who acts for an account: itself, unless it changed its owner.
    """
    return self._owner(account_)


@view
@external
@reentrant
def payee_of(account_: address) -> address:
    """
    @notice Where the money of an account goes: the payee of its profile, else itself.
    """
    payee: address = self._accounts[account_].payee
    if payee == empty(address):
        return account_
    return payee


@view
@internal
def _owner(provider: address) -> address:
    owner: address = self._accounts[provider].owner
    if owner == empty(address):
        return provider
    return owner


@view
@internal
def _has_profile(provider: address) -> bool:
    return self._accounts[provider].payee != empty(address)


@view
@internal
def _only_owner(provider: address, actor: address):
    assert actor == self._owner(provider), "ledger: not the owner"


@view
@internal
def _only_owner_or_recovery(provider: address, actor: address):
    assert actor != empty(address) and (
        actor == self._owner(provider) or actor == self._accounts[provider].recovery
    ), "ledger: not owner or recovery account"
