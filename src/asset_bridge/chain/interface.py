"""The contracts' functions and events as we use them, in the notation of spec/contracts.md §5 and §6.

A test compares this table with the ABI of the compiled artefacts, so that neither can move alone. `*` marks indexed arguments.
"""

from __future__ import annotations

STRUCTS = {
    "Offer": "(uint256,address,bytes32,uint256,bytes32)",
    "OfferTerms": "(uint256,address,bytes32,uint256)",
    "Terms": "(bytes32,address,address,address,address,uint256,uint256,uint8,bytes32)",
    "KeyParts": "(bytes32,uint8,bytes32,address,bytes32)",
    "Epoch": "(bytes32,uint64,address,uint8,bytes32,bytes32,bytes32,uint64)",
}

_GOVERNED = """
propose_governor(address)
accept_governor()
list_exchange(address)
governor() -> address
pending_governor() -> address
development() -> bool
delay_seconds() -> uint256
exchange_active_at(address) -> uint256
"""
_SIGNED = """
nonce_used(address,uint256) -> bool
domain_separator() -> bytes32
"""

FUNCTIONS = {
    "NodeRegistry": _GOVERNED
    + _SIGNED
    + """
register(bytes32,uint8,Epoch,bytes) -> bytes32
renew(bytes32,Epoch,bytes)
refresh(bytes32)
add_stake(bytes32)
withdraw(bytes32)
collect(address)
hold(bytes32[],uint256,uint256)
hold_for(address,bytes32[],uint256,uint256)
slash(address,bytes32[],uint256,address)
list_vendor(uint8)
remove_vendor(uint8)
list_measurement(uint8,bytes32)
remove_measurement(uint8,bytes32)
remove_exchange(address)
node(bytes32) -> address,uint8,uint64,address,uint8,bytes32,uint64,uint64,uint256,bool,bool
is_live(bytes32) -> bool
operator_of(bytes32) -> address
signing_key(bytes32,uint64) -> address
vendor_active_at(uint8) -> uint256
measurement_active_at(uint8,bytes32) -> uint256
claimable(address) -> uint256
minimum_stake() -> uint256
""",
    "AssetLedger": _GOVERNED
    + _SIGNED
    + """
set_profile(address,bytes32,address,address,bytes)
propose_change(address,address,address,address,bytes)
cancel_change(address,bytes)
apply_change(address,address,address,address)
list_asset(address,bytes,bytes,bytes,bytes,bytes32,bytes32,uint64,bytes32,OfferTerms,bytes32,bytes,bytes) -> bytes32
list_with_body(address,bytes,bytes,bytes,bytes,bytes32,bytes32,uint64,bytes32,OfferTerms,bytes32,bytes,bytes,bytes) -> bytes32
set_offer(bytes32,address,Offer,Offer,bytes)
retire(bytes32,address,bytes32,bytes)
hold(bytes32,uint256)
quote(bytes32,address,bytes32,address) -> bool
list_token(address)
remove_token(address)
close_exchange(address)
asset(bytes32) -> bytes32,uint8,uint64
key_commitment(address,bytes32) -> bytes32
account(address) -> address,address,address,bytes32,uint256
owner_of(address) -> address
payee_of(address) -> address
token_active_at(address) -> uint256
exchange_closed(address) -> bool
minimum_periods() -> uint256
change_seconds() -> uint256
registry() -> address
""",
    "Exchange": _SIGNED
    + """
request(bytes32,address,Offer,address,uint8,bytes32,bytes32,bytes32,uint64,bytes32,bytes) -> bytes32
cancel(bytes32,Terms,bytes32,bytes32,bytes)
expire(bytes32)
pay(bytes32,Terms,bytes32,bytes,bytes,bytes,bytes)
record_delivery(bytes32,Terms,bytes32,bytes,bytes32,bytes,bytes,bytes,bytes,bytes32)
accept_receipts(bytes32,Terms,bytes32,bytes,bytes,bytes32,bytes,bytes,bytes,bytes,bytes32,bytes)
settle(bytes32,Terms,bytes32,bytes,bytes32,bytes,bytes32,bytes)
agree_refund(bytes32,Terms,bytes32,bytes32,bytes32,bytes,bytes)
refund(bytes32,Terms,bytes32,bytes32,bytes32,bool)
open_balance(address,bytes32)
claim(address,bytes32,bytes)
open_challenge(bytes32,Terms,bytes32,bytes32,bytes32) -> uint256
close_challenge(bytes32,Terms,bytes32,bytes32,bytes32,bool)
order(bytes32) -> bytes32,uint256
past(bytes32,bytes32) -> bool
balance_of(address,bytes32) -> uint256
ledger() -> address
registry() -> address
grants() -> address
challenges() -> address
development() -> bool
fees() -> uint256,uint256,uint256,uint256
margin_seconds() -> uint256
grace_seconds() -> uint256
""",
    "Grants": _SIGNED
    + """
approve(bytes32,Terms,KeyParts,uint8,bytes,bytes,bytes,bytes,bytes32,uint64,bytes)
deny(bytes32,Terms,bytes32,bytes32,uint64,bytes)
revoke(bytes32,Terms,bytes32,bytes32,bytes32,bytes)
reseal(bytes32,Terms,bytes32,bytes,bytes,uint8,bytes,bytes,bytes,bytes)
regenerate(bytes32,Terms,KeyParts,bytes32,bytes,uint8,bytes,bytes,bytes,bytes,bytes,bytes)
record_destroyed(bytes32,Terms,bytes32,bytes,bytes32,bytes32,uint8,bytes,uint8,bytes)
exchange() -> address
ledger() -> address
registry() -> address
""",
    "Challenges": _SIGNED
    + """
challenge(bytes32,Terms,bytes32,bytes,bytes32,bytes)
answer(bytes32,Terms,KeyParts,bytes,bytes,bytes32,bytes32,bytes,address)
close(bytes32,Terms,bytes32,bytes,bytes)
contradict(bytes32,Terms,KeyParts,bytes,bytes,bytes32,bytes32,bytes,bytes,bytes,bytes,address)
withdraw(address)
bond_of(uint8) -> uint256
challenge_of(bytes32) -> address,uint256,uint64,uint16,bool
withdrawable(address) -> uint256
exchange() -> address
registry() -> address
verifier() -> address
liveness_deposit() -> uint256
""",
    "ReencryptionVerifier": """
verify(bytes,bytes,address,bytes,bytes32,bytes,bytes,bytes) -> bool
""",
}

_GOVERNED_EVENTS = """
ExchangeListed(address *exchange, uint256 active_at)
GovernorProposed(address *governor)
GovernorChanged(address *governor)
NonceUsed(address *account, uint256 nonce)
"""

EVENTS = {
    "NodeRegistry": _GOVERNED_EVENTS
    + """
NodeRegistered(bytes32 *node_id, address *operator, uint8 *kind, bytes32 salt, uint256 stake)
EpochStarted(bytes32 *node_id, uint64 epoch, bytes32 endpoint, uint64 endpoint_length, address signing_key, uint8 vendor, \
bytes32 measurement, bytes32 platform, bytes32 evidence, uint64 expires_at)
Refreshed(bytes32 *node_id, uint64 epoch)
StakeAdded(bytes32 *node_id, uint256 amount)
NodeWithdrawn(bytes32 *node_id, uint256 amount)
Slashed(bytes32 *node_id, address *exchange, address *beneficiary, uint256 amount)
Collected(address *beneficiary, uint256 amount)
VendorListed(uint8 *vendor, uint256 active_at)
VendorRemoved(uint8 *vendor)
MeasurementListed(uint8 *vendor, bytes32 *measurement, uint256 active_at)
MeasurementRemoved(uint8 *vendor, bytes32 *measurement)
ExchangeRemoved(address *exchange)
""",
    "AssetLedger": _GOVERNED_EVENTS
    + """
ExchangeClosed(address *exchange)
ProfileSet(address *provider, bytes32 profile, address payee, address recovery)
ChangeProposed(address *provider, address owner, address payee, address recovery, uint256 change_at)
ChangeCancelled(address *provider)
ChangeApplied(address *provider, address owner, address payee, address recovery)
TokenListed(address *token, uint256 active_at)
TokenRemoved(address *token)
Listed(bytes32 *asset_id, address *provider, bytes header, bytes capsule, bytes package, bytes keys, bytes32 pq_commit, \
bytes32 body_digest, uint64 body_length, bytes32 description, Offer offer, bytes32 supersedes, bytes storage)
BodySaved(bytes32 *asset_id, bytes body)
OfferSet(bytes32 *asset_id, Offer offer)
Retired(bytes32 *asset_id)
""",
    "Exchange": """
Requested(bytes32 *order_id, address *provider, address *consumer, bytes32 asset_id, Offer offer, address fetch_signer, uint8 pk_b_sign, \
bytes32 pk_b_x, bytes32 hybrid_key, bytes32 form, uint64 form_length, bytes32 order_nonce)
Cancelled(bytes32 *order_id)
Expired(bytes32 *order_id)
Paid(bytes32 *order_id, address payer, uint16 accepted)
Delivered(bytes32 *order_id, uint32 generation, bytes32 recorder, bytes fetch, bytes receipts, bytes old_rows)
Settled(bytes32 *order_id, bool accepted)
Refunded(bytes32 *order_id, uint256 amount, bool agreed)
BalanceOpened(address *token, bytes32 *account)
Claimed(address *token, bytes32 *account, address payee, uint256 amount)
ChallengeOpened(bytes32 *order_id, uint256 answer_by)
ChallengeClosed(bytes32 *order_id, bool met)
NonceUsed(address *account, uint256 nonce)
""",
    "Grants": """
Approved(bytes32 *order_id, bytes table, bytes sealed_shares, bytes sealed_kpq, bytes32 reply, uint64 reply_length)
Denied(bytes32 *order_id, bytes32 reply, uint64 reply_length)
Revoked(bytes32 *order_id, uint8 state)
Resealed(bytes32 *order_id, uint8 slot, bytes row, bytes sealed_share, bytes accept)
Regenerated(bytes32 *order_id, bytes table, bytes sealed_shares, bytes accepts)
DestroyedRecorded(bytes32 *order_id, uint32 generation, uint8 slot, bytes32 *node_id, uint64 epoch, uint8 reason, bytes signature)
NonceUsed(address *account, uint256 nonce)
""",
    "Challenges": """
Challenged(bytes32 *order_id, uint256 bond, uint256 answer_by)
Answered(bytes32 *order_id, uint8 slot, address account, uint256 reward, bytes proof)
Failed(bytes32 *order_id)
Contradicted(bytes32 *order_id, bytes32 *node_id)
Withdrawn(address *account, uint256 amount)
NonceUsed(address *account, uint256 nonce)
""",
    "ReencryptionVerifier": "",
}
