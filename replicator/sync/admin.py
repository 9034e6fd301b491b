"""Admin: what the syncers ask of a cluster and change there, as asyncio calls over confluent-kafka's AdminClient.

Calls that concern many things answer with a dictionary in which each thing has its value or its own error, so that one
refused topic doesn't hide the others. What concerns the whole cluster (unreachable, wrong password) is raised.
Errors are ours (`replicator.errors`) and name the cluster.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import islice
from typing import Any, Protocol, TypeGuard, TypeVar
from uuid import UUID

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from replicator.config.librdkafka import ADMINISTRATOR, LogIn, needs_token, require_token
from replicator.errors import AuthenticationError, ReplicatorError, UnreachableError
from replicator.ledger.client_calls import topic_names, topic_uuid
from replicator.ledger.client_errors import NoLeaderError, RefusedError, replicator_error

T = TypeVar("T")
K = TypeVar("K")

REQUEST_TIMEOUT_S = 10.0
_CONFIG_CHUNK = 200  # topics per DescribeConfigs request: some 40 settings each come back
_AUTHENTICATION_GRACE_S = 2.0  # other brokers may still accept us while one refuses
_POLL_S = 0.2
_NO_LEADER_S = 30.0


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as its cluster describes it. `topic_id` is UUID(int=0) where the broker has none."""

    name: str
    topic_id: UUID
    partitions: int
    replication_factor: int
    internal: bool = False


class NewTopicSpec(Protocol):
    """What creating a topic needs: `TopicSpec`, or anything of its shape."""

    @property
    def name(self) -> str: ...
    @property
    def partitions(self) -> int: ...
    @property
    def replication_factor(self) -> int: ...
    @property
    def configs(self) -> Mapping[str, str]: ...


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic to be created."""

    name: str
    partitions: int
    replication_factor: int
    configs: Mapping[str, str] = field(default_factory=dict)


class ConfigSource(IntEnum):
    """Where a setting's value comes from, with the protocol's numbers."""

    UNKNOWN = 0
    TOPIC = 1
    DYNAMIC_BROKER = 2
    DYNAMIC_DEFAULT_BROKER = 3
    STATIC_BROKER = 4
    DEFAULT = 5


@dataclass(frozen=True, slots=True)
class ConfigValue:
    """A topic's setting in force."""

    value: str | None
    source: ConfigSource
    read_only: bool = False
    sensitive: bool = False


@dataclass(frozen=True, slots=True)
class Broker:
    """A node of the cluster."""

    id: int
    host: str
    port: int
    rack: str | None


@dataclass(frozen=True, slots=True)
class Cluster:
    """The cluster itself."""

    cluster_id: str
    brokers: tuple[Broker, ...]


@dataclass(frozen=True, slots=True)
class ListedOffset:
    """The answer to a ListOffsets query; `timestamp` and `leader_epoch` are -1 where the broker doesn't say."""

    offset: int
    timestamp: int = -1
    leader_epoch: int = -1


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A member of a consumer group and what it was assigned."""

    member_id: str
    client_id: str
    host: str
    assignment: frozenset[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group; `state` is Kafka's name of it, in capitals."""

    group_id: str
    state: str
    members: tuple[GroupMember, ...]


Answers = dict[K, T | ReplicatorError]
EARLIEST = OffsetSpec.earliest()
LATEST = OffsetSpec.latest()


def at_timestamp(timestamp_ms: int) -> Any:
    """The query for the first record at or after a time; the answer's offset is -1 when there's none."""
    return OffsetSpec.for_timestamp(timestamp_ms)


class Admin:
    """Calls to one cluster, named `cluster` in errors; its properties as `replicator.config.librdkafka` makes them."""

    def __init__(
        self, client_properties: dict[str, Any], cluster: str, *, timeout_s: float = REQUEST_TIMEOUT_S
    ) -> None:
        self.cluster = cluster
        self._timeout_s = timeout_s
        self._refusal: ReplicatorError | None = None  # what authentication answered last
        self._connecting = ""  # what the last failed connection said
        self._log_in = LogIn(client_properties)
        self._properties = {**client_properties, **ADMINISTRATOR, "error_cb": self._note_error}
        self._made: AdminClient | None = None
        self._client_since = time.monotonic()
        self._by_token = needs_token(client_properties)
        self._stale = False  # the next call makes another client
        self._making: asyncio.Future[None] | None = None

    @property
    def _client(self) -> AdminClient:
        """Made when it is needed: only one of a link's workers changes anything."""
        if self._made is None:
            self._made, self._client_since = self._new_client(), time.monotonic()
        elif self._log_in.outdated:
            self._replace_client(0)  # telling it wouldn't do: it would rest first from having been refused
            self._refusal = None
        return self._made

    def make_ready(self) -> None:
        """Begin to make the client where that takes a second, so that who changes something needn't wait for it."""
        if self._by_token and self._made is None:
            making = self._begin_making()
            making.add_done_callback(lambda made: made.cancelled() or made.exception())  # whoever needs it tries again

    async def _connected(self) -> AdminClient:
        """The client. One that logs in with tokens is made in another thread: its constructor rests for a second."""
        if self._by_token and (self._made is None or self._stale or self._log_in.outdated):
            await asyncio.shield(self._begin_making())
        return self._client

    def _begin_making(self) -> asyncio.Future[None]:
        if self._making is None:
            self._making = asyncio.ensure_future(self._make())
        return self._making

    async def _make(self) -> None:
        try:
            made = await asyncio.to_thread(self._new_client)
            self._exchange(made)
            self._stale, self._refusal = False, None
        finally:
            self._making = None

    def _new_client(self) -> AdminClient:
        require_token(self._properties, self.cluster)
        try:
            return AdminClient({**self._properties, **self._log_in.properties()})
        except KafkaException as error:
            raise self._error(error, "use the cluster's settings") from error

    def _replace_client(self, after_s: float) -> None:
        """A new client, if this one is so old: it asks anew.

        librdkafka waits for a controller that is gone until the request's time is over, and then for the same one
        again: its metadata isn't refreshed by that. It can stay wrong about leaders, too.
        """
        now = time.monotonic()
        if now - self._client_since < after_s:
            return
        if self._by_token:
            self._stale = True
        else:
            self._exchange(self._new_client())

    def _exchange(self, new: AdminClient) -> None:
        former, self._made, self._client_since = [self._made], new, time.monotonic()
        # Others may wait for answers of the former one; ending it may take a moment.
        ending = threading.Timer(self._timeout_s, former.clear)
        ending.daemon = True
        ending.start()

    # ---- asking ----------------------------------------------------------------------------------------------------

    async def describe_cluster(self) -> Cluster:
        """The cluster's id and brokers."""
        answer = await self._result(
            (await self._connected()).describe_cluster(request_timeout=self._timeout_s), "describe the cluster"
        )
        brokers = tuple(Broker(node.id, node.host, node.port, node.rack) for node in answer.nodes)
        return Cluster(answer.cluster_id or "", brokers)

    async def list_topics(self) -> dict[str, Topic]:
        """All topics that we may see, internal ones too. One that is deleted meanwhile is left out."""
        action = "list topics"
        listing = asyncio.get_running_loop().run_in_executor(
            None, topic_names, await self._connected(), self._timeout_s, lambda: self._refusal is not None
        )
        names = await self._result(listing, action)
        answers = await self.describe_topics(names)
        return {name: answer for name, answer in answers.items() if isinstance(answer, Topic)}

    async def describe_topics(self, names: Iterable[str]) -> Answers[str, Topic]:
        """Each topic, or why it can't be described; topics that don't exist are left out."""
        names = list(names)
        if not names:
            return {}
        futures = (await self._connected()).describe_topics(TopicCollection(names), request_timeout=self._timeout_s)
        answers = await self._results(futures, "describe topic {}", _topic)
        return {name: answer for name, answer in answers.items() if not _is_unknown_topic(answer)}

    async def describe_configs(self, topics: Iterable[str]) -> Answers[str, dict[str, ConfigValue]]:
        """The settings in force of each topic, by name."""
        answers: Answers[str, dict[str, ConfigValue]] = {}
        remaining = iter(list(topics))
        while chunk := list(islice(remaining, _CONFIG_CHUNK)):
            resources = [ConfigResource(ResourceType.TOPIC, name) for name in chunk]
            futures = (await self._connected()).describe_configs(resources, request_timeout=self._timeout_s)
            named = {resource.name: future for resource, future in futures.items()}
            answers |= await self._results(named, "describe the settings of topic {}", _configs)
        return answers

    async def describe_broker(self, node: int) -> dict[str, ConfigValue]:
        """The settings in force of one broker, by name."""
        futures = (await self._connected()).describe_configs(
            [ConfigResource(ResourceType.BROKER, str(node))], request_timeout=self._timeout_s
        )
        (future,) = futures.values()
        return _configs(await self._result(future, f"describe the settings of broker {node}"))

    async def list_offsets(
        self, queries: Mapping[tuple[str, int], Any], *, committed: bool = False
    ) -> Answers[tuple[str, int], ListedOffset]:
        """Answers to EARLIEST, LATEST or `at_timestamp` queries; `committed`: LATEST is the last stable offset."""
        if not queries:
            return {}
        wanted = {TopicPartition(topic, partition): spec for (topic, partition), spec in queries.items()}
        level = _isolation(committed)
        futures = (await self._connected()).list_offsets(wanted, isolation_level=level, request_timeout=self._timeout_s)
        named = {(at.topic, at.partition): future for at, future in futures.items()}
        return await self._results(named, "list offsets of {}", _offset)

    async def list_groups(self) -> list[str]:
        """The ids of all consumer groups that we may see."""
        future = (await self._connected()).list_consumer_groups(request_timeout=self._timeout_s)
        answer = await self._result(future, "list groups")
        if not answer.valid and answer.errors:
            raise self._error(answer.errors[0], "list groups")
        return sorted(group.group_id for group in answer.valid)

    async def describe_groups(self, group_ids: Iterable[str]) -> Answers[str, Group]:
        """Each group's state and members. A group that doesn't exist is DEAD and has none."""
        group_ids = list(group_ids)
        if not group_ids:
            return {}
        futures = (await self._connected()).describe_consumer_groups(group_ids, request_timeout=self._timeout_s)
        return await self._results(futures, "describe group {}", _group)

    async def committed_offsets(self, group_id: str) -> dict[tuple[str, int], int]:
        """The group's positions."""
        futures = (await self._connected()).list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group_id)], request_timeout=self._timeout_s
        )
        answer = await self._result(futures[group_id], f"read the positions of group {group_id}")
        return {(at.topic, at.partition): at.offset for at in answer.topic_partitions if at.offset >= 0}

    async def log_spans(self, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """How many offsets lie between start and end of each partition, as far as it has a leader."""
        wanted = list(partitions)
        starts = await self.list_offsets(dict.fromkeys(wanted, EARLIEST))
        ends = await self.list_offsets(dict.fromkeys(wanted, LATEST))
        spans: dict[tuple[str, int], int] = {}
        for at in wanted:
            start, end = starts[at], ends[at]
            if isinstance(start, ListedOffset) and isinstance(end, ListedOffset):
                spans[at] = end.offset - start.offset
            elif not any(isinstance(answer, UnreachableError) for answer in (start, end)):
                raise next(answer for answer in (start, end) if isinstance(answer, ReplicatorError))
        return spans

    # ---- changing --------------------------------------------------------------------------------------------------

    async def create_topics(self, specs: Iterable[NewTopicSpec], *, validate_only: bool = False) -> Answers[str, None]:
        """None per topic that was created (or would be)."""
        new = [
            NewTopic(spec.name, spec.partitions, spec.replication_factor, config=dict(spec.configs)) for spec in specs
        ]
        if not new:
            return {}
        futures = (await self._connected()).create_topics(
            new, operation_timeout=self._timeout_s, request_timeout=self._timeout_s, validate_only=validate_only
        )
        return await self._results(futures, "create topic {}", _nothing)

    async def create_partitions(self, totals: Mapping[str, int]) -> Answers[str, None]:
        """Let each topic have so many partitions in total."""
        if not totals:
            return {}
        new = [NewPartitions(name, total) for name, total in totals.items()]
        futures = (await self._connected()).create_partitions(
            new, operation_timeout=self._timeout_s, request_timeout=self._timeout_s
        )
        return await self._results(futures, "add partitions to topic {}", _nothing)

    async def incremental_alter_configs(self, changes: Mapping[str, Mapping[str, str | None]]) -> Answers[str, None]:
        """Set each topic's settings; None as a value removes the topic's own one, so that the default holds again."""
        resources = []
        for name, settings in changes.items():
            entries = [
                ConfigEntry(
                    key,
                    value,
                    incremental_operation=AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET,
                )
                for key, value in settings.items()
            ]
            if entries:
                resources.append(ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries))
        if not resources:
            return {}
        futures = (await self._connected()).incremental_alter_configs(resources, request_timeout=self._timeout_s)
        named = {resource.name: future for resource, future in futures.items()}
        return await self._results(named, "change the settings of topic {}", _nothing)

    async def delete_topics(self, names: Iterable[str]) -> Answers[str, None]:
        """Delete topics, with all their records."""
        names = list(names)
        if not names:
            return {}
        futures = (await self._connected()).delete_topics(
            names, operation_timeout=self._timeout_s, request_timeout=self._timeout_s
        )
        return await self._results(futures, "delete topic {}", _nothing)

    async def delete_groups(self, group_ids: Iterable[str]) -> Answers[str, None]:
        """Delete consumer groups, with all their positions; one that has members is refused."""
        group_ids = list(group_ids)
        if not group_ids:
            return {}
        futures = (await self._connected()).delete_consumer_groups(group_ids, request_timeout=self._timeout_s)
        return await self._results(futures, "delete group {}", _nothing)

    async def create_acls(self, bindings: list[Any]) -> Answers[Any, None]:
        """None per AclBinding that is there now."""
        futures = (await self._connected()).create_acls(bindings, request_timeout=self._timeout_s) if bindings else {}
        return await self._results(futures, "create an ACL: {}", _nothing)

    async def delete_acls(self, filters: list[Any]) -> Answers[Any, None]:
        """None per AclBindingFilter that finds nothing any more."""
        futures = (await self._connected()).delete_acls(filters, request_timeout=self._timeout_s) if filters else {}
        return await self._results(futures, "delete an ACL: {}", _nothing)

    # ---- inside ----------------------------------------------------------------------------------------------------

    async def _results(
        self, futures: Mapping[K, concurrent.futures.Future[Any]], action: str, convert: Callable[[Any], T]
    ) -> Answers[K, T]:
        answers: Answers[K, T] = {}
        for key, future in futures.items():
            label = f"{key[0]}-{key[1]}" if isinstance(key, tuple) else str(key)
            try:
                answers[key] = convert(await self._result(future, action.format(label), label))
            except ReplicatorError as error:
                answers[key] = error
                if isinstance(error, NoLeaderError):
                    self._replace_client(_NO_LEADER_S)
        failed = [answer for answer in answers.values() if _concerns_cluster(answer)]
        if failed and len(failed) == len(answers):
            raise failed[0]
        return answers

    async def _result(self, future: Any, action: str, resource: str = "") -> Any:
        refused_for_s = 0.0
        try:
            if future.done():  # as all but the first are of a request for many things
                return future.result()
            waiting = future if isinstance(future, asyncio.Future) else asyncio.wrap_future(future)
            while not (await asyncio.wait([waiting], timeout=_POLL_S))[0]:
                self._client.poll(0)  # serves `_note_error`
                if self._refusal is not None:
                    refused_for_s += _POLL_S
                    if refused_for_s > _AUTHENTICATION_GRACE_S:
                        raise self._take_refusal()
            return waiting.result()
        except KafkaException as error:
            self._client.poll(0)
            if error.args[0].code() == KafkaError._TIMED_OUT:
                self._replace_client(self._timeout_s / 2)
            translated = self._error(error, action, resource)
            if isinstance(translated, UnreachableError) and self._refusal is not None:
                raise self._take_refusal() from error
            if _concerns_cluster(translated) and self._connecting:
                translated = UnreachableError(f"{translated} (the last connection attempt said: {self._connecting})")
            raise translated from error

    def _take_refusal(self) -> ReplicatorError:
        refusal, self._refusal = self._refusal, None
        assert refusal is not None
        return refusal

    def _note_error(self, error: KafkaError) -> None:
        translated = replicator_error(error, cluster=self.cluster, action="connect")
        if isinstance(translated, AuthenticationError):
            self._refusal = translated
        elif error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._connecting = error.str()

    def _error(self, error: KafkaException, action: str, resource: str = "") -> ReplicatorError:
        return replicator_error(error.args[0], cluster=self.cluster, action=action, resource=resource)


def _concerns_cluster(answer: object) -> TypeGuard[ReplicatorError]:
    return isinstance(answer, UnreachableError | AuthenticationError) and not isinstance(answer, NoLeaderError)


def _is_unknown_topic(answer: object) -> bool:
    return isinstance(answer, RefusedError) and answer.code == KafkaError.UNKNOWN_TOPIC_OR_PART


def _isolation(committed: bool) -> Any:
    return IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED


def _topic(answer: Any) -> Topic:
    return Topic(
        name=answer.name,
        topic_id=topic_uuid(answer.topic_id),
        partitions=len(answer.partitions),
        replication_factor=max((len(partition.replicas) for partition in answer.partitions), default=0),
        internal=answer.is_internal,
    )


def _configs(answer: Any) -> dict[str, ConfigValue]:
    return {
        name: ConfigValue(entry.value, _source(entry.source), entry.is_read_only, entry.is_sensitive)
        for name, entry in answer.items()
    }


def _source(number: int) -> ConfigSource:
    return ConfigSource(number) if number in ConfigSource._value2member_map_ else ConfigSource.UNKNOWN


def _offset(answer: Any) -> ListedOffset:
    if answer.offset < -1:  # OFFSET_INVALID: what librdkafka says, without an error, when the leader didn't answer
        raise NoLeaderError("the leader of a partition doesn't answer")
    epoch = -1 if answer.leader_epoch is None else answer.leader_epoch
    return ListedOffset(answer.offset, answer.timestamp, epoch)


def _group(answer: Any) -> Group:
    members = (
        GroupMember(
            member.member_id,
            member.client_id,
            member.host,
            frozenset((at.topic, at.partition) for at in member.assignment.topic_partitions),
        )
        for member in answer.members
    )
    return Group(answer.group_id, answer.state.name, tuple(members))


def _nothing(answer: object) -> None:
    return None
