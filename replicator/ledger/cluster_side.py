"""A cluster as `status` asks it: blocking calls over confluent-kafka, no event loop, nothing written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from replicator.config.librdkafka import ADMINISTRATOR, client_properties, require_token
from replicator.config.models import ClusterConfig
from replicator.errors import AuthenticationError, ReplicatorError, UnreachableError
from replicator.ledger.client_calls import topic_names, topic_uuid
from replicator.ledger.client_errors import replicator_error
from replicator.ledger.many_ends import ends_of_many

REQUEST_TIMEOUT_S = 10.0
PEEK_LIMIT_S = 2.0
PEEK_MAX_PARTITIONS = 200  # more than that aren't asked for the time of their next record
_PEEK_BYTES = 64 * 1024
_MANY = 500  # partitions; AdminClient makes a future of each: half a second of CPU for 10,000

Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class SeenTopic:
    """A topic as its cluster describes it."""

    topic_id: UUID
    partitions: int
    internal: bool


@dataclass(frozen=True, slots=True)
class SeenMember:
    """A member of a group, and the partitions that it was assigned."""

    member_id: str
    client_id: str
    host: str
    partitions: tuple[int, ...]


class ClusterSide:
    """One cluster, asked with blocking calls. Errors are ours and name it."""

    def __init__(self, cluster: ClusterConfig, alias: str, client_id: str, timeout_s: float) -> None:
        self._cluster = cluster
        self._alias = alias
        self._client_id = client_id
        self._timeout_s = timeout_s
        self._refused: KafkaError | None = None
        self._all_down = False
        self.properties = {
            **client_properties(cluster, client_id=client_id),
            "error_cb": self._note_error,
        }
        self._admin: AdminClient | None = None
        require_token(self.properties, alias)
        try:
            self._admin = AdminClient({**self.properties, **ADMINISTRATOR})
        except KafkaException as error:
            raise self._error(error, "use the cluster's settings") from error

    def topics(self) -> dict[str, SeenTopic]:
        """All topics that we may describe. UnreachableError within 2 s if every broker refuses connections."""
        try:
            names = topic_names(self._admin, self._timeout_s, lambda: self._refused is not None or self._all_down)
        except KafkaException as error:
            raise self._error(error, f"list topics at {self.properties['bootstrap.servers']}") from error
        seen: dict[str, SeenTopic] = {}
        for name, future in self._ask("describe_topics", TopicCollection(names)).items() if names else ():
            try:
                topic = future.result()
            except KafkaException as error:
                if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    continue  # deleted meanwhile
                raise self._error(error, f"describe topic {name}", name) from error
            seen[name] = SeenTopic(topic_uuid(topic.topic_id), len(topic.partitions), topic.is_internal)
        return seen

    def ends(self, partitions: Iterable[Key]) -> dict[Key, int]:
        """Last stable offsets. Partitions without a leader are left out."""
        places = list(partitions)
        if len(places) >= _MANY:
            return asyncio.run(ends_of_many(self._cluster, self._alias, self._client_id, places, self._timeout_s))
        wanted = {TopicPartition(topic, partition): OffsetSpec.latest() for topic, partition in places}
        if not wanted:
            return {}
        ends: dict[Key, int] = {}
        for at, future in self._ask("list_offsets", wanted, isolation_level=IsolationLevel.READ_COMMITTED).items():
            try:
                end = future.result().offset
            except KafkaException as error:
                translated = self._error(error, f"list offsets of {at.topic}-{at.partition}", at.topic)
                if isinstance(translated, AuthenticationError):
                    raise translated from error
            else:
                if end >= 0:  # librdkafka answers OFFSET_INVALID, without an error, when the leader doesn't answer
                    ends[at.topic, at.partition] = end
        return ends

    def members(self, group: str) -> tuple[SeenMember, ...]:
        """The members of a group; none when it doesn't exist or mayn't be described."""
        try:
            members = self._ask("describe_consumer_groups", [group])[group].result().members
        except KafkaException:
            return ()
        return tuple(
            SeenMember(
                member.member_id,
                member.client_id,
                member.host.removeprefix("/"),
                tuple(sorted(at.partition for at in member.assignment.topic_partitions)),
            )
            for member in sorted(members, key=lambda member: (member.client_id, member.member_id))
        )

    def times(self, positions: list[tuple[Key, int]]) -> Mapping[Key, int]:
        """The time of the first committed record at or after each position, as far as it's read within 2 s."""
        wanted = dict(positions[:PEEK_MAX_PARTITIONS])
        times: dict[Key, int] = {}
        consumer = Consumer(
            {
                **self.properties,
                "group.id": "replicator.status",  # librdkafka wants one; it is never used
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 50,
                "fetch.message.max.bytes": _PEEK_BYTES,
                "queued.min.messages": 1,
                "queued.max.messages.kbytes": 1024,
            }
        )
        try:
            consumer.assign([TopicPartition(topic, partition, offset) for (topic, partition), offset in wanted.items()])
            deadline = time.monotonic() + PEEK_LIMIT_S
            while len(times) < len(wanted) and (left := deadline - time.monotonic()) > 0:
                for message in consumer.consume(100, min(0.1, left)):
                    at = (message.topic(), message.partition())
                    if message.error() is not None or at in times:
                        continue
                    times[at] = message.timestamp()[1]
                    consumer.pause([TopicPartition(*at)])
        finally:
            consumer.close()
        return {at: time_ms for at, time_ms in times.items() if time_ms >= 0}

    def _ask(self, call: str, what: Any, **options: Any) -> dict[Any, Any]:
        try:
            futures: dict[Any, Any] = getattr(self._admin, call)(what, request_timeout=self._timeout_s, **options)
        except KafkaException as error:
            raise self._error(error, call.replace("_", " ")) from error
        return futures

    def _note_error(self, error: KafkaError) -> None:
        self._all_down = self._all_down or error.code() == KafkaError._ALL_BROKERS_DOWN
        if isinstance(replicator_error(error, cluster=self._alias, action="connect"), AuthenticationError):
            self._refused = error

    def _error(self, error: KafkaException, action: str, resource: str = "") -> ReplicatorError:
        if self._admin is not None:
            self._admin.poll(0)  # serves `_note_error`
        translated = replicator_error(error.args[0], cluster=self._alias, action=action, resource=resource)
        if isinstance(translated, UnreachableError) and self._refused is not None:
            return replicator_error(self._refused, cluster=self._alias, action=action, resource=resource)
        return translated
