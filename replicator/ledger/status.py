"""What a link is doing, read straight from Kafka: no worker needs to run, or to answer.

The ledger says what was copied, the source says where its partitions end, the group says who the workers are. When the
source can't be reached the rest is still told: in a disaster this is what the operator needs most.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from pydantic import BaseModel, ConfigDict

from replicator.config.librdkafka import client_properties
from replicator.config.models import LinkConfig, Settings
from replicator.errors import AuthenticationError, ReplicatorError, UnreachableError
from replicator.ledger.client_calls import topic_names
from replicator.ledger.client_errors import replicator_error
from replicator.ledger.entry import Entry
from replicator.ledger.lanes import group_id, ledger_topic
from replicator.ledger.reader import LedgerReader
from replicator.ledger.selection import Selection, TopicProblem, select
from replicator.ledger.topic_problem import StoredProblem
from replicator.states import State

REQUEST_TIMEOUT_S = 10.0
PEEK_LIMIT_S = 2.0
PEEK_MAX_PARTITIONS = 200  # more than that aren't asked for the time of their next record
_PEEK_BYTES = 64 * 1024
_UNKNOWN_OFFSET = -1

Key = tuple[str, int]


class _Shown(BaseModel):
    model_config = ConfigDict(frozen=True)


class PartitionStatus(_Shown):
    """One source partition. Offsets are -1, and lags None, where they aren't known."""

    topic: str
    partition: int
    state: str
    reason: str | None
    since: str | None  # ISO 8601, UTC; None before the partition has an entry
    source_end: int  # last stable offset: what a read_committed consumer could read up to
    source_next: int
    target_next: int
    lag: int | None  # records, counted in offsets
    lag_ms: int | None  # age of the first record that isn't copied yet
    detail: str = ""
    next_step: str = ""


class WorkerStatus(_Shown):
    """A worker that is a member of the link's group, and its lanes."""

    member_id: str
    client_id: str
    host: str
    lanes: tuple[int, ...]


class LinkStatus(_Shown):
    """One link. `source_error` says why offsets of the source are missing, if they are."""

    name: str
    source: str
    target: str
    workers: tuple[WorkerStatus, ...]
    partitions: tuple[PartitionStatus, ...]
    source_error: str | None = None


async def read_status(settings: Settings, link: LinkConfig, *, timeout_s: float = REQUEST_TIMEOUT_S) -> LinkStatus:
    """The link's status as of now. Writes nothing. Raises ReplicatorError when the target can't be read.

    A cluster is given up when it doesn't answer a request within `timeout_s`.
    """
    return await asyncio.to_thread(read_status_blocking, settings, link, timeout_s=timeout_s)


def read_status_blocking(settings: Settings, link: LinkConfig, *, timeout_s: float = REQUEST_TIMEOUT_S) -> LinkStatus:
    """`read_status` for code without an event loop."""
    target = _Side(settings, link, link.target, timeout_s)
    target_topics = target.topics()
    workers = target.workers(group_id(link.name))
    lanes = target_topics.get(ledger_topic(link.name), 0)
    entries, problems = _read_ledger(target, link, lanes)
    source = _Side(settings, link, link.source, timeout_s)
    source_error: str | None = None
    ends: dict[Key, int] = {}
    wanted: set[str] = set()
    selection = Selection()
    source_topics: dict[str, int] = {}
    try:
        source_topics = source.topics()
        internal = source.internal
        selection = select(link, {name: name in internal for name in source_topics}, target_topics)
        wanted = selection.remote_names.keys() | selection.problems.keys()
        ends = source.ends((name, p) for name in wanted for p in range(source_topics[name]))
    except ReplicatorError as error:
        source_error = str(error)
    shown = {
        at: entry for at, entry in entries.items() if link.selects(entry.topic) and not _left_over(at, source_topics)
    }
    behind = [(at, entry.source_next) for at, entry in shown.items() if ends.get(at, -1) > entry.source_next >= 0]
    now_ms = int(time.time() * 1000)
    next_times = source.times(behind) if behind else {}
    partitions = [_known(entry, ends.get(at), next_times.get(at), now_ms) for at, entry in shown.items()]
    partitions += [
        _without_entry(name, p, problems.get(name) or _unstored(selection.problems.get(name)), ends.get((name, p)))
        for name in wanted
        for p in range(source_topics[name])
        if (name, p) not in shown
    ]
    return LinkStatus(
        name=link.name,
        source=link.source,
        target=link.target,
        workers=workers,
        partitions=tuple(sorted(partitions, key=lambda at: (at.topic, at.partition))),
        source_error=source_error,
    )


def _left_over(at: Key, source_topics: Mapping[str, int]) -> bool:
    """Whether the entry is of a partition that the topic doesn't have since it was made anew with fewer."""
    topic, partition = at
    return partition >= source_topics.get(topic, partition + 1)


def _read_ledger(target: _Side, link: LinkConfig, lanes: int) -> tuple[dict[Key, Entry], dict[str, StoredProblem]]:
    if lanes == 0:
        return {}, {}
    topic = ledger_topic(link.name)
    ends = {lane: end for (_, lane), end in target.ends((topic, lane) for lane in range(lanes)).items()}
    reader = LedgerReader(target.properties, link.name, lanes, cluster=link.target)
    try:
        return reader.read(ends), reader.problems
    finally:
        reader.close()


def _known(entry: Entry, end: int | None, next_time_ms: int | None, now_ms: int) -> PartitionStatus:
    lag = None if end is None else max(0, end - entry.source_next)
    lag_ms: int | None = 0
    if lag != 0:
        behind_since_ms = entry.record_timestamp_ms if next_time_ms is None else next_time_ms
        lag_ms = max(0, now_ms - behind_since_ms) if lag is not None and behind_since_ms >= 0 else None
    return PartitionStatus(
        topic=entry.topic,
        partition=entry.partition,
        state=entry.state.value,
        reason=None if entry.reason is None else entry.reason.value,
        since=_iso(entry.since_ms),
        source_end=_UNKNOWN_OFFSET if end is None else end,
        source_next=entry.source_next,
        target_next=entry.target_next,
        lag=lag,
        lag_ms=lag_ms,
        detail=entry.detail,
        next_step="" if entry.reason is None else entry.reason.next_step,
    )


def _without_entry(topic: str, partition: int, problem: StoredProblem | None, end: int | None) -> PartitionStatus:
    """A partition that is to be copied and isn't in the ledger yet: new, or hindered by its topic's problem."""
    return PartitionStatus(
        topic=topic,
        partition=partition,
        state=(State.PENDING if problem is None else State.FAULTED).value,
        reason=None if problem is None else problem.reason.value,
        since=None if problem is None or problem.since_ms < 0 else _iso(problem.since_ms),
        source_end=_UNKNOWN_OFFSET if end is None else end,
        source_next=_UNKNOWN_OFFSET,
        target_next=_UNKNOWN_OFFSET,
        lag=None,
        lag_ms=None,
        detail="" if problem is None else problem.detail,
        next_step="" if problem is None else problem.reason.next_step,
    )


def _unstored(problem: TopicProblem | None) -> StoredProblem | None:
    """A problem with the topic's name, which shows before any worker has run."""
    return None if problem is None else StoredProblem(problem.reason, problem.detail, -1)


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Side:
    """One cluster, asked with blocking calls. Errors are ours and name it."""

    def __init__(self, settings: Settings, link: LinkConfig, alias: str, timeout_s: float) -> None:
        self._alias = alias
        self._timeout_s = timeout_s
        self._refused: KafkaError | None = None
        self.internal: frozenset[str] = frozenset()
        self.properties = {
            **client_properties(settings.clusters[alias], client_id=f"replicator-{link.name}-status"),
            "error_cb": self._note_error,
        }
        self._admin: AdminClient | None = None
        try:
            self._admin = AdminClient(self.properties)
        except KafkaException as error:
            raise self._error(error, "use the cluster's settings") from error

    def topics(self) -> dict[str, int]:
        """Partition count by topic; remembers which are internal."""
        try:
            names = topic_names(self._admin, self._timeout_s, lambda: self._refused is not None)
        except KafkaException as error:
            raise self._error(error, "list topics") from error
        counts: dict[str, int] = {}
        internal = set()
        for name, future in self._ask("describe_topics", TopicCollection(names)).items() if names else ():
            try:
                topic = future.result()
            except KafkaException as error:
                if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    continue  # deleted meanwhile
                raise self._error(error, f"describe topic {name}", name) from error
            counts[name] = len(topic.partitions)
            if topic.is_internal:
                internal.add(name)
        self.internal = frozenset(internal)
        return counts

    def ends(self, partitions: Iterable[Key]) -> dict[Key, int]:
        """Last stable offsets. Partitions without a leader are left out."""
        wanted = {TopicPartition(topic, partition): OffsetSpec.latest() for topic, partition in partitions}
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

    def workers(self, group: str) -> tuple[WorkerStatus, ...]:
        """The members of a group; none when it doesn't exist or mayn't be described."""
        try:
            members = self._ask("describe_consumer_groups", [group])[group].result().members
        except KafkaException:
            return ()
        return tuple(
            WorkerStatus(
                member_id=member.member_id,
                client_id=member.client_id,
                host=member.host.removeprefix("/"),
                lanes=tuple(sorted(at.partition for at in member.assignment.topic_partitions)),
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
        if isinstance(replicator_error(error, cluster=self._alias, action="connect"), AuthenticationError):
            self._refused = error

    def _error(self, error: KafkaException, action: str, resource: str = "") -> ReplicatorError:
        if self._admin is not None:
            self._admin.poll(0)  # serves `_note_error`
        translated = replicator_error(error.args[0], cluster=self._alias, action=action, resource=resource)
        if isinstance(translated, UnreachableError) and self._refused is not None:
            return replicator_error(self._refused, cluster=self._alias, action=action, resource=resource)
        return translated
