# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Governed lists
@license Apache-2.0
@notice A governor who hands over in two steps, the development flag, the delay of additions and the list of Exchanges.
        The governor cannot touch money, orders or assets.
@custom:spec spec/contracts.md, sections 5 and 8
@custom:stop The governor takes an Exchange from the list; what orders it has can still end.
"""

event GovernorProposed:
    governor: indexed(address)


event GovernorChanged:
    governor: indexed(address)


event ExchangeListed:
    exchange: indexed(address)
    active_at: uint256


# 7 days: whoever relies on a list has a week to see an addition coming.
MIN_DELAY_SECONDS: constant(uint256) = 604_800
LOW_40: constant(uint256) = 2**40 - 1
CLOSED: constant(uint256) = 1 << 40

development: public(immutable(bool))
delay_seconds: public(immutable(uint256))

governor: public(address)
pending_governor: public(address)
# active_at(40); above it bit 40: closed to new requests (AssetLedger only).
_exchanges: HashMap[address, uint256]
_has_exchange: bool


@deploy
def __init__(first_governor: address, is_development: bool, addition_delay_seconds: uint256):
    assert first_governor != empty(address), "governor: zero address"
    assert not is_development or chain.id == 31337 or chain.id == 1337, "governor: not a development chain"
    assert is_development or addition_delay_seconds >= MIN_DELAY_SECONDS, "governor: delay is too short"
    development = is_development
    delay_seconds = addition_delay_seconds
    self.governor = first_governor
    log GovernorChanged(governor=first_governor)


@external
def propose_governor(next_governor: address):
    """
    @notice Names the account that may take over; zero withdraws the proposal.
    """
    self._only_governor()
    self.pending_governor = next_governor
    log GovernorProposed(governor=next_governor)


@external
def accept_governor():
    """
    @notice The proposed account takes over.
    """
    assert msg.sender == self.pending_governor, "governor: not proposed"
    self.pending_governor = empty(address)
    self.governor = msg.sender
    log GovernorChanged(governor=msg.sender)


@external
def list_exchange(exchange: address):
    """
    @notice Adds an Exchange; the first without delay.
    """
    self._only_governor()
    assert exchange != empty(address), "governor: zero address"
    assert self._exchanges[exchange] == 0, "governor: already listed"
    active_at: uint256 = block.timestamp
    if self._has_exchange:
        active_at = self._active_at()
    self._has_exchange = True
    self._exchanges[exchange] = active_at
    log ExchangeListed(exchange=exchange, active_at=active_at)


@view
@external
@reentrant
def exchange_active_at(exchange: address) -> uint256:
    """
    @notice From when on an Exchange counts, zero when it is not listed.
    """
    return self._exchanges[exchange] & LOW_40


@view
@internal
def _only_governor():
    assert msg.sender == self.governor, "governor: not the governor"


@view
@internal
def _active_at() -> uint256:
    if development:
        return block.timestamp
    return block.timestamp + delay_seconds


@view
@internal
def _is_active(active_at: uint256) -> bool:
    return active_at != 0 and active_at <= block.timestamp


@view
@internal
def _check_exchange(exchange: address) -> uint256:
    """
    @notice The word of an Exchange; reverts unless it is listed and its delay is over.
    """
    word: uint256 = self._exchanges[exchange]
    assert self._is_active(word & LOW_40), "governor: not a listed exchange"
    return word
