"""Loads offset maps from outside of the workers, with a client of its own: for `translate` and its like."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from replicator.config.librdkafka import require_token
from replicator.errors import UnreachableError, WrongStateError
from replicator.ledger.client_errors import is_of_unused_group, replicator_error
from replicator.ledger.codec import LedgerFormatError
from replicator.ledger.entry import Entry
from replicator.ledger.lanes import lane_of, ledger_topic, map_topic
from replicator.ledger.load import entries_from_records
from replicator.ledger.map_chunks import chunks_from_records
from replicator.ledger.moved import moved_from_records
from replicator.ledger.offset_map import OffsetMap

READ_LIMIT_S = 60.0
REQUEST_TIMEOUT_S = 10.0
_BATCH = 1_000
_POLL_S = 0.2
_SETTLE_S = 5.0
_PAUSE_S = 0.2


def map_of(entry: Entry, chunks: dict[int, bytes]) -> OffsetMap:
    """The map of an entry and the chunks that were read with it or later.

    Chunks whose number the entry hasn't reached are left out: what they hold is in the tail too, or they are left over
    from a time before the partition began anew. LedgerFormatError, which names the partition, for what can't be read.
    """
    try:
        known = ((number, value) for number, value in chunks.items() if number < entry.map_chunks)
        return OffsetMap.from_parts(known, entry.map_tail)
    except LedgerFormatError as error:
        raise LedgerFormatError(f"offset map of {entry.topic}-{entry.partition}: {error}") from error


class MapReader:
    """Reads entries and maps of a link, one partition at a time. Writes nothing, joins no group; blocking; for one
    thread at a time."""

    def __init__(self, client_properties: dict[str, Any], link: str, *, cluster: str = "target") -> None:
        self._link = link
        self._cluster = cluster
        self._refused: KafkaError | None = None
        require_token(client_properties, cluster)
        try:
            self._consumer = Consumer(
                {
                    **client_properties,
                    "group.id": f"replicator.{link}.reader",  # librdkafka wants one; it is never used
                    "enable.auto.commit": False,
                    "auto.offset.reset": "earliest",
                    "isolation.level": "read_committed",
                    "enable.partition.eof": True,
                    "fetch.wait.max.ms": 100,
                    "queued.max.messages.kbytes": 16_384,
                    "max.poll.interval.ms": 86_400_000,  # it isn't a member of a group, and may pause between reads
                    "error_cb": self._note_error,
                }
            )
        except KafkaException as error:
            raise self._error(error.args[0], "use the cluster's settings") from error

    def load(self, topic: str, partition: int) -> tuple[Entry, OffsetMap] | None:
        """The entry of a source partition and its map, which knows at least all that the entry does; None without one.

        Raises WrongStateError when the link has no ledger or the map lost its newest chunk, UnreachableError when the
        target doesn't answer in a minute, LedgerFormatError for what can't be read.
        """
        ledger = ledger_topic(self._link)
        lanes = self._partitions(ledger)
        if not lanes:
            raise WrongStateError(
                f"link {self._link}: topic {ledger} doesn't exist on cluster {self._cluster}: the link has never run; "
                "start it with `replicator run`"
            )
        deadline = time.monotonic() + _SETTLE_S
        while True:
            entry, lane = self._entry(ledger, lanes, (topic, partition))
            if entry is None:
                return None
            chunks: dict[int, bytes] = {}
            if entry.map_chunks:
                records = self._read(map_topic(self._link), lane)
                chunks = chunks_from_records(records, (topic, partition)).get((topic, partition), {})
            if not entry.map_chunks or entry.map_chunks - 1 in chunks:
                return entry, map_of(entry, chunks)
            # The newest chunk is never deleted. It may be hidden by a transaction that is open on the map topic alone.
            if time.monotonic() > deadline:
                raise WrongStateError(
                    f"link {self._link}: topic {map_topic(self._link)} on cluster {self._cluster} has lost the newest "
                    f"part of the offset map of {topic}-{partition}: restore the topic; positions can't be translated "
                    "without it"
                )
            time.sleep(_PAUSE_S)

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()

    def _entry(self, ledger: str, lanes: int, key: tuple[str, int]) -> tuple[Entry | None, int]:
        """The entry that holds, in its home lane or where it has moved, and the lane whose map goes with it."""
        lane, last = lane_of(*key, lanes), 0
        found: tuple[Entry | None, int] = None, 0
        for _ in range(lanes):
            records = list(self._read(ledger, lane))
            entry, moved = entries_from_records(records).get(key), moved_from_records(records).get(key)
            if entry is not None:
                return entry, lane
            if moved is None or moved.number <= last:
                break
            found, last, lane = (moved.entry, lane), moved.number, moved.lane
        return found

    def _partitions(self, topic: str) -> int:
        try:
            # All topics: asking for one by name could create it where brokers create what is asked for.
            found = self._consumer.list_topics(timeout=REQUEST_TIMEOUT_S).topics.get(topic)
        except KafkaException as error:
            raise self._error(error.args[0], "list topics") from error
        return 0 if found is None else len(found.partitions)

    def _read(self, topic: str, partition: int) -> Iterator[tuple[bytes | None, bytes | None]]:
        """The (key, value) pairs of a partition, up to where it ends now."""
        deadline = time.monotonic() + READ_LIMIT_S
        try:
            self._consumer.assign([TopicPartition(topic, partition, 0)])
            while time.monotonic() < deadline:
                for message in self._consumer.consume(_BATCH, _POLL_S):
                    error = message.error()
                    if error is None:
                        yield message.key(), message.value()
                    elif error.code() == KafkaError._PARTITION_EOF:
                        return
                    elif not is_of_unused_group(error):
                        raise self._error(error, f"read {topic}", topic)
        except KafkaException as error:
            raise self._error(error.args[0], f"read {topic}", topic) from error
        finally:
            self._consumer.unassign()
        raise UnreachableError(
            f"cluster {self._cluster}: {topic}-{partition} wasn't read within {READ_LIMIT_S:.0f} s: "
            "check that it has a leader"
        )

    def _note_error(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL):
            self._refused = error

    def _error(self, error: KafkaError, action: str, resource: str = "") -> Exception:
        translated = replicator_error(error, cluster=self._cluster, action=action, resource=resource)
        if isinstance(translated, UnreachableError) and self._refused is not None:
            return replicator_error(self._refused, cluster=self._cluster, action=action, resource=resource)
        return translated
