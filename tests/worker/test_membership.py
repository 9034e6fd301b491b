"""Membership against a broker: who owns which lane through death, hanging, freezing and orderly hand-over."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from replicator.worker.membership import Membership
from tests.support.bundled import BundledCluster
from tests.support.kafka import KafkaCluster, die_with_parent
from tests.support.ports import free_ports
from tests.support.waiting import wait_for

LANES = 6
GIVEN_AWAY_S = 10.0  # the promise
BOTH_STOPPED_S = 3.0
ROOT = Path(__file__).parents[2]
Cluster = KafkaCluster | BundledCluster


@pytest.fixture(scope="module")
def bundled() -> Iterator[BundledCluster]:
    with BundledCluster() as cluster:
        yield cluster


@pytest.fixture(
    params=[pytest.param("bundled", marks=pytest.mark.soak), pytest.param("kafka", marks=pytest.mark.kafka)]
)
def topic_on(request: pytest.FixtureRequest) -> tuple[str, str]:
    """(bootstrap servers, a ledger topic) on either kind of broker."""
    cluster: Cluster = request.getfixturevalue("bundled" if request.param == "bundled" else "kafka_source")
    topic = f"lanes-{uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
    for future in admin.create_topics([NewTopic(topic, LANES, 1)]).values():
        future.result()
    return cluster.bootstrap, topic


class Process:
    """A member in a process of its own, and what it says it owns."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.owned: set[int] = set()
        self.said: list[tuple[str, set[int]]] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.worker.member_process", bootstrap, "group-" + topic, topic],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            preexec_fn=die_with_parent,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def command(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self._process.pid, number)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = json.loads(line)
            lanes = set(event["lanes"])
            if event["what"] == "assigned":
                self.owned |= lanes
            elif event["what"] in ("revoked", "lost"):
                self.owned -= lanes
            self.said.append((event["what"], lanes))


@pytest.fixture
def three(topic_on: tuple[str, str]) -> Iterator[list[Process]]:
    members = [Process(*topic_on) for _ in range(3)]
    try:
        wait_for(lambda: [len(m.owned) for m in members] == [2, 2, 2], within=30, what="three members share the lanes")
        assert set.union(*(m.owned for m in members)) == set(range(LANES))
        yield members
    finally:
        for member in members:
            member.close()


@pytest.mark.slow
def test_given_three_members_when_one_is_killed_and_one_hangs_then_the_third_owns_all_within_the_promise(
    three: list[Process],
) -> None:
    killed, hung, well = three
    before = len(hung.said)
    killed.signal(signal.SIGKILL)
    hung.command("hang 12")
    began = time.monotonic()
    wait_for(lambda: well.owned == set(range(LANES)), within=GIVEN_AWAY_S, what="all lanes elsewhere")
    assert time.monotonic() - began < GIVEN_AWAY_S
    wait_for(lambda: ("awake", set()) in hung.said, within=20, what="owned is empty as soon as the loop wakes up")
    wait_for(lambda: len(hung.owned) == len(well.owned) == 3, within=20, what="the hung one is back")
    assert [what for what, _ in hung.said[before : before + 3]] == ["awake", "lost", "assigned"]


@pytest.mark.slow
def test_given_three_members_when_one_is_frozen_then_its_lanes_run_elsewhere_and_it_knows_when_it_thaws(
    three: list[Process],
) -> None:
    frozen, *others = three
    frozen.signal(signal.SIGSTOP)
    wait_for(
        lambda: set.union(*(m.owned for m in others)) == set(range(LANES)),
        within=GIVEN_AWAY_S,
        what="all lanes elsewhere",
    )
    frozen.command("owned")
    frozen.signal(signal.SIGCONT)
    wait_for(lambda: ("owned", set()) in frozen.said, within=10, what="it owns nothing when it thaws")
    wait_for(lambda: all(len(m.owned) == 2 for m in three), within=20, what="the frozen one is back")


class Recorder:
    """Callbacks of a member in this process."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.events: list[tuple[str, set[int]]] = []
        self.flush_takes_s = 0.0
        self.fail_on_assign = False
        loop = asyncio.get_running_loop()
        properties = {"bootstrap.servers": bootstrap, "log_level": 0}
        self.member = Membership(
            properties, "group-" + topic, topic, loop, self.on_assigned, self.on_revoked, self.on_lost
        )

    async def on_assigned(self, lanes: set[int]) -> None:
        self.events.append(("assigned", lanes))
        if self.fail_on_assign:
            self.fail_on_assign = False
            raise RuntimeError("planted")

    async def on_revoked(self, lanes: set[int]) -> None:
        assert lanes <= self.member.owned  # still ours while we flush
        await asyncio.sleep(self.flush_takes_s)
        self.events.append(("revoked", lanes))

    async def on_lost(self, lanes: set[int]) -> None:
        assert not lanes & self.member.owned
        self.events.append(("lost", lanes))


@pytest.fixture
async def recorder(topic_on: tuple[str, str]) -> AsyncIterator[Recorder]:
    recorder = Recorder(*topic_on)
    yield recorder
    await recorder.member.stop()


async def until(condition: object, within: float, what: str) -> None:
    assert callable(condition)
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in other threads and processes
            await asyncio.sleep(0.02)


async def test_given_a_member_when_another_joins_and_stops_then_lanes_are_flushed_before_they_move(
    topic_on: tuple[str, str], recorder: Recorder
) -> None:
    member = recorder.member
    assert (member.joined, member.owned) == (False, frozenset())
    await member.start()
    await until(lambda: member.owned == set(range(LANES)), 20, "all lanes")
    assert member.joined
    assert member.last_error is None
    recorder.flush_takes_s = 0.5
    other = Recorder(*topic_on)
    await other.member.start()
    await until(lambda: len(member.owned) == len(other.member.owned) == LANES // 2, 20, "shared")
    flushed = recorder.events[-1]
    assert flushed == ("revoked", other.member.owned)
    other.flush_takes_s = 0.2
    began = time.monotonic()
    await other.member.stop()
    assert time.monotonic() - began < 3
    assert other.events[-1][0] == "revoked"
    await other.member.ended
    await until(lambda: member.owned == set(range(LANES)), 10, "all lanes back")
    assert not any(what == "lost" for what, _ in recorder.events + other.events)


async def test_given_two_members_when_both_are_stopped_in_a_rebalance_then_neither_waits_for_the_other(
    topic_on: tuple[str, str], recorder: Recorder
) -> None:
    await recorder.member.start()
    await until(lambda: len(recorder.member.owned) == LANES, 30, "one owns all")
    other = Recorder(*topic_on)
    await other.member.start()
    await until(
        lambda: ("revoked", set(range(LANES // 2, LANES))) in recorder.events or other.member.joined, 30, "moving"
    )
    began = time.monotonic()
    await asyncio.gather(recorder.member.stop(), other.member.stop())
    assert time.monotonic() - began < BOTH_STOPPED_S


async def test_given_a_callback_that_fails_when_lanes_are_assigned_then_the_member_leaves_and_joins_again(
    recorder: Recorder,
) -> None:
    recorder.fail_on_assign = True
    await recorder.member.start()
    await until(lambda: len(recorder.events) >= 3, 20, "left and back")
    assert [what for what, _ in recorder.events] == ["assigned", "lost", "assigned"]
    assert recorder.member.owned == set(range(LANES))


async def test_given_no_broker_when_started_then_the_error_names_the_cluster_and_stop_is_quick() -> None:
    recorder = Recorder(f"127.0.0.1:{free_ports(1)[0]}", "nowhere")
    await recorder.member.start()
    await until(lambda: recorder.member.last_error is not None, 10, "an error")
    assert "cluster target" in str(recorder.member.last_error)
    assert not recorder.member.joined
    began = time.monotonic()
    await recorder.member.stop()
    assert time.monotonic() - began < 3
