"""A partition that waits for somebody to say what a producer writes."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any, cast

import pytest

from replicator.errors import UnreachableError
from replicator.flow.backpressure import ByteBudget, Lease
from replicator.flow.stage import Stage
from replicator.ledger.provenance import Provenance
from replicator.states import PartitionFault, Reason, State
from replicator.worker import origins as module
from replicator.worker.origins import OriginSearch
from tests.flow import logs
from tests.flow.logs import Outside, flow_of
from tests.flow.test_origins import CLIENT, UNKNOWN, Told, log_of
from tests.support.eventually import until


class Answers:
    """`Provenance` that answers when it is told to."""

    def __init__(self) -> None:
        self.error: Exception | None = UnreachableError("cluster us: no broker answers")
        self.asked = 0

    async def learn(self, producers: Collection[int]) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UnreachableError("cluster us: no broker answers"), Reason.SOURCE_UNREACHABLE),
        (
            PartitionFault(Reason.NOT_AUTHORIZED, "Read on topic __replicator_x_ledger of cluster us."),
            Reason.NOT_AUTHORIZED,
        ),
    ],
)
async def test_given_nobody_can_say_then_it_shows_why_and_goes_on_by_itself(
    error: Exception, reason: Reason, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    monkeypatch.setattr(module, "SHOW_AFTER_S", 0.02)
    answers, told, outside, tasks = Answers(), Told(), Outside(), []
    answers.error = error

    def spawn(work: Any) -> None:
        tasks.append(asyncio.ensure_future(work))

    search = OriginSearch(cast(Provenance, answers), spawn)
    outside.find_origins = search.begin  # type: ignore[method-assign]
    flow = flow_of(outside, stage=Stage("source", told))

    def fetch() -> None:
        answer = logs.fetched(*log_of((CLIENT, 20), (UNKNOWN, 20))[flow.fetch_offset // 20 :])
        flow.take(answer, Lease(ByteBudget(1 << 30), len(answer.records)))

    fetch()
    await until(lambda: flow.reason is reason, "the reason shows")
    assert flow.fetch_offset == 20
    search.begin(flow, {UNKNOWN})
    assert len(tasks) == 1
    answers.error = None
    told.known[UNKNOWN] = "eu"
    await until(lambda: flow.fetchable, "it is fetched again")
    fetch()
    assert (flow.state, flow.reason, flow.fetch_offset) == (State.COPYING, None, 40)
    await asyncio.gather(*tasks)
