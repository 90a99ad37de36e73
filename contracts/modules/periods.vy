# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Packed periods
@license Apache-2.0
@notice Six periods of an order in one word: approve, pay, deliver, window, answer, access, 32 bits each, in seconds.
@custom:spec spec/contracts.md, sections 3 and 8
"""

# 10 years: longer is taken as a mistake in units.
MAX_PERIOD_SECONDS: constant(uint256) = 315_360_000
DAY_SECONDS: constant(uint256) = 86_400
WEEK_SECONDS: constant(uint256) = 604_800
APPROVE: constant(uint256) = 160
PAY: constant(uint256) = 128
DELIVER: constant(uint256) = 96
WINDOW: constant(uint256) = 64
ANSWER: constant(uint256) = 32
ACCESS: constant(uint256) = 0


@pure
@internal
def _seconds(packed: uint256, offset: uint256) -> uint256:
    return packed >> offset & (2**32 - 1)


@pure
@internal
def _check(packed: uint256, minimum: uint256):
    """
    @notice Reverts unless each period is at least its minimum and at most 10 years.
    """
    assert packed >> 192 == 0, "ledger: malformed periods"
    for i: uint256 in range(6):
        period: uint256 = packed >> (32 * i) & (2**32 - 1)
        assert period >= minimum >> (32 * i) & (2**32 - 1), "ledger: period is too short"
        assert period <= MAX_PERIOD_SECONDS, "ledger: period is too long"


@pure
@internal
def _check_minimum(minimum: uint256):
    """
    @notice Reverts unless each minimum is at least a day.
    """
    for i: uint256 in range(6):
        assert minimum >> (32 * i) & (2**32 - 1) >= DAY_SECONDS, "ledger: minimum period is too short"


@pure
@internal
def _busy_until(deadline: uint256, paid: bool, packed: uint256, grace_seconds: uint256, development: bool) -> uint256:
    """
    @notice The latest end of all windows that an order can still have after `deadline`.
    @param paid Whether delivery is still owed, so that its grace and windows are to come.
    """
    until: uint256 = deadline + self._seconds(packed, ANSWER)
    if paid:
        until += grace_seconds + self._seconds(packed, WINDOW)
    if development:
        return until
    # Whole weeks: a busy node's word then changes once a week, not with every order.
    return (until + WEEK_SECONDS - 1) // WEEK_SECONDS * WEEK_SECONDS
