"""The simulation of a wide link: that it runs, and that what it found to be dear stays cheap."""

from __future__ import annotations

from bench import scale_parts as parts
from bench.scale_world import Size, run


def test_given_a_link_of_two_hundred_partitions_then_a_dead_workers_are_taken_over_and_idling_asks_little() -> None:
    outcome = run(Size(topics=10, partitions=20, workers=4, lanes=8), idle_s=20)
    assert outcome.troubles == []
    assert outcome.found_records == 10 * outcome.partitions
    assert outcome.first_start is not None
    assert outcome.idle is not None
    assert outcome.takeover is not None
    assert outcome.takeover.virtual_s < 2
    assert set(outcome.idle.requests) == {"Metadata", "Fetch", "ListOffsets"}
    assert outcome.idle.requests["Metadata"] <= 10  # both clusters, every five seconds
    found = parts.controller_round(10, 20, outcome.ledger)
    assert found.plan_s < 1


def test_given_commits_then_the_offset_map_takes_a_few_bytes_for_each() -> None:
    assert 1000 < parts.map_bytes(1000) < 20_000
