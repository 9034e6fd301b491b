"""When a link drills by itself."""

from __future__ import annotations

import asyncio
import threading

import pytest

from replicator.config.models import ClusterConfig, DrillConfig, LinkConfig, Settings
from replicator.ledger.drills import DrillRecords, DrillResult, encode_result, encode_running
from replicator.worker.drills import Drills, in_thread

HOUR_MS = 3_600_000


class Clock:
    def __init__(self) -> None:
        self.now_ms = 10 * HOUR_MS
        self.controls = True

    def drills(self, every: str | None) -> Drills:
        link = LinkConfig(name="l", source="a", target="b", drill=DrillConfig(every=every))
        at = {name: ClusterConfig(bootstrap_servers=f"{name}:1") for name in "ab"}
        return Drills(Settings(clusters=at, links=(link,)), link, lambda: self.controls, lambda: self.now_ms)


def result(at_ms: int, *, ok: bool = True) -> DrillResult:
    return DrillResult(at_ms, "promote", "me", ok, 5, 7, 0, 0, "" if ok else "reverse", "", (("promote", 3),))


@pytest.mark.parametrize(
    ("ok", "before_ms", "after_ms"), [(True, 2 * HOUR_MS - 1, 2 * HOUR_MS), (False, HOUR_MS - 1, HOUR_MS)]
)
def test_given_a_last_drill_then_the_next_one_is_due_when_that_is_long_enough_ago(
    ok: bool, before_ms: int, after_ms: int
) -> None:
    clock = Clock()
    drills = clock.drills("2h")
    assert not drills.due()
    drills.hear(encode_result(result(clock.now_ms, ok=ok), DrillRecords()))
    began_ms = clock.now_ms
    clock.now_ms = began_ms + before_ms
    assert not drills.due()
    clock.now_ms = began_ms + after_ms
    assert drills.due()
    drills.hear([encode_running("somebody", clock.now_ms)])
    assert not drills.due()
    clock.now_ms += HOUR_MS
    assert drills.due()
    clock.controls = False
    assert not drills.due()


def test_given_no_schedule_then_none_is_ever_due() -> None:
    clock = Clock()
    drills = clock.drills(None)
    drills.hear([])
    clock.now_ms += 1000 * HOUR_MS
    assert not drills.due()


def test_given_many_drills_then_the_last_ones_are_kept_and_counted() -> None:
    clock = Clock()
    drills, known = clock.drills("1d"), DrillRecords()
    for number in range(30):
        for pair in encode_result(result(number + 1, ok=number != 29), known):
            known.take(*pair)
            drills.hear([pair])
    assert len(known.results) == 20
    assert known.last == result(30, ok=False)
    assert known.last_good_ms == 29
    counters = drills.counters
    assert counters is not None
    assert (counters.ok, counters.last_good_s, counters.rto_s) == (False, 0.029, 0.007)


def test_given_work_in_a_thread_then_its_result_or_its_error_comes_back() -> None:
    async def play() -> None:
        assert await in_thread(lambda: threading.current_thread().daemon)
        with pytest.raises(ZeroDivisionError):
            await in_thread(lambda: 1 / 0)

    asyncio.run(play())
