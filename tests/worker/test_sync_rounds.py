from __future__ import annotations

from typing import Any, cast

import pytest

from replicator.errors import UnreachableError
from replicator.ledger.sync_report import SyncReport, take_report
from replicator.sync.plan import Change, Held, Kind, SyncPlan, Why
from replicator.worker.sync_rounds import SyncRounds

CHANGE = Change(Kind.CONFIG, "us.orders", "retention.ms", None, "5")
HELD = Held(Kind.CONFIG, "us.orders", Why.UNSUPPORTED, "vendor.x")


class Topic:
    """The control topic, as its readers see it."""

    def __init__(self) -> None:
        self.reports: dict[str, SyncReport] = {}
        self.writes = 0

    async def write(self, pairs: list[tuple[bytes, bytes | None]]) -> None:
        self.writes += 1
        for key, value in pairs:
            take_report(self.reports, key, value)


class Scripted:
    def __init__(self, plan: SyncPlan, refused: tuple[Held, ...] = ()) -> None:
        self.found: SyncPlan | Exception = plan
        self.refused = refused
        self.applied: list[SyncPlan] = []

    async def plan(self) -> SyncPlan:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    async def apply(self, plan: SyncPlan) -> tuple[Held, ...]:
        if plan.changes:
            self.applied.append(plan)
        return self.refused if plan.changes else ()


def rig() -> tuple[Topic, SyncRounds]:
    topic = Topic()
    return topic, SyncRounds("l", cast(Any, topic), lambda: 1_000)


async def test_given_changes_when_run_then_they_are_applied_and_what_is_held_is_said_once() -> None:
    topic, rounds = rig()
    refused = Held(Kind.CONFIG, "us.orders", Why.REFUSED, "retention.ms: no")
    syncer = Scripted(SyncPlan((CHANGE,), (HELD,)), (refused,))
    await rounds.run("configs", syncer)
    await rounds.run("configs", syncer)
    assert len(syncer.applied) == 2
    assert topic.writes == 1
    assert [(h.why, h.detail) for h in topic.reports["configs"].held] == [
        ("UNSUPPORTED", "vendor.x"),
        ("REFUSED", "retention.ms: no"),
    ]
    counters = rounds.counters["configs"]
    assert (counters.rounds, counters.failures, counters.changes, counters.last_success_s) == (2, 0, 2, 1.0)
    assert counters.held == {"UNSUPPORTED": 1, "REFUSED": 1}
    syncer.found = SyncPlan()
    await rounds.run("configs", syncer)
    assert len(syncer.applied) == 2
    assert topic.reports["configs"].count == 0
    assert (counters.rounds, counters.held) == (3, {})


async def test_given_a_cluster_that_is_away_when_run_then_it_is_said_and_raised_and_what_was_held_stays() -> None:
    topic, rounds = rig()
    syncer = Scripted(SyncPlan((), (HELD,)))
    await rounds.run("configs", syncer)
    syncer.found = UnreachableError("us is away")
    for _ in range(2):
        with pytest.raises(UnreachableError):
            await rounds.run("configs", syncer)
    assert (topic.reports["configs"].error, topic.reports["configs"].count) == ("us is away", 1)
    assert topic.writes == 2
    counters = rounds.counters["configs"]
    assert (counters.rounds, counters.failures, counters.held) == (1, 2, {"UNSUPPORTED": 1})
    syncer.found = SyncPlan()
    await rounds.run("configs", syncer)
    assert (topic.reports["configs"].error, topic.reports["configs"].count) == ("", 0)


async def test_given_thousands_held_when_reported_then_the_record_stays_small_and_the_count_true() -> None:
    topic, rounds = rig()
    held = tuple(Held(Kind.CONFIG, f"t{n}", Why.REFUSED, "x" * 5_000) for n in range(5_000))
    await rounds.run("configs", Scripted(SyncPlan((), held)))
    report = topic.reports["configs"]
    assert (report.count, len(report.held)) == (5_000, 500)


def test_given_records_of_other_kinds_or_versions_when_taken_then_nothing_breaks() -> None:
    reports: dict[str, SyncReport] = {}
    take_report(reports, None, b"{}")
    take_report(reports, b"lane/3", b"{}")
    assert reports == {}
    take_report(reports, b"sync/acls", b"\xff")
    assert "isn't known" in reports["acls"].error
    take_report(reports, b"sync/acls", None)
    assert reports == {}
