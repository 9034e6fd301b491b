"""From a consumer group to objects.

The archive itself says how far it is: on assignment a partition begins behind its last object. The group is there to
share partitions among processes; its positions are committed only to show lag, and nothing is read from them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from confluent_kafka import (
    OFFSET_BEGINNING,
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from examples.archive.chunk import Chunk, Record
from examples.archive.counters import Counters
from examples.archive.decoding import Decoder
from examples.archive.errors import GapError, Overtaken
from examples.archive.pack import pack
from examples.archive.settings import Settings
from examples.archive.store import Store

_POLL_S = 0.2
_QUESTION_S = 15.0
_log = structlog.get_logger("archive")


@dataclass
class _Owned:
    """One partition that the group has given to this process."""

    position: int  # OFFSET_BEGINNING, or where the next object begins to read
    at_end: bool = False  # the end has been seen since assignment
    chunk: Chunk | None = None
    checked: bool = False  # leftovers of a predecessor were looked for


class Archiver:
    """Reads what the group assigns and adds it to the store; `run` returns when `stop` says so, all being written."""

    def __init__(
        self, settings: Settings, store: Store, decoders: Mapping[str, Decoder],
        counters: Counters, *, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._store = store
        self._decoders = decoders
        self._counters = counters
        self._clock = clock
        self._owned: dict[tuple[str, int], _Owned] = {}
        self._size = 0
        self._consumer = Consumer(
            {
                "queued.max.messages.kbytes": "16384",  # of all partitions; librdkafka's own buffer
                "isolation.level": "read_committed",
                "partition.assignment.strategy": "cooperative-sticky",
                **settings.kafka,
                "group.id": settings.group,
                "enable.auto.commit": "false",
                "enable.partition.eof": "true",
                "auto.offset.reset": "error",  # nothing is passed over silently
                "on_commit": self._on_commit,
            }
        )

    def run(self, stop: Callable[[], bool], *, until_end: bool = False) -> None:
        """Archive until `stop`, or `until_end`: until all that was there at assignment is archived.

        Errors end it: GapError, botocore's, KafkaException. What was open then is read again by the next start.
        """
        self._consumer.subscribe(
            list(self._settings.topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )
        try:
            while not stop() and not (until_end and self._at_end()):
                message = self._consumer.poll(_POLL_S)
                if message is not None:
                    self._take(message)
                self._flush_due()
            for place in list(self._owned):
                self._flush(place, leaving=True)
        finally:
            self._consumer.close()

    def _take(self, message: Any) -> None:
        error = message.error()
        place = (message.topic(), message.partition())
        if error is not None:
            if error.code() == KafkaError._AUTO_OFFSET_RESET and place in self._owned:
                self._gap(place, error)
            elif error.code() == KafkaError._PARTITION_EOF:
                self._saw_end(place)
            elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                _log.warning("no such topic yet", why=error.str())
            elif not error.retriable():
                raise KafkaException(error)
            return
        owned = self._owned.get(place)
        if owned is None or message.offset() < owned.position:
            return
        record = _record(message)
        limits = self._settings.objects
        if owned.chunk is not None and not owned.chunk.takes(record) and not self._flush(place):
            return  # overtaken: what is to be archived here is read again
        if owned.chunk is None:
            owned.chunk = Chunk(*place, opened_at=self._clock())
        owned.chunk.add(record)
        self._size += record.size
        if len(owned.chunk.records) >= limits.max_records or owned.chunk.size >= limits.max_bytes:
            self._flush(place)
        while self._size > self._settings.memory_bytes:
            self._flush(max(self._owned, key=lambda each: chunk.size if (chunk := self._owned[each].chunk) else 0))

    def _flush_due(self) -> None:
        oldest = self._clock() - self._settings.objects.max_seconds
        for place, owned in list(self._owned.items()):
            if owned.chunk is not None and owned.chunk.opened_at <= oldest:
                self._flush(place)
        self._counters.buffered_bytes.set(self._size)

    def _flush(self, place: tuple[str, int], *, leaving: bool = False) -> bool:
        """Write what is open; False if another process was first, and the partition is read from where that has got."""
        owned = self._owned[place]
        chunk, owned.chunk = owned.chunk, None
        if chunk is None:
            return True
        topic, partition = place
        packed = pack(chunk, self._decoders[topic])
        self._size -= chunk.size
        try:
            self._store.add(chunk, packed)
        except Overtaken as error:
            self._counters.overtaken.inc()
            _log.warning("overtaken", topic=topic, partition=partition, first=chunk.first, why=str(error))
            if not leaving:
                self._read_from(place, self._store.position(*place) or 0)
            return False
        if not owned.checked:
            owned.checked = True
            self._store.remove_leftovers(chunk)
        owned.position = chunk.following
        self._counters.objects.labels(topic).inc()
        self._counters.records.labels(topic).inc(packed.good)
        self._counters.dead_letters.labels(topic).inc(packed.dead)
        _log.info(
            "archived",
            topic=topic,
            partition=partition,
            first=chunk.first,
            next=chunk.following,
            records=packed.good,
            dead_letters=packed.dead,
        )
        self._commit(TopicPartition(topic, partition, chunk.following), wait=leaving)
        return True

    def _commit(self, position: TopicPartition, *, wait: bool) -> None:
        try:
            self._consumer.commit(offsets=[position], asynchronous=not wait)
        except KafkaException as error:  # only lag is wrong until the next one
            self._counters.commit_failures.inc()
            _log.warning("not committed", topic=position.topic, partition=position.partition, why=str(error))

    def _on_commit(self, error: KafkaError | None, positions: list[TopicPartition]) -> None:
        if error is not None:
            self._counters.commit_failures.inc()
            _log.warning("not committed", why=str(error))

    def _gap(self, place: tuple[str, int], error: KafkaError) -> None:
        topic, partition = place
        owned = self._owned[place]
        low, high = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_QUESTION_S)
        said = f"{topic}-{partition}: the archive goes on at {owned.position}, and the topic has {low} to {high}"
        if self._settings.on_gap == "stop" or owned.position > high:
            what = (
                "the topic was made anew: archive it under another prefix"
                if owned.position > high
                else ("records are lost to the archive: on_gap: continue goes on behind the hole")
            )
            raise GapError(f"{said} ({error.str()}); {what}")
        _log.warning("gap", topic=topic, partition=partition, first=owned.position, next=low)
        self._read_from(place, low)

    def _saw_end(self, place: tuple[str, int]) -> None:
        if place in self._owned:
            self._owned[place].at_end = True

    def _at_end(self) -> bool:
        return bool(self._owned) and all(owned.at_end for owned in self._owned.values())

    def _read_from(self, place: tuple[str, int], position: int) -> None:
        self._owned[place].position = position
        self._consumer.incremental_unassign([TopicPartition(*place)])  # seek() refuses while nothing is being fetched
        self._consumer.incremental_assign([TopicPartition(*place, position)])

    # ---- called by librdkafka within poll() -------------------------------------------------------------------------

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for each in partitions:
            position = self._store.position(each.topic, each.partition)
            each.offset = OFFSET_BEGINNING if position is None else position
            self._owned[each.topic, each.partition] = _Owned(each.offset)
            _log.info("assigned", topic=each.topic, partition=each.partition, first=position)
        consumer.incremental_assign(partitions)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for each in partitions:
            if (each.topic, each.partition) in self._owned:
                self._flush((each.topic, each.partition), leaving=True)
                del self._owned[each.topic, each.partition]

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for each in partitions:
            owned = self._owned.pop((each.topic, each.partition), None)
            if owned is not None and owned.chunk is not None:
                self._size -= owned.chunk.size


def _record(message: Any) -> Record:
    kind, timestamp = message.timestamp()
    headers: tuple[tuple[str, bytes | None], ...] = ()
    broken = None
    try:
        headers = tuple(message.headers() or ())
    except (UnicodeDecodeError, SystemError):  # the client can't show such headers at all
        broken = "a header's name isn't UTF-8; its headers are left out here"
    if kind == TIMESTAMP_NOT_AVAILABLE:
        timestamp = None
    return Record(message.offset(), timestamp, message.key(), message.value(), headers, broken)
