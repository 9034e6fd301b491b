"""What workers may use of a link's bandwidth adds up to all of it, wherever its partitions are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.worker.portion import LOOK_S, portion_of


class Link:
    """So many partitions in each lane."""

    def __init__(self, partitions: list[int]) -> None:
        self.partitions = partitions

    @property
    def found(self) -> int:
        return sum(self.partitions)

    def keys_of(self, lane: int) -> range:
        return range(self.partitions[lane])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), min_size=1, max_size=16))
def test_given_lanes_dealt_in_any_way_then_all_of_it_is_somebodys_and_nothing_twice(
    dealt: list[tuple[int, int]],
) -> None:
    link = Link([partitions for partitions, _ in dealt])
    lanes = [{number: number for number, (_, owner) in enumerate(dealt) if owner == worker} for worker in range(3)]
    portions = [portion_of(link, owned, len(dealt))() for owned in lanes]
    assert sum(portions) == pytest.approx(1)
    for owned, portion in zip(lanes, portions, strict=True):
        if link.found:
            assert portion == pytest.approx(sum(link.partitions[lane] for lane in owned) / link.found)


def test_given_one_partition_then_its_worker_has_all_and_the_other_nothing() -> None:
    link = Link([0, 1, 0, 0])
    assert portion_of(link, {1: 1}, 4)() == 1
    assert portion_of(link, {0: 0, 2: 2, 3: 3}, 4)() == 0


def test_given_lanes_and_partitions_that_change_then_it_follows() -> None:
    link, lanes, now = Link([1, 1]), {0: 0}, [0.0]
    portion = portion_of(link, lanes, 2, lambda: now[0])
    assert portion() == 0.5
    lanes.clear()
    assert portion() == 0, "a lane that goes takes its part along at once"
    lanes[0] = 0
    link.partitions = [3, 1]
    assert portion() == 0.75
    link.partitions = [4, 0]
    assert portion() == 0.75
    now[0] = LOOK_S
    assert portion() == 1
