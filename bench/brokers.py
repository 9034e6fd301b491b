"""The two clusters: one real Kafka node each, with a server's JVM settings rather than the tests' small ones."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from tests.support.kafka import KafkaCluster, Security
from tests.support.waiting import wait_for

# The JVM lets this variable win over its command line, and the tests' command line asks for a quick start.
_SERVER_JVM = "-XX:TieredStopAtLevel=4 -XX:-UseSerialGC -XX:+UseG1GC -Xms1g -Xmx1g"
_SERVER_PROPERTIES = {
    "num.network.threads": "3",
    "num.io.threads": "8",
    "log.cleaner.dedupe.buffer.size": "134217728",
    "log.retention.check.interval.ms": "300000",
    "log.segment.delete.delay.ms": "1000",  # the disk is wanted for the next copy
    "broker.session.timeout.ms": "9000",  # a busy machine isn't a dead broker
    "broker.heartbeat.interval.ms": "2000",
    "controller.quorum.election.timeout.ms": "1000",
    "controller.quorum.fetch.timeout.ms": "2000",
}


@dataclass(frozen=True)
class Pair:
    """Where records come from and where they go."""

    source: KafkaCluster
    target: KafkaCluster


@contextlib.contextmanager
def two_clusters(*, proxied_source: bool = False, security: Security | None = None) -> Iterator[Pair]:
    """Both clusters, serving; stopped and removed at the end. `proxied_source`: its clients go through `proxies`."""
    with contextlib.ExitStack() as stack:
        with _environment("_JAVA_OPTIONS", _SERVER_JVM):
            source, target = (
                stack.enter_context(
                    KafkaCluster(
                        1, properties=_SERVER_PROPERTIES, name=f"bench-{name}", proxied=proxied, security=security
                    )
                )
                for name, proxied in (("source", proxied_source), ("target", False))
            )
        yield Pair(source, target)


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def create_topic(admin: AdminClient, topic: str, partitions: int) -> None:
    """Create it with the broker's own settings."""
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result()


def clear(admin: AdminClient, *, keep: frozenset[str] = frozenset()) -> None:
    """Delete every topic but Kafka's own and those in `keep`; returns when they are gone."""

    def leftover() -> list[str]:
        return [name for name in admin.list_topics(timeout=10).topics if not name.startswith("__") and name not in keep]

    def gone() -> bool:
        names = leftover()
        for future in admin.delete_topics(names).values() if names else ():
            with contextlib.suppress(KafkaException):  # deleted already; `leftover` decides
                future.result()
        return not names

    wait_for(gone, within=60, every=0.2, what="topics are deleted")
