"""The worker's byte budget while a target stalls, is away, or refuses."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from broker.cluster import Cluster
from broker.node import Listener
from replicator.flow.fetch_loop import MIN_ROOM_BYTES
from replicator.states import Reason, State
from replicator.wire import kafka_errors as codes
from tests.flow.test_copying import PARTITIONS, Copying, fetching, quick
from tests.support.eventually import until
from tests.support.proxy import Proxy

__all__ = ["quick"]

LIMIT = 4 << 20
BATCH = 900_000


class Bounded(Copying):
    """Its target's clients go through a proxy. The budget's highest use is noted each time that something is taken."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(1, limit_bytes)
        self.target = Cluster(listeners=[Listener(advertised_host="127.0.0.2")])
        self.highest = 0
        take = self.budget.take

        def noting(size: int, *, parked: bool = False) -> None:
            take(size, parked=parked)
            self.highest = max(self.highest, self.budget.in_use)

        self.budget.take = noting  # type: ignore[method-assign]

    def make_reachable(self) -> None:
        port = int(self.target.bootstrap.rpartition(":")[2])
        self.proxy = Proxy(port, port, host="127.0.0.2").__enter__()

    async def stop(self) -> None:
        await super().stop()
        self.proxy.__exit__()


@contextlib.asynccontextmanager
async def bounded(limit_bytes: int) -> AsyncIterator[Bounded]:
    made = Bounded(limit_bytes)
    await made.start(1)
    yield made
    await made.stop()


async def test_given_a_target_that_reads_nothing_then_the_budget_holds_and_copying_goes_on_after_it() -> None:
    limit = 16 << 20
    async with bounded(limit) as copying:
        copying.produce(2, size=BATCH)
        await copying.begin()
        await copying.all_copied()
        copying.proxy.stall()
        await until(lambda: copying.proxy.stalled, "the stall")
        copying.produce(12, size=BATCH)
        await until(lambda: copying.budget.left() < MIN_ROOM_BYTES and not fetching(copying), "use of all there is")
        asked = [flow.fetch_offset for flow in copying.flows]
        for _ in range(50):
            await asyncio.sleep(0.005)
            assert copying.budget.in_use <= limit + BATCH
        assert [flow.fetch_offset for flow in copying.flows] == asked
        copying.proxy.flow()
        await copying.all_copied()
        assert copying.highest <= limit + 2 * BATCH  # an answer is as large as its first batch at least


@pytest.mark.slow
async def test_given_a_target_that_is_away_and_more_partitions_than_there_is_room_for_then_some_keep_nothing() -> None:
    async with bounded(LIMIT) as copying:
        copying.produce(1)
        await copying.begin()
        await copying.all_copied()
        await copying.target.stop_node(0)
        copying.produce(6, size=BATCH)
        await until(lambda: all(f.reason is Reason.TARGET_UNREACHABLE for f in copying.flows), "the faults")
        await until(lambda: copying.budget.crowded, "as many batches kept as may be")
        tried_again = {flow: 0 for flow in copying.flows if flow.idle}
        for _ in range(200):
            await asyncio.sleep(0.005)
            assert copying.budget.parked < PARTITIONS * BATCH
            assert all(flow.state is State.FAULTED for flow in copying.flows)
            for flow in tried_again:
                tried_again[flow] += bool(flow.queue)
        assert tried_again
        assert all(tried_again.values())
        assert copying.highest <= LIMIT + PARTITIONS * BATCH
        await copying.target.start_node(0)
        await copying.all_copied()
        await until(lambda: all(flow.state is State.COPYING for flow in copying.flows), "calm")


@pytest.mark.slow
async def test_given_a_target_that_refuses_what_is_on_its_way_then_no_more_is_sent_until_it_takes_that() -> None:
    async with bounded(2 * LIMIT) as copying:
        copying.produce(1, size=BATCH)
        await copying.begin()
        await copying.all_copied()
        refusing = copying.target.faults.fail("Produce", codes.NOT_ENOUGH_REPLICAS, times=60)
        copying.produce(10, size=BATCH)
        await until(lambda: refusing.hits > 20, "refusals")
        sent = [len(flow.unresolved) for flow in copying.flows]
        while refusing.hits < 50:
            await asyncio.sleep(0.002)
            assert [len(flow.unresolved) for flow in copying.flows] <= sent
            assert copying.budget.in_use <= 2 * LIMIT + PARTITIONS * BATCH
        await copying.all_copied()
