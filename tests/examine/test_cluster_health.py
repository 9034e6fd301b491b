"""What is made of the way to a cluster."""

from __future__ import annotations

import statistics

from replicator.examine.cluster_health import nearness, way_findings
from replicator.examine.finding import Level


def test_given_a_long_way_then_what_workers_do_and_the_memory_for_it_are_told() -> None:
    far = {1: [0.2] * 9, 2: [0.19] * 8 + [0.5]}
    (way, memory) = way_findings("us", far, source=True, memory_bytes=64 << 20)
    assert (way.level, way.what) == (
        Level.OK,
        f"round trips: broker 1 200.0 ms, broker 2 {statistics.median(far[2]) * 1000:.1f} ms (the median of 9)",
    )
    assert memory.level is Level.WARNING
    assert "over 8 more connections a broker, 33 MB under way" in memory.what
    assert memory.next_step == "set `service.memory_bytes: 102MiB`"
    assert [f.level for f in way_findings("us", far, source=True, memory_bytes=256 << 20)] == [Level.OK, Level.OK]
    (bad,) = nearness("us", {1: [0.002]}, "eu", {1: [0.1]})
    assert bad.what == "the target, 100 ms away, is farther than the source, 2 ms"
    assert nearness("us", {1: [0.1]}, "eu", {1: [0.002]}) == []
