"""What is sure of a clock."""

from __future__ import annotations

import pytest

from replicator.dr.clocks import Skew


@pytest.mark.parametrize(("least", "most", "surely"), [(-2400, 100, 0), (500, 3000, 500), (-2600, -100, -100)])
def test_given_bounds_of_a_clock_then_only_what_is_sure_is_told(least: int, most: int, surely: int) -> None:
    assert Skew(least, most, 0).surely_ms == surely
