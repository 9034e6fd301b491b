"""A link's control topic from outside of the workers: for verbs that give orders and wait for answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from replicator.config.librdkafka import require_token
from replicator.errors import UnreachableError
from replicator.ledger.client_errors import is_of_unused_group, replicator_error
from replicator.ledger.lanes import control_topic
from replicator.ledger.log import KeyValue

REQUEST_TIMEOUT_S = 10.0
DELIVERY_S = 15.0
READ_LIMIT_S = 30.0
_BATCH = 1_000
_POLL_S = 0.2


class ControlClient:
    """Reads on where it stopped, and appends. Blocking; for one thread; a context manager that disconnects."""

    def __init__(self, client_properties: dict[str, Any], link: str, *, cluster: str) -> None:
        self._topic = control_topic(link)
        self._link = link
        self._cluster = cluster
        self._properties = client_properties
        self._next = 0
        self._producer: Producer | None = None  # one for all writes: each new one takes half a second to begin
        require_token(client_properties, cluster)
        try:
            self._consumer = Consumer(
                {
                    **client_properties,
                    "group.id": f"replicator.{link}.reader",  # librdkafka wants one; it is never used
                    "enable.auto.commit": False,
                    "auto.offset.reset": "earliest",
                    "enable.partition.eof": True,
                    "fetch.wait.max.ms": 100,
                    "max.poll.interval.ms": 86_400_000,  # it isn't a member of a group, and may pause between reads
                }
            )
            self._consumer.assign([TopicPartition(self._topic, 0, 0)])
        except KafkaException as error:
            raise self._error(error.args[0], "use the cluster's settings") from error

    def exists(self) -> bool:
        """Whether the link has a control topic: it has, once it has run."""
        try:
            # All topics: asking for one by name could create it where brokers create what is asked for.
            return self._topic in self._consumer.list_topics(timeout=REQUEST_TIMEOUT_S).topics
        except KafkaException as error:
            raise self._error(error.args[0], f"list topics at {self._properties['bootstrap.servers']}") from error

    def read(self) -> list[tuple[bytes | None, bytes | None]]:
        """What was added since the last call, up to where the topic ends now. ReplicatorError if that can't be read."""
        pairs: list[tuple[bytes | None, bytes | None]] = []
        deadline = time.monotonic() + READ_LIMIT_S
        while True:
            for message in self._consumer.consume(_BATCH, _POLL_S):
                error = message.error()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    self._next = max(self._next, message.offset())
                elif error is not None:
                    if not is_of_unused_group(error):
                        raise self._error(error, f"read {self._topic}")
                else:
                    pairs.append((message.key(), message.value()))
                    self._next = message.offset() + 1
            if self._next >= self._end():
                return pairs
            if time.monotonic() > deadline:
                raise UnreachableError(
                    f"cluster {self._cluster}: topic {self._topic} wasn't read within {READ_LIMIT_S:g} s"
                )

    def write(self, pairs: Sequence[KeyValue]) -> None:
        """Append these; UnreachableError if that isn't known to be done within a few seconds."""
        failures: list[Any] = []
        try:
            if self._producer is None:
                self._producer = Producer({**self._properties, "acks": "all", "enable.idempotence": True})
            for key, value in pairs:
                self._producer.produce(
                    self._topic, value, key, partition=0, on_delivery=lambda error, _: failures.append(error)
                )
            self._producer.flush(DELIVERY_S)
        except KafkaException as error:
            failures.append(error)
        refused = [failure for failure in failures if failure is not None]
        if refused or len(failures) < len(pairs):
            self._producer = None  # it may have something left that nobody wants any more
            why = refused[0] if refused else "no answer in time"
            raise UnreachableError(
                f"link {self._link}: the command can't be written to {self._topic} of cluster {self._cluster}: {why}"
            )

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _end(self) -> int:
        try:
            return int(self._consumer.get_watermark_offsets(TopicPartition(self._topic, 0), REQUEST_TIMEOUT_S)[1])
        except KafkaException as error:
            raise self._error(error.args[0], f"read {self._topic}") from error

    def _error(self, error: KafkaError, action: str) -> Exception:
        return replicator_error(error, cluster=self._cluster, action=action, resource=self._topic)
