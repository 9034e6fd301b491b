"""Recovery: kill -9 to one of two workers under a trickle, and how long its partitions stand still, from outside."""

from __future__ import annotations

import struct
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition

from bench.brokers import Pair, clear, create_topic
from bench.contestants import Contestant, Running
from bench.copying import BenchError
from bench.loads import PARTITIONS
from bench.watching import Watcher
from tests.support.waiting import wait_for

TOPIC = "recovery"
_STAMP = struct.Struct(">qd")  # number within its partition, when it was produced
_EVERY_S = 0.1  # one record to each partition
_START_S = 120.0
_CALM_S = 5.0  # both workers are in the group and every partition moves, for so long, before one is killed
_MOVES_S = 1.0  # a partition whose last record is younger is moving
_CATCH_UP_S = 20.0


@dataclass(frozen=True)
class Recovery:
    """What the death of one of two workers meant to the records.

    `seconds` from the kill until every partition had a record on the target that was produced after the kill; None if
    one of them hadn't within `limit_s`. `stalled` partitions stood still for more than a second: the dead worker's.
    `lost` and `twice` count the records of the whole trickle; both are None where not everything came to move again.
    """

    seconds: float | None
    limit_s: float
    stalled: int
    lost: int | None
    twice: int | None


def recovery(contestant: Contestant, pair: Pair, directory: Path, limit_s: float) -> Recovery:
    """Kill the second worker, or, if that had no partitions, the first of another two. Leaves both clusters empty."""
    for victim in (1, 0):
        found = _once(contestant, pair, directory, limit_s, victim)
        clear(pair.target.admin())
        clear(pair.source.admin())
        if found.stalled:
            return found
    raise BenchError(f"{contestant.name}, recovery: no partition noticed the death of either worker")


def _once(contestant: Contestant, pair: Pair, directory: Path, limit_s: float, victim: int) -> Recovery:
    create_topic(pair.source.admin(), TOPIC, PARTITIONS)
    with contestant.copying(TOPIC, pair, directory, workers=2) as running, _Trickle(pair) as trickle:
        try:
            with _Arrivals(pair, running.remote_topic) as arrivals:
                _wait_until_shared(running, arrivals)
                killed_at = time.time()
                running.kill(victim)
                return _after(killed_at, arrivals, trickle, limit_s)
        except (AssertionError, RuntimeError) as error:
            raise BenchError(f"{contestant.name}, recovery: {error}\n{running.log()}") from None


def _wait_until_shared(running: Running, arrivals: _Arrivals) -> None:
    calm_since = time.monotonic()

    def shared() -> bool:
        nonlocal calm_since
        members = _members(running)
        oldest = min(arrivals.newest())
        calm = members == len(running.pids) and time.time() - oldest < _MOVES_S
        if not calm:
            calm_since = time.monotonic()
        assert time.monotonic() - calm_since > _CALM_S, f"{members} members; oldest {time.time() - oldest:.1f} s ago"
        return True

    wait_for(shared, within=_START_S, every=0.3, what="both workers are in the group and all partitions move")


def _members(running: Running) -> int:
    groups = running.group_cluster.admin().list_groups(running.group, timeout=10)
    return sum(len(group.members) for group in groups if group.state == "Stable")


def _after(killed_at: float, arrivals: _Arrivals, trickle: _Trickle, limit_s: float) -> Recovery:
    """Watch until all partitions have moved on."""
    while None in (late := arrivals.first_since(killed_at)):
        if time.time() - killed_at > limit_s:
            stalled = sum(at is None or at - killed_at > _MOVES_S for at in late)
            return Recovery(None, limit_s, stalled, None, None)
        time.sleep(0.05)
    moved = [at - killed_at for at in late if at is not None]
    produced = trickle.finish()
    deadline = time.monotonic() + _CATCH_UP_S
    while (lost := produced - arrivals.different()) > 0 and time.monotonic() < deadline:
        time.sleep(0.1)
    return Recovery(
        max(moved), limit_s, sum(after > _MOVES_S for after in moved), lost, arrivals.count() - arrivals.different()
    )


class _Trickle:
    """Ten records a second to each partition, in a thread of its own, while it is entered."""

    def __init__(self, pair: Pair) -> None:
        self._producer = Producer(pair.source.client_config | {"linger.ms": 0, "acks": "all"})
        self._rounds = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recovery-trickle", daemon=True)

    def __enter__(self) -> _Trickle:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.finish()

    def finish(self) -> int:
        """Stop, and have everything acknowledged; how many records there were."""
        self._stop.set()
        self._thread.join(timeout=10)
        if left := self._producer.flush(30):
            raise RuntimeError(f"{left} records of the trickle weren't written")
        return self._rounds * PARTITIONS

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_S):
            for partition in range(PARTITIONS):
                self._producer.produce(TOPIC, _STAMP.pack(self._rounds, time.time()), partition=partition)
            self._producer.poll(0)
            self._rounds += 1


class _Arrivals:
    """Everything that readers of committed records see in the remote topic, while it is entered."""

    def __init__(self, pair: Pair, topic: str) -> None:
        self._pair = pair
        self._topic = topic
        self._seen: list[list[tuple[int, float, float]]] = [[] for _ in range(PARTITIONS)]  # number, sent, here
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recovery-reader", daemon=True)
        settings = {"group.id": "bench", "enable.auto.commit": False, "isolation.level": "read_committed"}
        self._consumer = Consumer(pair.target.client_config | settings | {"fetch.wait.max.ms": 100})

    def __enter__(self) -> _Arrivals:
        watcher = Watcher(self._pair.target, self._topic, PARTITIONS)
        try:
            wait_for(lambda: watcher.ends(committed=False), within=_START_S, every=0.2, what=f"{self._topic} is there")
        finally:
            watcher.close()
        self._consumer.assign([TopicPartition(self._topic, partition, 0) for partition in range(PARTITIONS)])
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join(timeout=10)
        self._consumer.close()

    def newest(self) -> list[float]:
        """When each partition's last record was produced; 0 if it has none."""
        return [records[-1][1] if records else 0.0 for records in self._seen]

    def first_since(self, moment: float) -> list[float | None]:
        """When each partition's first record that was produced after `moment` was here."""
        return [next((here for _, sent, here in records if sent > moment), None) for records in self._seen]

    def count(self) -> int:
        """Of all records."""
        return sum(len(records) for records in self._seen)

    def different(self) -> int:
        """Records without those that came a second time."""
        return sum(len({number for number, _, _ in records}) for records in self._seen)

    def _run(self) -> None:
        while not self._stop.is_set():
            message = self._consumer.poll(0.1)
            if message is None or message.error() is not None:
                continue
            number, sent = _STAMP.unpack(message.value() or b"")
            self._seen[message.partition()].append((number, sent, time.time()))
