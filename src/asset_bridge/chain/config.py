"""What a deployment fixes for ever: fees, periods, governor, first lists. Source: spec/contracts.md §5 (constructors), §8."""

from __future__ import annotations

from dataclasses import dataclass

from asset_bridge.chain.records import Periods, Vendor

DAY = 86_400
DEFAULT_PERIODS = Periods(30 * DAY, 14 * DAY, 3 * DAY, 3 * DAY, 2 * DAY, 365 * DAY)
MINIMUM_PERIODS = Periods(DAY, DAY, DAY, DAY, DAY, DAY)
DEVELOPMENT_PERIODS = Periods(60, 60, 60, 1, 1, 60)


@dataclass(frozen=True, slots=True)
class DeployConfig:
    """The constructors' arguments. The defaults are those of a development deployment; `production` gives the others."""

    governor: str
    development: bool = True
    minimum_stake_wei: int = 10**17
    delay_seconds: int = 0
    change_seconds: int = 7 * DAY
    minimum_periods: Periods = DEVELOPMENT_PERIODS
    margin_seconds: int = 10
    grace_seconds: int = 30
    fee_tee: int = 300
    fee_recorder: int = 50
    fee_light: int = 50
    fee_storage: int = 100
    liveness_deposit_wei: int = 10**16
    vendors: tuple[int, ...] = (int(Vendor.SIMULATED),)
    measurements: tuple[tuple[int, bytes], ...] = ()
    tokens: tuple[str, ...] = ()

    @classmethod
    def production(
        cls,
        governor: str,
        *,
        vendors: tuple[int, ...] = (1, 2, 3),
        measurements: tuple[tuple[int, bytes], ...] = (),
        tokens: tuple[str, ...] = (),
    ) -> DeployConfig:
        """The periods and delays of protocol §8; no simulated evidence."""
        return cls(
            governor,
            development=False,
            delay_seconds=7 * DAY,
            minimum_periods=MINIMUM_PERIODS,
            margin_seconds=3_600,
            grace_seconds=DAY,
            vendors=vendors,
            measurements=measurements,
            tokens=tokens,
        )
