"""LaneTransaction with a producer that answers as told: admissions, commits, and what ends a run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from replicator.errors import ReplicatorError
from replicator.flow import transaction as module
from replicator.flow.partition import PartitionFlow
from replicator.flow.transaction import LaneTransaction
from replicator.states import Reason, State
from replicator.telemetry.counters import LATENCY_BOUNDS_S, Histogram
from tests.flow import logs
from tests.flow.test_partition import World
from tests.support.eventually import until

LEDGER = ("__replicator_l_ledger", 3)


class Producer:
    """What the coordinator says: which partitions can't be added, and what has been ended."""

    transactional_id = "replicator.l.3"

    def __init__(self) -> None:
        self.refused: dict[tuple[str, int], int] = {}
        self.added: list[tuple[str, int]] = []
        self.ended = 0

    async def add_partitions(self, topics: dict[str, list[int]]) -> dict[tuple[str, int], int]:
        places = [(topic, index) for topic, indexes in topics.items() for index in indexes]
        refused = {place: code for place, code in self.refused.items() if place in places}
        if not refused:
            self.added += places
        return refused

    async def end(self, *, commit: bool) -> None:
        assert commit
        self.ended += 1
        self.added.clear()


class LaneState:
    """The lane's own records."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.commits = 0
        self.dirty = True
        self.changes_meanwhile = False

    def places(self) -> list[tuple[str, int]]:
        return [LEDGER] if self.dirty else []

    async def write(self, pairs: Sequence[Any]) -> None:
        if self.error is not None:
            raise self.error
        self.dirty, self.changes_meanwhile = self.changes_meanwhile, False

    def committed(self) -> None:
        self.commits += 1


class Lane(World):
    """One partition in a lane's transactions."""

    def __init__(self) -> None:
        self.producer, self.state = Producer(), LaneState()
        self.leaderless = False
        self.now_ms = logs.NOW
        flows: dict[tuple[str, int], PartitionFlow] = {}
        self.transaction = LaneTransaction(
            self.producer,  # type: ignore[arg-type]
            LEDGER,
            flows=flows,
            state=self.state,
            offer=lambda flow: None,
            find_leader=lambda flow: None,
            has_leader=lambda flow: not self.leaderless,
            latency=Histogram(LATENCY_BOUNDS_S),
            now_ms=lambda: self.now_ms,
        )
        super().__init__(gate=self.transaction)
        flows[self.flow.key] = self.flow
        self.place = (self.flow.target_topic, self.flow.partition)


@pytest.fixture
async def lane(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lane]:
    monkeypatch.setattr(module, "COMMIT_AFTER_S", 0.01)
    monkeypatch.setattr(module, "HEAL_AFTER_S", 0.02)
    lane = Lane()
    yield lane
    await lane.transaction.close()
    lane.flow.close()
    assert lane.budget.in_use == 0


async def test_invariant_a_nothing_is_sent_before_its_partition_is_in_the_open_transaction(lane: Lane) -> None:
    lane.take()
    assert not lane.flow.sendable
    await until(lambda: lane.flow.sendable, "the admission")
    assert lane.place in lane.producer.added
    (batch,) = lane.send()
    assert batch.data[22] & 0x10
    lane.flow.acknowledged(batch, 0)
    await until(lambda: lane.producer.ended == 1, "the commit")
    assert not lane.flow.sendable
    await until(lambda: lane.flow.target_next == 4, "counting the marker")


async def test_given_an_entry_that_changes_during_a_commit_then_another_commit_follows_by_itself(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOUCH_AFTER_S", 0.01)
    lane.state.changes_meanwhile = True
    lane.transaction.touch()
    await until(lambda: lane.producer.ended == 2, "the commit of what changed during the first one")
    assert lane.state.commits == 2
    assert not lane.state.dirty


async def test_given_a_partition_without_a_leader_then_it_is_kept_out_of_the_transaction_until_it_asks_again(
    lane: Lane,
) -> None:
    lane.leaderless = True
    lane.take()
    lane.transaction.touch()
    await lane.transaction.commit_with([])
    assert lane.place not in lane.producer.added
    assert lane.producer.ended == 1
    lane.leaderless = False
    lane.flow.offer()
    await until(lambda: lane.flow.sendable, "the admission")


@pytest.mark.parametrize("code", [13, 6, 56], ids=["connection lost", "leads no more", "log directory lost"])
async def test_invariant_b_nothing_is_committed_while_it_is_not_known_what_is_in_the_log(lane: Lane, code: int) -> None:
    lane.take()
    await until(lambda: lane.flow.sendable, "the admission")
    (batch,) = lane.send()
    await asyncio.sleep(0.05)
    assert lane.producer.ended == 0
    lane.flow.failed(batch, code, "it may have been written")
    await asyncio.sleep(0.02)
    assert lane.producer.ended == 0
    await until(lambda: lane.flow.sendable, "the retry")
    (again,) = lane.send()
    lane.flow.acknowledged(again, 0)
    await until(lambda: lane.state.commits == 1, "the commit")


async def test_invariant_c_what_is_tried_again_while_the_commit_is_under_way_waits_for_the_next_transaction(
    lane: Lane,
) -> None:
    under_way, go_on = asyncio.Event(), asyncio.Event()
    end = lane.producer.end

    async def slow(*, commit: bool) -> None:
        under_way.set()
        await go_on.wait()
        await end(commit=commit)

    lane.producer.end = slow  # type: ignore[method-assign]
    lane.take()
    await until(lambda: lane.flow.sendable, "the admission")
    (batch,) = lane.send()
    lane.flow.failed(batch, 19, "too few replicas")  # it is surely not in the log
    await under_way.wait()
    await until(lambda: lane.flow.waiting, "the retry")
    assert not lane.flow.sendable
    go_on.set()
    await until(lambda: lane.flow.sendable, "the next transaction")
    assert lane.state.commits == 1


async def test_given_a_partition_that_may_not_be_written_when_it_may_then_copying_goes_on(lane: Lane) -> None:
    lane.producer.refused[lane.place] = 29
    lane.take()
    await until(lambda: lane.flow.state is State.FAULTED, "the fault")
    assert lane.flow.reason is Reason.NOT_AUTHORIZED
    lane.producer.refused.clear()
    await until(lambda: lane.flow.sendable, "the admission")
    (batch,) = lane.send()
    lane.flow.acknowledged(batch, 0)
    assert lane.flow.state is State.COPYING
    assert lane.flow.fetchable


async def test_given_a_refused_partition_that_has_let_go_of_everything_then_it_isnt_asked_for_what_it_has(
    lane: Lane,
) -> None:
    loop, failures, asked = asyncio.get_running_loop(), [], asyncio.Event()
    loop.set_exception_handler(lambda _, context: failures.append(context["message"]))
    lane.producer.refused[lane.place] = 29
    lane.take()
    await until(lambda: lane.flow.state is State.FAULTED, "the fault")
    await lane.flow.drain()
    loop.call_later(2 * module.HEAL_AFTER_S, asked.set)
    await asked.wait()
    assert failures == []


async def test_given_a_backlog_then_a_transaction_holds_more_of_it_but_is_committed_when_there_is_no_more(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BACKLOG_COMMIT_AFTER_S", 3600.0)
    monkeypatch.setattr(module, "_LOOK_FOR_END_S", 0.01)
    lane.now_ms += 60_000
    lane.take()
    await until(lambda: lane.flow.sendable, "the admission")
    (first,) = lane.send()
    lane.flow.acknowledged(first, 0)
    lane.take()
    (second,) = lane.send()
    await asyncio.sleep(0.05)  # five times COMMIT_AFTER_S
    assert lane.state.commits == 0
    lane.take()
    (third,) = lane.send()
    lane.flow.acknowledged(second, 3)
    lane.flow.acknowledged(third, 6)
    await until(lambda: lane.state.commits == 1, "the commit when everything is copied")


async def test_given_a_backlog_then_its_commits_have_their_time_as_well(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BACKLOG_COMMIT_AFTER_S", 0.02)
    monkeypatch.setattr(module, "_LOOK_FOR_END_S", 0.01)
    lane.now_ms += 60_000
    lane.take(2)
    await until(lambda: lane.flow.sendable, "the admission")
    (batch,) = lane.send()
    lane.flow.acknowledged(batch, 0)
    await until(lambda: lane.state.commits == 1, "the commit though there is more")
    assert lane.flow.waiting


async def test_given_a_partition_that_was_added_and_sent_nothing_then_its_marker_counts(lane: Lane) -> None:
    lane.take()
    await until(lambda: lane.flow.sendable, "the admission")
    await until(lambda: lane.producer.ended == 1, "the commit")
    await until(lambda: lane.flow.target_next == 1, "counting the marker")


async def test_given_a_target_found_truncated_then_the_other_partitions_commit(lane: Lane) -> None:
    lane.flow.target_log.next = 10
    lane.flow._producer_known = True
    lane.take(2)
    await until(lambda: lane.flow.sendable, "the admission")
    first, second = lane.send()
    lane.flow.acknowledged(first, 3)
    assert lane.flow.reason is Reason.TARGET_TRUNCATED
    await asyncio.sleep(0.03)
    lane.flow.acknowledged(second, 6)
    await until(lambda: lane.producer.ended == 1, "the commit", within=5)


@pytest.mark.parametrize("error", [KeyError("a bug"), ReplicatorError("trouble")])
async def test_invariant_d_whatever_goes_wrong_ends_the_run_and_says_so(lane: Lane, error: Exception) -> None:
    lane.state.error = error
    with pytest.raises(ReplicatorError, match=r"a bug|trouble"):
        await lane.transaction.commit_with([(b"k", b"v")])
    assert lane.transaction.broken.done()
    lane.take()
    await asyncio.sleep(0)
    assert not lane.flow.sendable


async def test_given_a_partition_that_sent_to_another_log_than_it_was_meant_for_then_the_transaction_never_commits(
    lane: Lane,
) -> None:
    lane.take()
    assert not lane.transaction.doom(lane.flow)  # nothing of it is in the transaction
    await until(lambda: lane.flow.sendable, "the admission")
    (batch,) = lane.send()
    assert lane.transaction.doom(lane.flow)
    lane.flow.acknowledged(batch, 0)
    lane.take()
    waiting = asyncio.create_task(lane.transaction.commit_with([]))
    await asyncio.sleep(0.05)
    assert lane.send() == []
    lane.transaction.fail(ReplicatorError("it was recreated"))
    with pytest.raises(ReplicatorError, match="recreated"):
        await waiting
    assert lane.producer.ended == 0
