"""One market a test; making it takes a few hundredths of a second."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.tee.market import Market


@pytest.fixture
def market(tmp_path: Path) -> Market:
    return Market(tmp_path)
