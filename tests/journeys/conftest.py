"""One paid and one approved deal for a whole module of tests, and fresh ones where a test moves the chain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.support import deal as deals
from tests.journeys.support.deal import Deal


@pytest.fixture(scope="module")
def shared_paid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deal]:
    deal = deals.paid(tmp_path_factory.mktemp("paid"))
    yield deal
    deal.market.close()


@pytest.fixture(scope="module")
def shared_approved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deal]:
    deal = deals.approved(tmp_path_factory.mktemp("approved"))
    yield deal
    deal.market.close()


@pytest.fixture
def paid_deal(shared_paid: Deal) -> Iterator[Deal]:
    """A paid order that nobody fetched yet. Tests must not move the chain."""
    shared_paid.reset()
    yield shared_paid
    shared_paid.reset()


@pytest.fixture
def approved_deal(shared_approved: Deal) -> Iterator[Deal]:
    """An approved order, not paid. Tests must not move the chain."""
    shared_approved.reset()
    yield shared_approved
    shared_approved.reset()


@pytest.fixture
def own_listed(tmp_path: Path) -> Iterator[Deal]:
    """A listed asset of the test's own."""
    deal = deals.listed(tmp_path)
    yield deal
    deal.market.close()


@pytest.fixture
def own_paid(tmp_path: Path) -> Iterator[Deal]:
    """A paid order of the test's own."""
    deal = deals.paid(tmp_path)
    yield deal
    deal.market.close()
