"""Fetcher and Writer with the source a long way off: behind the delay proxy, on the data connections too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from broker.cluster import Cluster
from broker.node import Listener
from replicator.flow import fetcher as fetcher_module
from replicator.flow import round_trip
from replicator.flow.fetch_loop import FetchLoop
from replicator.states import State
from tests.flow.test_copying import PARTITIONS, Copying
from tests.support.eventually import until
from tests.support.proxy import Proxy

DELAY_S = 0.03
WINDOW = 64 << 10


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little data is much, so that what is measured is the way and not this machine."""
    for where, value in {
        "flow.fetcher.PARTITION_MAX_BYTES": WINDOW,
        "flow.round_trip._PER_SECOND_BYTES": int(4 * PARTITIONS * WINDOW / (2 * DELAY_S)),
        "flow.round_trip._EVERY_S": 0.1,
        "flow.fetch_loop.MAX_WAIT_MS": 100,
        "flow.fetch_loop._PAUSE_S": 0.02,
        "flow.fetch_loop._LINGER_S": 0.3,
        "wire.cluster._REFRESH_PAUSE_S": 0.01,
        "wire.cluster._CONNECT_PAUSE_S": 0.02,
    }.items():
        monkeypatch.setattr(f"replicator.{where}", value)


class FarCopying(Copying):
    """The source's clients know it by an address where the proxy listens."""

    def __init__(self, delay_s: float) -> None:
        super().__init__(1, 64 << 20)
        self.source = Cluster(listeners=[Listener(advertised_host="127.0.0.2")])
        self.delay_s = delay_s
        self.most_under_way = 0

    def make_reachable(self) -> None:
        port = int(self.source.bootstrap.rpartition(":")[2])
        self.proxy = Proxy(port, port, host="127.0.0.2", delay_s=self.delay_s).__enter__()

    async def stop(self) -> None:
        await super().stop()
        self.proxy.__exit__()

    @property
    def loops(self) -> list[FetchLoop]:
        return [loop for broker in self.fetcher._brokers.values() for loop in broker.loops]

    async def watch(self) -> None:
        while True:
            self.most_under_way = max(self.most_under_way, sum(loop.reserved_bytes > 0 for loop in self.loops))
            await asyncio.sleep(0.002)

    async def copy_all(self, batches: int) -> float:
        """How many seconds it takes to copy so many batches of a window's half for each partition."""
        self.produce(batches, size=WINDOW // 2)
        watching = asyncio.create_task(self.watch())
        began = time.monotonic()
        if not self.flows:
            await self.begin()
        await self.all_copied()
        watching.cancel()
        return time.monotonic() - began


@pytest.fixture
async def far() -> AsyncIterator[FarCopying]:
    made = FarCopying(DELAY_S)
    await made.start(1)
    yield made
    await made.stop()


@pytest.mark.slow
async def test_given_a_far_source_then_several_requests_are_under_way_and_it_is_read_faster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds, under_way = [], []
    for nearest in (round_trip.NEAR_S, float("inf")):
        monkeypatch.setattr(round_trip, "NEAR_S", nearest)
        copying = FarCopying(DELAY_S)
        await copying.start(1)
        seconds.append(await copying.copy_all(64))
        under_way.append(copying.most_under_way)
        await copying.stop()
    assert under_way[0] >= PARTITIONS
    assert under_way[1] == 1
    assert seconds[0] < 0.75 * seconds[1], f"{seconds[0]:.2f} s with several sessions, {seconds[1]:.2f} s with one"


@pytest.mark.slow
async def test_given_nothing_is_behind_any_more_then_one_loop_reads_again_and_the_sessions_are_closed(
    far: FarCopying,
) -> None:
    await far.copy_all(40)
    assert len(far.source.fetch_sessions) > 1
    await until(lambda: len(far.loops) == 1, "the end of the other loops")
    await until(lambda: len(far.source.fetch_sessions) == 1, "the end of their sessions")
    far.most_under_way = 0
    await far.copy_all(1)
    assert far.most_under_way == 1
    await far.copy_all(40)
    assert far.most_under_way > 1


async def test_given_a_near_source_then_one_loop_reads_however_much_is_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(round_trip, "NEAR_S", 10 * DELAY_S)  # this process may answer itself late
    near = FarCopying(0)
    await near.start(1)
    await near.copy_all(40)
    assert near.most_under_way == 1
    await near.stop()


async def test_given_an_idle_far_source_then_one_loop_waits(far: FarCopying) -> None:
    await far.copy_all(1)
    await until(lambda: far.most_under_way, "a request")
    assert far.most_under_way == 1
    assert len(far.source.fetch_sessions) == 1


@pytest.mark.slow
async def test_given_connections_that_are_cut_then_each_record_arrives_once(far: FarCopying) -> None:
    await far.begin()
    for _ in range(4):
        far.produce(30, size=WINDOW // 2)
        await until(lambda: any(flow.queue or flow.in_flight for flow in far.flows), "something on its way")
        far.proxy.heal()
    await far.all_copied()
    await until(lambda: all(flow.state is State.COPYING for flow in far.flows), "calm")


@pytest.mark.slow
async def test_given_forgotten_sessions_and_partitions_that_come_and_go_then_each_record_arrives_once(
    far: FarCopying, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetcher_module, "_EXTRA_PAUSE_S", 0.05)
    await far.begin()
    for turn in range(6):
        far.produce(16, size=WINDOW // 2)
        await until(lambda: len(far.loops) > 1, "several loops")
        far.source.fetch_sessions.forget_node(0)
        flow = far.flows[turn % PARTITIONS]
        far.fetcher.remove(flow)
        flow.park()
        far.fetcher.add(flow)
        far.writer.offer(flow)
    await far.all_copied()
