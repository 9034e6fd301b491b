"""A group that reads wherever its topics are, and an observer who says what it has left unread."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence

from confluent_kafka import Consumer, TopicPartition

from tests.e2e.rig import AnyCluster
from tests.support.groups import committed
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

READ_LIMIT_S = 30.0


def read_on(cluster: AnyCluster, group: str, topics: Sequence[str], seen: Counter[bytes], wanted: int) -> None:
    """As a member of the group, until `seen` has as many records as are `wanted`; then commit and leave. Nothing may
    come that the group has read before."""
    before = seen.total()
    consumer = Consumer(
        {
            **cluster.client_config,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    try:
        consumer.subscribe(list(topics))
        deadline = time.monotonic() + READ_LIMIT_S
        while seen.total() < wanted and time.monotonic() < deadline:
            for message in consumer.consume(100, 0.2):
                assert message.error() is None, message.error()
                seen[message.value() or b""] += 1
        if seen.total() > before:
            consumer.commit(asynchronous=False)
    finally:
        consumer.close()
    twice = {value: times for value, times in seen.items() if times > 1}
    assert not twice, f"{cluster.name}: read again: {len(twice)}, as {sorted(twice)[:5]}"
    assert seen.total() >= wanted, f"{cluster.name}: {seen.total()} of {wanted} read within {READ_LIMIT_S:g} s"


def unread(cluster: AnyCluster, group: str, topics: Sequence[str], partitions: int) -> Counter[bytes]:
    """What the group's positions leave to be read."""
    at = committed(cluster, group)
    places = [(topic, partition) for topic in topics for partition in range(partitions)]
    left: Counter[bytes] = Counter()
    consumer = Consumer(
        {**cluster.client_config, "group.id": "judge", "enable.auto.commit": False, "enable.partition.eof": True}
    )
    try:
        consumer.assign([TopicPartition(*place, at.get(place, 0)) for place in places])
        ended = 0
        while ended < len(places):
            for message in consumer.consume(500, 0.5):
                if message.error() is not None:
                    ended += 1
                else:
                    left[message.value() or b""] += 1
    finally:
        consumer.close()
    return left


def wait_moved(
    installation: Installation, left: Callable[[], Counter[bytes]], wanted: Counter[bytes], where: str
) -> None:
    """Wait until the group's positions there leave exactly what it hasn't read."""

    def moved() -> bool:
        found = left()
        told = installation.run("groups").stdout if found != wanted else ""
        again, missed = (found - wanted).total(), (wanted - found).total()
        assert found == wanted, f"{again} records would be read again, {missed} missed\n{told}"
        return True

    wait_for(moved, within=40, every=0.3, what=f"moved to {where}")
