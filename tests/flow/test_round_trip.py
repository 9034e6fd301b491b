"""How far a broker is taken to be, and what follows for reading from it."""

from __future__ import annotations

import pytest

from replicator.flow.round_trip import MOST_LOOPS, NEAR, NEAR_S, RoundTrip

LIMIT = 128 << 20


def measured(*seconds: float) -> RoundTrip:
    trip = RoundTrip()
    for each in seconds:
        trip.measured(each)
    return trip


def test_given_few_measurements_then_nothing_is_taken_for_far() -> None:
    assert measured(0.2, 0.2, 0.2).reach(LIMIT) == NEAR


def test_given_one_quick_answer_among_slow_ones_then_the_broker_is_near() -> None:
    assert measured(0.2, 0.3, 0.001, 0.5, 0.2, 0.4).reach(LIMIT) == NEAR


def test_given_a_way_that_became_long_then_old_measurements_are_forgotten() -> None:
    assert measured(0.001, *[0.1] * 20).reach(LIMIT).loops > 1


@pytest.mark.parametrize("seconds", [NEAR_S, 0.05, 0.1, 0.3, 5.0])
def test_given_a_far_broker_then_loops_and_bytes_grow_with_the_distance_up_to_their_bounds(seconds: float) -> None:
    reach, farther = (measured(*[s] * 6).reach(LIMIT) for s in (seconds, seconds * 1.5))
    assert 2 <= reach.loops <= farther.loops <= MOST_LOOPS
    assert 4 << 20 <= reach.bytes <= farther.bytes <= LIMIT


def test_given_100_ms_then_50_mb_a_second_have_room_on_the_way() -> None:
    assert measured(*[0.1] * 6).reach(LIMIT).bytes / 0.1 > 4 * 50e6


def test_given_measurements_then_the_next_ones_are_due_at_once_until_there_are_enough_and_then_now_and_then() -> None:
    trip = RoundTrip()
    due = []
    for turn in range(100):
        due.append(trip.due(turn * 0.1))
        if due[-1]:
            trip.measured(0.1)
    assert all(due[:5])
    assert 1 <= sum(due[5:]) <= 3
