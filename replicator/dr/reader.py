"""Reading one side of a link through librdkafka: an independent client, committed records only, in bounded memory."""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec, ResourceType

from replicator.config.librdkafka import ADMINISTRATOR, client_properties
from replicator.config.models import ClusterConfig
from replicator.dr.compare import Record
from replicator.dr.throttle import Throttle
from replicator.errors import UnreachableError
from replicator.ledger.client_errors import is_of_unused_group, replicator_error
from replicator.ledger.cluster_side import ClusterSide

_CALL_TIMEOUT_S = 15.0
_STALL_S = 60.0
_AT_ONCE_BYTES = 4 << 20  # one partition at a time is read, so the way to its broker is what is waited for
_AT_ONCE = 500  # records taken from librdkafka per call
_TOPICS_PER_CALL = 200

Partition = tuple[str, int]


class Side:
    """One cluster as `verify` reads it; a context manager. `alias` names it in errors.

    Errors: UnreachableError, AuthenticationError, AuthorizationError, as `replicator_error` maps them.
    """

    def __init__(
        self, alias: str, cluster: ClusterConfig, *, client_id: str, group: str, throttle: Throttle | None = None
    ) -> None:
        self.alias = alias
        self._throttle = throttle or Throttle(None)
        self.left_out: Mapping[Partition, Container[int]] = {}  # offsets that `read` passes over
        properties = client_properties(cluster, client_id=client_id)
        self._topics = ClusterSide(cluster, alias, client_id, _CALL_TIMEOUT_S)
        self._admin = AdminClient({**properties, **ADMINISTRATOR})
        self._consumer = Consumer(
            {
                **properties,
                "group.id": group,  # demanded by librdkafka; nothing joins it and nothing is committed
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "check.crcs": True,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 10,
                "fetch.message.max.bytes": _AT_ONCE_BYTES,
                "queued.max.messages.kbytes": 16_384,
                "fetch.queue.backoff.ms": 10,  # by default it rests for a second each time that its queue is full
            }
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._consumer.close()

    def cluster_id(self) -> str:
        """What the cluster calls itself; "" if it doesn't say."""
        try:
            answer = self._admin.describe_cluster(request_timeout=_CALL_TIMEOUT_S)
            return str(answer.result(_CALL_TIMEOUT_S).cluster_id or "")
        except KafkaException as error:
            raise replicator_error(error.args[0], cluster=self.alias, action="describe the cluster") from error

    def partitions(self) -> dict[str, int]:
        """Every topic and how many partitions it has."""
        return {name: topic.partitions for name, topic in self._topics.topics().items()}

    def starts(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The log start of each partition."""
        return self._known(self._offsets(partitions, OffsetSpec.earliest()))

    def ends(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The last stable offset of each partition: where committed records end."""
        return self._known(self._offsets(partitions, OffsetSpec.latest()))

    def at_time(self, partition: Partition, timestamp_ms: int) -> int:
        """The first offset whose record isn't older, or -1."""
        return self._offsets([partition], OffsetSpec.for_timestamp(timestamp_ms))[partition]

    def compacted(self, topics: Iterable[str]) -> set[str]:
        """Those of the topics whose cleanup.policy says compact."""
        names = list(topics)
        found: set[str] = set()
        for first in range(0, len(names), _TOPICS_PER_CALL):
            resources = [ConfigResource(ResourceType.TOPIC, name) for name in names[first : first + _TOPICS_PER_CALL]]
            for resource, future in self._admin.describe_configs(resources).items():
                try:
                    policy = future.result(_CALL_TIMEOUT_S).get("cleanup.policy")
                except KafkaException as error:
                    action = f"describe the configuration of topic {resource.name}"
                    raise replicator_error(
                        error.args[0], cluster=self.alias, action=action, resource=resource.name
                    ) from error
                if policy is not None and "compact" in (policy.value or ""):
                    found.add(resource.name)
        return found

    def read(self, partition: Partition, start: int, end: int) -> Iterator[Record]:
        """The committed records of [start, end), in order, but for those that are `left_out`."""
        if start >= end:
            return
        topic, number = partition
        left_out = self.left_out.get(partition, ())
        place = TopicPartition(topic, number, start)
        try:
            self._consumer.get_watermark_offsets(
                place, timeout=_CALL_TIMEOUT_S
            )  # finds the leader now, not a second on
            self._consumer.assign([place])
        except KafkaException as error:
            raise replicator_error(error.args[0], cluster=self.alias, action=f"read {topic}-{number}") from error
        stalls_at = time.monotonic() + _STALL_S
        while True:
            first = self._consumer.poll(1.0)
            messages = [] if first is None else [first, *self._consumer.consume(_AT_ONCE, timeout=0)]
            size = 0
            for message in messages:
                if (trouble := message.error()) is not None:
                    if trouble.code() == KafkaError._PARTITION_EOF:
                        return
                    if trouble.retriable() or trouble.code() in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):
                        continue  # librdkafka reconnects by itself; a stall ends it below
                    if is_of_unused_group(trouble):
                        continue
                    action = f"read {topic}-{number}"
                    raise replicator_error(trouble, cluster=self.alias, action=action, resource=topic)
                offset = message.offset()
                size += len(message)
                if offset >= end:
                    return
                if offset not in left_out:
                    yield Record(
                        offset, message.key(), message.value(), tuple(message.headers() or ()), message.timestamp()[1]
                    )
                if offset + 1 == end:
                    return
            self._throttle.took(size)
            if messages:
                stalls_at = time.monotonic() + _STALL_S
            elif time.monotonic() > stalls_at:
                raise UnreachableError(
                    f"cluster {self.alias}: reading {topic}-{number} has stood still for {_STALL_S:.0f} s before "
                    f"offset {end}: check that its leader is up, and run verify again"
                )

    def _known(self, offsets: dict[Partition, int]) -> dict[Partition, int]:
        """`offsets`, if all are: librdkafka answers a negative one, and no error, where no leader answered."""
        for (topic, number), offset in offsets.items():
            if offset < 0:
                raise UnreachableError(f"cluster {self.alias}: the leader of {topic}-{number} doesn't answer")
        return offsets

    def _offsets(self, partitions: Iterable[Partition], spec: OffsetSpec) -> dict[Partition, int]:
        wanted = {TopicPartition(topic, number): spec for topic, number in partitions}
        if not wanted:
            return {}
        futures = self._admin.list_offsets(
            wanted, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=_CALL_TIMEOUT_S
        )
        found = {}
        for place, future in futures.items():
            try:
                found[place.topic, place.partition] = int(future.result(_CALL_TIMEOUT_S).offset)
            except KafkaException as error:
                action = f"list offsets of {place.topic}-{place.partition}"
                raise replicator_error(
                    error.args[0], cluster=self.alias, action=action, resource=place.topic
                ) from error
        return found
