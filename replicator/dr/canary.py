"""The drill's own topic, group and clients: nothing of anybody else's is touched."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from replicator.config.librdkafka import ADMINISTRATOR, client_properties
from replicator.config.models import CANARY, LinkConfig, Settings
from replicator.errors import ReplicatorError, UnreachableError
from replicator.ledger.lanes import control_topic, group_id, ledger_topic, map_topic

_ANSWER_S = 15.0
_POLL_S = 0.2
PARTITIONS = 2


def canary_settings(settings: Settings, link: LinkConfig) -> tuple[Settings, LinkConfig, LinkConfig]:
    """A link like this one for the canary topic alone, and its way back: with ledgers of their own, so that nothing
    that happens to them happens to the link."""
    name = f"{CANARY}{link.name}"
    there = link.model_dump() | {
        "name": f"{link.name}-drill",
        "topics": {**link.topics.model_dump(), "include": [name], "exclude": [], "start": "earliest"},
        "groups": {"include": [name], "exclude": []},
        "lanes": 1,
        "placement": "fixed",
        "drill": {},
        "reverse_of": None,
        "delete_topics": False,
        "delete_groups": False,
        "sync": {**link.sync.model_dump(), "every": 1, "heartbeats": False, "checkpoints": False, "acls": False},
    }
    back = {"name": f"{link.name}-drill-back", "reverse_of": there["name"]}
    made = Settings.model_validate({"clusters": settings.clusters, "links": [there, back]})
    return made, made.links[0], made.links[1]


class Canary:
    """Clients of both clusters, and what they have written and read; by a cluster's alias. A context manager."""

    def __init__(self, settings: Settings, there: LinkConfig, back: LinkConfig) -> None:
        self.topic = there.topics.include[0]
        self.copy = there.remote_topic(self.topic)
        self.group = self.topic
        self.names = {there.source: self.topic, there.target: self.copy}
        self.written: Counter[bytes] = Counter()
        self.written_ms: dict[bytes, int] = {}
        self.read: Counter[bytes] = Counter()
        self._links = there, back
        self._properties = {
            alias: client_properties(settings.clusters[alias], client_id=f"replicator-{there.name}")
            for alias in self.names
        }
        self._replication = there.replication_factor or -1
        self._admins: dict[str, AdminClient] = {}
        self._number = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._admins = {alias: AdminClient({**at, **ADMINISTRATOR}) for alias, at in self._properties.items()}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._admins = {}

    def create(self, alias: str) -> None:
        """Make the topic; a former one may still be being deleted."""
        deadline = time.monotonic() + 30
        while True:
            new = NewTopic(self.names[alias], PARTITIONS, self._replication)
            try:
                self._admins[alias].create_topics([new], request_timeout=_ANSWER_S)[new.topic].result(_ANSWER_S)
                return
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS or time.monotonic() > deadline:
                    raise ReplicatorError(
                        f"cluster {alias}: can't create {new.topic}: {error.args[0].str()}"
                    ) from error
                time.sleep(_POLL_S)

    def write(self, alias: str, count: int) -> None:
        """So many records, acknowledged when it returns; UnreachableError if they aren't."""
        with self._lock:
            producer = Producer({**self._properties[alias], "acks": "all", "enable.idempotence": True, "linger.ms": 2})
            for _ in range(count):
                value = b"%s %d" % (alias.encode(), self._number)
                producer.produce(self.names[alias], value, partition=self._number % PARTITIONS, on_delivery=self._told)
                self._number += 1
            if producer.flush(_ANSWER_S):
                raise UnreachableError(f"cluster {alias}: {self.names[alias]}: records weren't acknowledged in time")

    def _told(self, error: KafkaError | None, message: Message) -> None:
        value = message.value()
        if error is None and value is not None:
            self.written[value] += 1
            self.written_ms[value] = int(time.time() * 1000)

    def held(self, alias: str) -> Counter[bytes]:
        """What a consumer finds in the topic there."""
        consumer = Consumer({**self._properties[alias], **_READING, "group.id": "replicator.drill.reader"})
        try:
            return Counter(value for value in self._all(consumer, self.names[alias]))
        finally:
            consumer.close()

    def _all(self, consumer: Consumer, topic: str) -> Iterable[bytes]:
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
        ended, deadline = 0, time.monotonic() + 30
        while ended < PARTITIONS:
            if time.monotonic() > deadline:
                raise UnreachableError(f"topic {topic} can't be read to its end")
            for message in consumer.consume(500, _POLL_S):
                error = message.error()
                if error is None:
                    yield message.value() or b""
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended += 1

    def consume(self, alias: str, enough: Callable[[], bool], limit_s: float = 30.0) -> None:
        """Be a member of the group there until `enough`, or nothing more comes in time; commit, and leave."""
        consumer = Consumer(
            {**self._properties[alias], **_READING, "group.id": self.group, "auto.offset.reset": "earliest",
             "enable.partition.eof": False}
        )  # fmt: skip
        try:
            consumer.subscribe([self.names[alias]])
            deadline = time.monotonic() + limit_s
            while not enough() and time.monotonic() < deadline:
                for message in consumer.consume(100, _POLL_S):
                    if message.error() is None:
                        self.read[message.value() or b""] += 1
            with suppress(KafkaException):  # it was given nothing to commit
                consumer.commit(asynchronous=False)
        finally:
            consumer.close()

    def remove(self) -> None:
        """Delete all that a drill makes, here or in one that was interrupted. What isn't there isn't missed."""
        there, back = self._links
        for alias, link, topic in ((there.target, there, self.copy), (back.target, back, self.topic)):
            topics = [topic, ledger_topic(link.name), map_topic(link.name), control_topic(link.name)]
            admin = self._admins[alias]
            for gone in admin.delete_topics(topics, request_timeout=_ANSWER_S, operation_timeout=_ANSWER_S).values():
                with suppress(KafkaException):
                    gone.result(_ANSWER_S)
            for future in admin.delete_consumer_groups([self.group, group_id(link.name)]).values():
                with suppress(KafkaException):
                    future.result(_ANSWER_S)


_READING = {
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "isolation.level": "read_committed",
    "enable.partition.eof": True,
    "fetch.wait.max.ms": 50,
}
