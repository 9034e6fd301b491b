"""Deadlines on a clock of the test's own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.clock import ManualClock
from broker.groups.timers import SLACK, Timers


def test_given_deadlines_when_time_passes_then_they_run_once_and_in_order() -> None:
    clock, ran = ManualClock(), []
    timers = Timers(clock)
    for name, delay in (("b", 20), ("a", 10), ("c", 30)):
        timers.schedule(name, delay, lambda name=name: ran.append(name))
    timers.schedule("a", 25, lambda: ran.append("a, later"))
    timers.cancel("c")
    clock.advance(0.02)
    assert timers.run_due() == 1
    clock.advance(1)
    assert timers.run_due() == 1
    assert ran == ["b", "a, later"]
    assert timers.next_deadline is None


def test_given_an_action_that_schedules_when_it_is_due_at_once_then_it_runs_in_the_same_round() -> None:
    timers, ran = Timers(ManualClock()), []
    timers.schedule("a", 0, lambda: timers.schedule("b", 0, lambda: ran.append("b")))
    assert timers.run_due() == 2
    assert ran == ["b"]


def test_given_a_key_that_is_always_renewed_when_it_never_runs_then_memory_stays_bounded() -> None:
    timers = Timers(ManualClock())
    for _ in range(10 * SLACK):
        timers.schedule("session", 1_000_000, lambda: None)
    assert len(timers._heap) <= SLACK + 3


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(-1, 50)), max_size=30))
def test_given_any_schedule_when_all_time_has_passed_then_each_key_ran_at_its_last_deadline(
    steps: list[tuple[str, int]],
) -> None:
    clock, ran = ManualClock(), []
    timers = Timers(clock)
    wanted: dict[str, int] = {}
    for key, delay in steps:
        if delay < 0:
            timers.cancel(key)
            wanted.pop(key, None)
        else:
            wanted[key] = delay
            timers.schedule(key, delay, lambda key=key: ran.append(key))
    clock.advance(1)
    timers.run_due()
    assert sorted(ran) == sorted(wanted)
    assert [wanted[key] for key in ran] == sorted(wanted.values())
