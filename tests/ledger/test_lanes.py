from __future__ import annotations

from collections import Counter

import pytest

from replicator.ledger.lanes import control_topic, group_id, lane_of, ledger_topic, map_topic, murmur2


@pytest.mark.parametrize(
    ("data", "expected"),
    [  # org.apache.kafka.common.utils.UtilsTest#testMurmur2
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_given_kafkas_vectors_when_hashed_then_murmur2_is_kafkas(data: bytes, expected: int) -> None:
    assert murmur2(data) == expected & 0xFFFFFFFF


def test_given_many_partitions_when_dealt_to_lanes_then_every_lane_gets_its_share() -> None:
    counts = Counter(lane_of(f"topic-{t}", p, 32) for t in range(50) for p in range(64))
    assert set(counts) == set(range(32))
    assert max(counts.values()) < 2 * min(counts.values())


def test_given_a_partition_when_its_lane_is_asked_for_then_it_never_changes() -> None:
    assert [lane_of("orders", p, 32) for p in range(6)] == [25, 28, 26, 2, 18, 30]
    assert [lane_of("orders", p, 1) for p in range(6)] == [0] * 6


def test_given_a_link_when_its_internal_names_are_asked_for_then_they_are_the_fixed_ones() -> None:
    assert ledger_topic("a-to-b") == "__replicator_a-to-b_ledger"
    assert map_topic("a-to-b") == "__replicator_a-to-b_map"
    assert control_topic("a-to-b") == "__replicator_a-to-b_control"
    assert group_id("a-to-b") == "replicator.a-to-b"
