"""Meters: a count, and a rate that follows it as Kafka's does."""

from __future__ import annotations

import pytest

from broker.metrics.counts import Meter, NodeCounts, Rates


def test_given_a_steady_flow_then_the_rate_is_its_rate_from_the_first_tick() -> None:
    meter = Meter()
    for _ in range(10):
        meter.count += 500
        meter.tick(5.0)
        assert meter.rate == 100
    assert meter.count == 5000


def test_given_a_flow_that_ends_then_the_rate_falls_by_the_minute() -> None:
    meter = Meter()
    meter.count = 500
    meter.tick(5.0)
    for _ in range(12):
        meter.tick(5.0)
    assert meter.rate == pytest.approx(100 / 2.718281828, rel=1e-6)


def test_given_requests_then_their_mean_time_and_size_are_of_the_last_minute() -> None:
    counts, rates = NodeCounts(), Rates(0.0)
    counts.served("Produce", 100, 0.010)
    counts.served("Produce", 300, 0.030)
    rates.tick(1.0, [counts], iter(()))
    assert counts.apis["Produce"].mean_ms == 0  # five seconds haven't passed
    rates.tick(5.0, [counts], iter(()))
    assert counts.apis["Produce"].mean_ms == pytest.approx(20)
    assert counts.apis["Produce"].mean_bytes == pytest.approx(200)


def test_given_a_topic_that_is_gone_then_its_counts_go_too() -> None:
    counts, rates = NodeCounts(), Rates(0.0)
    counts.topic("a").bytes_in.count += 5
    counts.topic("b")
    rates.tick(5.0, [counts], iter(["a"]))
    assert list(counts.topics) == ["a"]
    assert counts.topics["a"].bytes_in.rate == 1
