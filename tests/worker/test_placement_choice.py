"""Which hot partition goes to which lane, and when nobody should move."""

from __future__ import annotations

from dataclasses import dataclass, field

from replicator.ledger.lane_load import LaneLoad, take_load
from replicator.worker.placement_choice import SETTLE_MS, SUSTAINED_MS, Choice, Chooser
from replicator.worker.placement_load import LoadReport

MB = 1_000_000
STEP_MS = 30_000


def load(lane: int, worker: str, rate: int, *hot: tuple[str, int, int], at_ms: int = 0) -> LaneLoad:
    return LaneLoad(lane, worker, at_ms, rate, hot)


def choose_after(minutes: float, *loads: LaneLoad, chooser: Chooser | None = None, start_ms: int = 0) -> Choice | None:
    """What is chosen first, when lanes go on as they are."""
    chooser = chooser or Chooser()
    for now in range(start_ms, start_ms + int(minutes * 60_000), STEP_MS):
        fresh = {one.lane: LaneLoad(one.lane, one.worker, now, one.bytes_per_s, one.hot) for one in loads}
        if (choice := chooser.choose(fresh, 0, now)) is not None:
            return choice
    return None


HOT = load(0, "a", 80 * MB, ("t", 1, 50 * MB), ("t", 2, 30 * MB))


def test_given_one_worker_with_nearly_all_of_it_for_minutes_then_a_partition_goes_to_the_idlest_lane() -> None:
    choice = choose_after(10, HOT, load(1, "b", 5 * MB), load(2, "b", 0), load(3, "c", 20 * MB))
    assert choice is not None
    assert (choice.key, choice.lane) == (("t", 2), 2)  # 80 and 5: half of the difference is 37.5, 30 is nearest
    assert "80.0 MB/s" in choice.why


def test_given_it_lasts_for_a_minute_only_then_nothing_moves() -> None:
    assert choose_after((SUSTAINED_MS - STEP_MS) / 60_000, HOT, load(1, "b", 0)) is None


def test_given_loads_that_differ_little_or_are_small_then_nothing_moves() -> None:
    assert choose_after(10, load(0, "a", 60 * MB, ("t", 1, 50 * MB)), load(1, "b", 50 * MB)) is None
    assert choose_after(10, load(0, "a", 3 * MB, ("t", 1, 2 * MB)), load(1, "b", 0)) is None
    assert choose_after(10, HOT) is None


def test_given_a_single_partition_that_is_all_of_the_load_then_moving_it_would_change_nothing() -> None:
    assert choose_after(10, load(0, "a", 80 * MB, ("t", 1, 80 * MB)), load(1, "b", 0)) is None


def test_given_a_busy_lane_that_says_nothing_any_more_then_it_counts_for_nothing() -> None:
    chooser = Chooser()
    for now in range(0, 10 * 60_000, STEP_MS):
        assert chooser.choose({0: HOT, 1: load(1, "b", 0)}, 0, now + 100_000) is None


def test_given_a_move_then_the_next_one_waits_and_the_partition_rests() -> None:
    chooser = Chooser()
    loads = HOT, load(1, "b", 0)
    first = choose_after(10, *loads, chooser=chooser)
    assert first is not None
    began = 10 * 60_000
    second = choose_after(10, *loads, chooser=chooser, start_ms=began)
    assert second is not None
    assert second.key != first.key
    assert choose_after(SETTLE_MS / 60_000, *loads, chooser=chooser, start_ms=began + STEP_MS) is None


def test_given_too_many_that_are_placed_already_then_nothing_moves() -> None:
    chooser = Chooser()
    for now in range(0, 10 * 60_000, STEP_MS):
        loads = {0: LaneLoad(0, "a", now, HOT.bytes_per_s, HOT.hot), 1: load(1, "b", 0)}
        assert chooser.choose(loads, 500, now) is None


@dataclass
class FakeLane:
    number: int
    flows: dict[tuple[str, int], object] = field(default_factory=dict)
    running: bool = True


def test_given_busy_and_idle_lanes_then_busy_ones_are_reported_each_time_and_idle_ones_once() -> None:
    now, copied = 0, {("t", 0): 0, ("t", 1): 0, ("u", 0): 0}
    lanes = [FakeLane(0, {("t", 0): 1, ("t", 1): 1}), FakeLane(1, {("u", 0): 1}), FakeLane(2, running=False)]
    report = LoadReport(lambda: lanes, lambda key: copied[key], lambda: now)

    def due() -> dict[int, LaneLoad]:
        loads: dict[int, LaneLoad] = {}
        for key, value in report.due():
            take_load(loads, key, value)
        return loads

    now = 10_000
    assert {lane: one.bytes_per_s for lane, one in due().items()} == {0: 0, 1: 0}
    now, copied = 20_000, {("t", 0): 20 * MB, ("t", 1): 500_000, ("u", 0): 100}
    said = due()
    assert said == {0: LaneLoad(0, report.worker, now, 2_050_000, (("t", 0, 2_000_000),))}
    now, copied["t", 0] = 30_000, 10 * MB  # another run, which counts from 0
    assert due()[0].bytes_per_s == 1_000_000
    now = 40_000
    assert due()[0].bytes_per_s == 0
    now = 50_000
    assert due() == {}
