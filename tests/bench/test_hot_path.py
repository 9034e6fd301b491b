"""The measure of the hot path copies what it is given; what it costs isn't tested."""

from __future__ import annotations

from bench.hot_path import measure


async def test_given_a_few_batches_when_measured_then_all_of_them_are_acknowledged() -> None:
    assert await measure(records=10, size=500, rounds=2, batches=12) > 0
