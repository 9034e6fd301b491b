"""The difficult mix: everything that a topic may legally hold, written by librdkafka, from a seed that is printed.

Twelve partitions over ten topics. `Corpus.write` makes the first part; `Corpus.keep_writing` goes on in a thread and
notes every acknowledgement in a file of its own, so that nothing has to be believed about the clusters.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from tests.support.checker import count_readable
from tests.support.waiting import wait_for

Headers = list[tuple[str, bytes | None]]
ABORTED = b"aborted"  # values of records in aborted transactions begin with it: nobody must ever see one
_DAY_MS = 86_400_000
_REFUSED = frozenset(
    {
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.INVALID_RECORD,
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.POLICY_VIOLATION,
    }
)  # of an error in the test itself, which would look as if copying stood still


class Cluster(Protocol):
    """What a corpus needs of a cluster; both `KafkaCluster` and `BundledCluster` have it."""

    nodes: int

    @property
    def client_config(self) -> dict[str, str]: ...

    def admin(self) -> AdminClient: ...


@dataclass(frozen=True)
class Kind:
    """One topic of the mix: how it is created and how its producer is set."""

    name: str
    partitions: int = 1
    producer: dict[str, Any] = field(default_factory=dict)
    config: dict[str, str] = field(default_factory=dict)
    transactional: bool = False
    compacted: bool = False
    timeless: bool = False  # timestamp -1
    keyed: bool = False  # few keys, never null, so that it can be compacted later
    time: Literal["past", "now", "both"] = "past"  # of its records: an hour ago and on, the clock's, or some of each


_COMPACTED = {"cleanup.policy": "compact", "segment.ms": "1000", "min.cleanable.dirty.ratio": "0.01"}
KINDS = (
    Kind("plain", partitions=2),
    Kind("lz4", producer={"compression.type": "lz4"}),
    Kind("zstd", producer={"compression.type": "zstd"}),
    Kind("gzip", producer={"compression.type": "gzip"}),
    Kind("snappy", producer={"compression.type": "snappy"}),
    Kind("transactions", transactional=True, producer={"compression.type": "lz4"}),
    Kind("compacted", partitions=2, compacted=True, config=_COMPACTED),
    Kind("singles", producer={"batch.num.messages": 1}),
    Kind("appendtime", config={"message.timestamp.type": "LogAppendTime"}),
    Kind("timeless", timeless=True),
)


@dataclass(frozen=True)
class Record:
    """What a producer is given."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int

    def digest(self) -> str:
        """Key, value and headers; the timestamp may be the broker's."""
        return blake2b(repr((self.key, self.value, self.headers)).encode(), digest_size=12).hexdigest()


class RecordMaker:
    """An endless, seeded supply of records; each differs from every other one in key, value or a header."""

    SOME = 50  # records with times of one sort, where both occur

    def __init__(self, rng: random.Random, kind: Kind) -> None:
        self._rng = rng
        self._kind = kind
        self._serial = 0
        self._now_ms = int(time.time() * 1000) - _DAY_MS // 24

    def next(self, *, aborted: bool = False) -> Record:
        """The next one."""
        rng = self._rng
        self._serial += 1
        step_ms = 200 if self._kind.compacted else rng.choice((0, 1, 1, 2, 40, -15))
        self._now_ms = min(self._now_ms + step_ms, int(time.time() * 1000))  # brokers refuse times an hour ahead
        time_ms = self._now_ms
        if self._kind.time == "now" or (self._kind.time == "both" and self._serial // self.SOME % 2):
            time_ms = int(time.time() * 1000)
        mark = f"{self._kind.name}-{self._serial}".encode()
        key = rng.choice((None, b"", mark, f"customer-{rng.randrange(40)}".encode()))
        if self._kind.compacted or self._kind.keyed:
            key = f"customer-{rng.randrange(25)}".encode()
        value = rng.choice(
            (None, b"", mark, mark + rng.randbytes(rng.randrange(300)), mark + b"~" * rng.randrange(2000))
        )
        headers: Headers = []
        if rng.random() < 0.3:
            headers = [("trace", rng.choice((None, b"", rng.randbytes(8)))), ("trace", b"again"), ("größe", b"\x00")]
        if not (value or (key and key == mark)):
            headers.append(("serial", mark))
        if aborted:
            value = ABORTED + mark
        return Record(key, value, headers, -1 if self._kind.timeless else time_ms)


class Corpus:
    """The mix on one cluster, or other `kinds`. Topics are `<prefix>-<kind>`; `scale` multiplies the first part."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        seed: int | None = None,
        prefix: str = "mix",
        scale: int = 1,
        kinds: Sequence[Kind] = KINDS,
    ) -> None:
        self.seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
        self._cluster = cluster
        self._prefix = prefix
        self._scale = scale
        self._kinds = kinds
        rng = random.Random(self.seed)
        self._makers = {kind.name: RecordMaker(random.Random(rng.random()), kind) for kind in kinds}
        self._rng = random.Random(rng.random())
        self._producers: dict[str, Producer] = {}
        self.acknowledged = AckFile(None)
        self.background: BackgroundWriter | None = None
        print(f"corpus {prefix}: seed {self.seed}")

    @property
    def topics(self) -> dict[str, int]:
        """Topic name -> partitions."""
        return {self._topic(kind): kind.partitions for kind in self._kinds}

    def create_topics(self) -> None:
        """Create those that don't exist; nothing in them expires, whatever its timestamp says."""
        copies = min(3, self._cluster.nodes)
        new = [
            NewTopic(self._topic(k), k.partitions, copies, config={"retention.ms": "-1", **k.config})
            for k in self._kinds
        ]
        admin = self._cluster.admin()  # must outlive its futures
        there = admin.list_topics(timeout=10).topics
        for future in admin.create_topics([topic for topic in new if topic.topic not in there]).values():
            future.result(30)

    def write(self) -> None:
        """Create the topics and write the first part, with holes in the compacted ones; nothing compacts after it."""
        self.create_topics()
        for kind in self._kinds:
            self._write_some(kind, 40 * self._scale * kind.partitions)
        first = self._kinds[0]
        big = self._makers[first.name].next()
        big = Record(b"big", self._rng.randbytes(900_000), big.headers, big.timestamp_ms)
        self._send(self._producer(first), first, 0, big)
        self.flush()
        if compacted := [kind for kind in self._kinds if kind.compacted]:
            self._compact(compacted)

    def write_round(self) -> None:
        """A few more records into every topic."""
        for kind in self._kinds:
            self._write_some(kind, self._rng.randrange(1, 12) * kind.partitions)

    def flush(self) -> None:
        """Wait until everything written is acknowledged; AssertionError if it isn't within a minute."""
        for name, producer in self._producers.items():
            left = producer.flush(60)
            assert left == 0, f"{left} records of {name} were never acknowledged"

    def keep_writing(self, acks: Path, *, pause_s: float = 0.02) -> BackgroundWriter:
        """Go on with rounds in a thread, until the returned writer is stopped (it is a context manager)."""
        self.acknowledged = AckFile(acks)
        self.background = BackgroundWriter(self, pause_s)
        return self.background

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _topic(self, kind: Kind) -> str:
        return f"{self._prefix}-{kind.name}"

    def _producer(self, kind: Kind, role: str = "") -> Producer:
        name = kind.name + role
        if name not in self._producers:
            config = {
                **self._cluster.client_config,
                "enable.idempotence": True,
                "linger.ms": 10,
                "delivery.timeout.ms": 60_000,
                "socket.timeout.ms": 10_000,
                "reconnect.backoff.max.ms": 500,
                **kind.producer,
            }
            if role:
                config |= {"transactional.id": f"{self._prefix}{role}-{self.seed}", "transaction.timeout.ms": 60_000}
            producer = Producer(config)
            if role:
                producer.init_transactions(60)
            self._producers[name] = producer
        return self._producers[name]

    def _send(self, producer: Producer, kind: Kind, partition: int, record: Record, *, note: bool = True) -> Delivery:
        delivery = Delivery(self.acknowledged if note else None, record)
        topic = self._topic(kind)
        while True:
            try:
                producer.produce(
                    topic,
                    record.value,
                    record.key,
                    partition,
                    on_delivery=delivery,
                    timestamp=record.timestamp_ms,
                    headers=record.headers or None,
                )
            except BufferError:
                producer.poll(0.1)
            else:
                producer.poll(0)
                return delivery

    def _write_some(self, kind: Kind, count: int) -> None:
        maker = self._makers[kind.name]
        if not kind.transactional:
            producer = self._producer(kind)
            for index in range(count):
                self._send(producer, kind, index % kind.partitions, maker.next())
                if kind.compacted and index % 20 == 19:
                    producer.flush(30)  # several batches, so that their timestamps can roll segments
            return
        while count > 0:
            size = self._rng.randrange(1, 12)
            self._transaction(kind, size, commit=self._rng.random() < 0.6)
            self._send(self._producer(kind), kind, 0, maker.next())  # one that is in no transaction, in between
            count -= size + 1

    def _transaction(self, kind: Kind, size: int, *, commit: bool) -> None:
        """One transaction; an abortable error makes it an aborted one, as with any careful application."""
        producer, maker = self._producer(kind, "-txn"), self._makers[kind.name]
        deliveries = []
        producer.begin_transaction()
        try:
            for _ in range(size):
                record = maker.next(aborted=not commit)
                deliveries.append(self._send(producer, kind, 0, record, note=False))
            if commit:
                _until_answered(producer.commit_transaction)
                for delivery in deliveries:
                    delivery.note(self.acknowledged)
                return
            producer.flush(30)  # so that the aborted records do reach the log
        except KafkaException as error:
            if not error.args[0].txn_requires_abort():
                raise
        _until_answered(producer.abort_transaction)

    def _compact(self, compacted: Sequence[Kind]) -> None:
        for kind in compacted:
            places = [TopicPartition(self._topic(kind), partition) for partition in range(kind.partitions)]
            written = {place.partition: self._end(place) for place in places}
            seen: dict[int, int] = {}

            def cleaned(places: list[TopicPartition] = places, seen: dict[int, int] = seen) -> bool:
                now = {p.partition: count_readable(self._cluster.client_config, p.topic, p.partition) for p in places}
                settled = now == seen
                seen |= now
                return settled and all(now[n] < written[n] for n in now)  # noqa: B023 - called within this turn only

            wait_for(cleaned, within=40, every=0.5, what=f"{self._topic(kind)} was compacted")
        stop = {"min.compaction.lag.ms": str(30 * _DAY_MS), "segment.ms": str(30 * _DAY_MS)}
        changes = [ConfigEntry(k, v, incremental_operation=AlterConfigOpType.SET) for k, v in stop.items()]
        resources = [ConfigResource(ResourceType.TOPIC, self._topic(k), incremental_configs=changes) for k in compacted]
        admin = self._cluster.admin()
        for future in admin.incremental_alter_configs(resources).values():
            future.result(30)

    def _end(self, place: TopicPartition) -> int:
        admin = self._cluster.admin()
        future = admin.list_offsets({place: OffsetSpec.latest()})[place]
        return int(future.result(30).offset)


class Delivery:
    """A delivery callback that notes an acknowledgement, at once or when its transaction is committed."""

    def __init__(self, acks: AckFile | None, record: Record) -> None:
        self._acks = acks
        self._record = record
        self._message: tuple[str, int, int] | None = None

    def __call__(self, error: KafkaError | None, message: Message) -> None:
        if error is not None and error.code() in _REFUSED:
            raise AssertionError(f"the source refuses a record of this mix: {error}")
        if error is None:
            self._message = (message.topic(), message.partition(), message.offset())
            if self._acks is not None:
                self.note(self._acks)

    def note(self, acks: AckFile) -> None:
        """Write it down."""
        if self._message is not None:
            acks.note(*self._message, self._record.digest())


class AckFile:
    """Acknowledged records, one JSON array `[topic, partition, offset, digest]` a line; without a path only counted."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.count = 0
        self._lock = threading.Lock()
        self._file = path.open("a", buffering=1) if path else None

    def note(self, topic: str, partition: int, offset: int, digest: str) -> None:
        """Add one."""
        with self._lock:
            self.count += 1
            if self._file:
                self._file.write(json.dumps([topic, partition, offset, digest]) + "\n")

    def read(self) -> Iterator[tuple[str, int, int, str]]:
        """All that were noted."""
        if self.path:
            for line in self.path.read_text().splitlines():
                topic, partition, offset, digest = json.loads(line)
                yield topic, partition, offset, digest

    def close(self) -> None:
        """No more are coming."""
        if self._file:
            self._file.close()


class BackgroundWriter:
    """Rounds of a corpus in a thread. `stop` flushes, and raises what went wrong in the thread."""

    def __init__(self, corpus: Corpus, pause_s: float) -> None:
        self._corpus = corpus
        self._pause_s = pause_s
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self.rounds = 0
        self._thread = threading.Thread(target=self._run, name="corpus", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self.stop()
        else:
            self._stopping.set()
            self._thread.join(90)
            print(f"{self.rounds} rounds were written; what went wrong with that: {self._failure!r}")

    def check(self) -> None:
        """Raise what has ended the thread, if anything has."""
        if self._failure is not None:
            raise RuntimeError("nothing is written any more") from self._failure

    def stop(self) -> None:
        """End the thread, wait for all acknowledgements."""
        self._stopping.set()
        self._thread.join(150)
        assert not self._thread.is_alive(), "the background producer hangs"
        if self._failure:
            raise self._failure
        self._corpus.flush()
        self._corpus.acknowledged.close()

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self._pause_s):
                self._corpus.write_round()
                self.rounds += 1
        except BaseException as error:  # noqa: BLE001 - handed to whoever stops the thread
            self._failure = error


def _until_answered(finish: Any) -> None:
    """Commit or abort, again while the broker says that this may be tried again."""
    deadline = time.monotonic() + 90
    while True:
        try:
            finish(20)
            return
        except KafkaException as error:
            if not error.args[0].retriable() or time.monotonic() > deadline:
                raise
