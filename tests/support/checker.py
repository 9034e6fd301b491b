"""An independent judge of a copy: reads both sides with librdkafka and compares every committed record.

It shares no code with the product. `compare_partition` is the judgement and takes plain lists, so that it can itself
be tested with planted loss, duplicates, swaps, rewinds and changed bytes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from confluent_kafka import TIMESTAMP_CREATE_TIME, Consumer, KafkaError, KafkaException, Message, TopicPartition

READ_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Seen:
    """One record as a consumer sees it. The timestamp is the time alone: what type it had is `create_time`."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp_ms: int
    create_time: bool = True

    def content(self) -> tuple[object, ...]:
        """What has to be equal on both sides."""
        return (self.key, self.value, self.headers, self.timestamp_ms)

    def digest(self) -> str:
        """As the corpus notes it with an acknowledgement: without the timestamp."""
        return blake2b(repr((self.key, self.value, list(self.headers))).encode(), digest_size=12).hexdigest()

    def __str__(self) -> str:
        value = self.value if self.value is None or len(self.value) < 60 else self.value[:57] + b"..."
        return f"@{self.offset} key={self.key!r} value={value!r} headers={self.headers!r} at {self.timestamp_ms}"


@dataclass
class Verdict:
    """What a comparison found. `problems` empty: the copy is good."""

    records: int = 0
    duplicates: int = 0
    rewinds: int = 0
    problems: list[str] = field(default_factory=list)

    def __iadd__(self, other: Verdict) -> Verdict:
        self.records += other.records
        self.duplicates += other.duplicates
        self.rewinds += other.rewinds
        self.problems += other.problems
        return self


def compare_partition(
    where: str,
    source: Sequence[Seen],
    target: Sequence[Seen],
    *,
    rewinds: int = 0,
    interleaved: bool = False,
    window: int = 50_000,
) -> Verdict:
    """Judge one partition: every source record once, in order, equal in content.

    `rewinds` is how often the target may jump back, as at-least-once delivery does after a crash: to a record at most
    `window` records back, from where everything follows again without a gap. Nothing may ever jump forward, but for
    this: with `interleaved` a jump back may end anywhere and the copy goes on where it was, as when a worker that was
    suspended writes once more what it had in flight, while its successor is already writing.
    """
    verdict = Verdict(records=len(source))
    contents = [record.content() for record in source]
    places: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for index, content in enumerate(contents):
        places[content].append(index)
    positions = {0}  # in `source`, of the record that has to come next; several while equal records leave it open
    furthest = 0
    for record in target:
        if not record.create_time:
            verdict.problems.append(f"{where}: target {record} carries LogAppendTime")
            return verdict
        content = record.content()
        following = {p + 1 for p in positions if p < len(contents) and contents[p] == content}
        if not following:
            following = {p + 1 for p in places.get(content, ()) if p < furthest}
            if not following and interleaved and furthest < len(contents) and contents[furthest] == content:
                positions = {furthest + 1}
                furthest += 1
                continue
            if not following:
                expected = source[furthest] if furthest < len(source) else "the end"
                verdict.problems.append(f"{where}: target has {record} where source has {expected}")
                return verdict
            verdict.rewinds += 1
            if furthest - max(following) >= window:
                verdict.problems.append(f"{where}: target {record} jumps back {furthest - max(following)} records")
                return verdict
        positions = following
        furthest = max(furthest, *following)
    if furthest < len(source):
        missing = len(source) - furthest
        verdict.problems.append(f"{where}: target ends {missing} records early, before source {source[furthest]}")
    elif len(source) not in positions and not interleaved:
        verdict.problems.append(f"{where}: target jumped back and didn't come forward again")
    verdict.duplicates = len(target) - furthest
    if verdict.rewinds > rewinds:
        verdict.problems.append(f"{where}: target jumps back {verdict.rewinds} times, {rewinds} allowed")
    return verdict


def read_partition(config: Mapping[str, str], topic: str, partition: int) -> list[Seen]:
    """Every committed record of a partition, from its start to the end it had when the call was made."""
    return list(_committed(config, topic, partition))


def count_readable(config: Mapping[str, str], topic: str, partition: int) -> int:
    """How many of them there are."""
    return sum(1 for _ in _committed(config, topic, partition))


def compare_topics(
    source: Mapping[str, str],
    target: Mapping[str, str],
    topics: Mapping[str, int],
    *,
    rename: str = "{}",
    rewinds: int = 0,
    interleaved: bool = False,
    acknowledged: Iterable[tuple[str, int, int, str]] = (),
) -> Verdict:
    """Compare whole topics (name -> partitions) of two clusters, given as librdkafka settings.

    `rename` makes the target's topic name, for example `us.{}`. `acknowledged` are `(topic, partition, offset, digest)`
    that producers were told: the source must still have every one of them.
    """
    assert (source["bootstrap.servers"], "{}") != (target["bootstrap.servers"], rename), "compares a topic with itself"
    acks: dict[tuple[str, int], dict[int, str]] = defaultdict(dict)
    for topic, partition, offset, digest in acknowledged:
        acks[topic, partition][offset] = digest
    verdict = Verdict()
    for topic, partitions in topics.items():
        for partition in range(partitions):
            where = f"{topic}-{partition}"
            written = read_partition(source, topic, partition)
            copied = read_partition(target, rename.format(topic), partition)
            verdict += compare_partition(where, written, copied, rewinds=rewinds, interleaved=interleaved)
            by_offset = {record.offset: record for record in written}
            for offset, digest in acks[topic, partition].items():
                record = by_offset.get(offset)
                if record is None or record.digest() != digest:
                    verdict.problems.append(f"{where}: acknowledged record at {offset} isn't on the source: {record}")
    return verdict


def _committed(config: Mapping[str, str], topic: str, partition: int) -> Iterator[Seen]:
    consumer = Consumer(
        {
            **config,
            "group.id": "independent-checker",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "check.crcs": True,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 50,
            "message.max.bytes": 100_000_000,
        }
    )
    try:
        place = TopicPartition(topic, partition)
        low, end = consumer.get_watermark_offsets(place, timeout=READ_TIMEOUT_S)
        consumer.assign([TopicPartition(topic, partition, low)])
        while low < end:
            message = consumer.poll(READ_TIMEOUT_S)
            if message is None:
                raise AssertionError(f"reading {topic}-{partition} stands still before its end {end}")
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:  # also behind markers and aborted records
                    return
                raise KafkaException(error)
            if message.offset() >= end:
                return
            yield _seen(message)
            if message.offset() + 1 >= end:
                return
    finally:
        consumer.close()


def _seen(message: Message) -> Seen:
    kind, timestamp_ms = message.timestamp()
    return Seen(
        offset=message.offset(),
        key=message.key(),
        value=message.value(),
        headers=tuple(message.headers() or ()),
        timestamp_ms=timestamp_ms,
        create_time=kind == TIMESTAMP_CREATE_TIME,
    )
