"""Parts of a wide link that need no brokers, or real time: the ledger's bytes, the controller's round, the group."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from unittest import mock

import broker.connection
from broker.cluster import Cluster
from broker.dispatch import dispatch
from broker.registry import APIS
from replicator.ledger.entry import decode
from replicator.ledger.lane_trouble import LaneTrouble, encode_trouble
from replicator.ledger.lanes import ledger_topic
from replicator.ledger.map_chunks import encode_chunk_key
from replicator.ledger.map_tail import MapTail
from replicator.states import Reason
from replicator.sync.topics import TopicSync
from replicator.worker.membership import Membership
from replicator.worker.troubles import REPEAT_MS
from tests.rules.world import CONFIG, make_link
from tests.sync.fake_admin import FakeAdmin

_RECORDS_A_COMMIT = 10
_PATIENCE_S = 90.0


@dataclass(frozen=True)
class ControllerRound:
    """CPU seconds of one round of the controller with nothing to do, and of reading the ledger the first time."""

    plan_s: float
    decode_s: float


def controller_round(topics: int, partitions: int, ledger: list[tuple[bytes, bytes]]) -> ControllerRound:
    """The clusters are in memory. `ledger` is a part of the real one; it stands for all."""
    link = make_link()
    source, target = FakeAdmin("us"), FakeAdmin("eu")
    model = next(entry for key, value in ledger if (entry := decode(key, value)) is not None)
    began = time.thread_time()
    for _ in range(0, topics * partitions, len(ledger)):
        for key, value in ledger:
            decode(key, value)
    decode_s = time.thread_time() - began
    entries = {}
    for number in range(topics):
        topic = source.add(f"shop.orders.{number:04d}.v1", partitions)
        copy = target.add(link.remote_topic(topic.name), partitions)
        for partition in range(partitions):
            entries[topic.name, partition] = replace(
                model,
                topic=topic.name,
                partition=partition,
                source_topic_id=topic.topic_id,
                target_topic=copy.name,
                target_topic_id=copy.topic_id,
            )
    sync = TopicSync(link, source, target, lambda: entries)  # type: ignore[arg-type]
    began = time.thread_time()
    plan = asyncio.run(sync.plan())
    took = time.thread_time() - began
    if not plan.empty or plan.problems:
        raise RuntimeError("the controller finds something to do where there is nothing")
    return ControllerRound(took, decode_s)


def map_bytes(commits: int) -> int:
    """Of one partition's offset map after so many commits of lane transactions, each with its marker."""
    tail, left = MapTail(0, b""), dict[int, int]()  # compaction leaves a chunk's last value
    for commit in range(commits):
        tail.add(commit * _RECORDS_A_COMMIT, commit * (_RECORDS_A_COMMIT + 1), _RECORDS_A_COMMIT)
        if chunks := tail.flush():
            left.update((n, len(encode_chunk_key("shop.orders.0001.v1", 1, n)) + len(value)) for n, value in chunks)
            tail.flushed([number for number, _ in chunks])
    return sum(left.values()) + len(tail.after_flush()[1])


def trouble_traffic(lanes: int) -> tuple[float, float]:
    """Records and bytes a second in the control topic while none of so many lanes runs."""
    detail = "Lane 12 of the link waits: cluster eu: broker 3 at b3.eu.example:9098: connection refused"
    key, value = encode_trouble(LaneTrouble(12, Reason.TARGET_UNREACHABLE, detail, 0, 1))
    rate = lanes / (REPEAT_MS / 1000)
    return rate, rate * (len(key) + len(value or b""))


@dataclass(frozen=True)
class GroupFigures:
    """Of the group protocol, in real time, with real members."""

    join_s: float  # until every lane has an owner, and the numbers differ by one at most
    requests_per_s: float  # of all members, when nothing happens
    bytes_per_s: float
    leave_s: float  # from one member's orderly end until its lanes have other owners


async def group(workers: int, lanes: int, steady_s: float) -> GroupFigures:
    """`workers` members in this process, at a bundled broker in this process."""
    requests: Counter[str] = Counter()
    size = 0

    async def counting(node: object, connection: object, frame: bytes) -> object:
        nonlocal size
        parts = await dispatch(node, connection, frame)  # type: ignore[arg-type]
        requests[APIS[int.from_bytes(frame[:2], "big")].name] += 1
        size += 4 + len(frame) + sum(len(part) for part in parts or ())
        return parts

    async def nothing(_: set[int]) -> None: ...

    cluster = Cluster(nodes=1, config=CONFIG)
    topic = ledger_topic("l")
    with mock.patch.object(broker.connection, "dispatch", counting):
        await cluster.start()
        cluster.create_topic(topic, lanes, 1, {})
        members: list[Membership] = []
        try:
            began = time.monotonic()
            for number in range(workers):
                properties = {"bootstrap.servers": cluster.bootstrap, "client.id": f"w{number}", "log_level": 0}
                loop = asyncio.get_running_loop()
                members.append(Membership(properties, "g", topic, loop, nothing, nothing, nothing))
                await members[-1].start()
            await _until(lambda: _balanced(members, lanes))
            join_s = time.monotonic() - began
            await asyncio.sleep(2.0)
            requests.clear()
            size = 0
            steady_began = time.monotonic()
            await asyncio.sleep(steady_s)
            took = time.monotonic() - steady_began
            rates = requests.total() / took, size / took
            gone = members.pop()
            began = time.monotonic()
            leaving = asyncio.create_task(gone.stop())
            await _until(lambda: not gone.owned and _balanced(members, lanes))
            leave_s = time.monotonic() - began
            await leaving
        finally:
            await asyncio.gather(*(member.stop() for member in members))
            await cluster.stop()
    return GroupFigures(join_s, *rates, leave_s)


def _balanced(members: list[Membership], lanes: int) -> bool:
    counts = [len(member.owned) for member in members]
    return sum(counts) == lanes and max(counts) - min(counts) <= 1


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while not true():  # noqa: ASYNC110 - members are threads: nobody says when
            await asyncio.sleep(0.05)
