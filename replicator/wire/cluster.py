"""One cluster as a client sees it: brokers, leaders, and connections that are opened when first needed.

A connection is known by its broker and a slot ("fetch-0", "produce-1", …), so that long polls, bulk writes and small
questions don't wait for each other: a broker serves a connection one request at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Any
from uuid import UUID

from replicator.config.models import ClusterConfig
from replicator.config.tokens import with_region
from replicator.errors import AuthenticationError, ConfigurationError, ReplicatorError, UnreachableError
from replicator.wire.connection import Connection, open_connection
from replicator.wire.kafka_errors import NONE, UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION
from replicator.wire.list_offsets import ListedOffset, list_offsets
from replicator.wire.metadata import Broker, ClusterView, PartitionMetadata, TopicMetadata, fetch_metadata

_REFRESH_PAUSE_S = 0.1  # between two metadata requests, however many ask
_ADMIN = "admin"  # the slot of small questions
_GONE = frozenset({UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID})
REACHABLE_WITHIN_S = 30.0  # workers ask both clusters every 5 s
_CONNECT_PAUSE_S = 0.5  # after a failed connection attempt, for that broker and slot


class ClusterClient:
    """Metadata, leaders and connections of one cluster. Not thread-safe: belongs to one event loop."""

    def __init__(self, alias: str, config: ClusterConfig, client_id: str, clock: Callable[[], float] = time.monotonic):
        self.alias = alias
        self.config = config
        self.client_id = client_id
        self._security = with_region(config)
        self.cluster_id = ""
        self.brokers: dict[int, Broker] = {}
        self.topics: dict[str, TopicMetadata] = {}
        self.listeners: list[Callable[[], None]] = []  # called after each change of metadata
        self._clock = clock
        self._connections: dict[tuple[int, str], asyncio.Task[Connection]] = {}
        self._failed_at: dict[tuple[int, str], float] = {}
        self.authentication_failures = 0  # attempts to connect that ended so, since the beginning
        self.answers = 0  # to fetches or produce requests of records
        self.throttled_s = 0.0  # that brokers told us to wait with the next of them, because of a quota
        self._asked_at = self._answered_at = -1.0  # metadata; -1: never
        self._refreshing: asyncio.Task[None] | None = None
        self._refresh_again = False
        self._refreshed_at = -1e9
        self._interest: set[str] = set()
        self._merged: tuple[bool, ClusterView] | None = None  # the last answer: whether of all topics, and what it was
        self._closed = False

    # metadata

    def watch(self, topics: Iterable[str]) -> None:
        """`refresh()` keeps these topics up to date from now on."""
        self._interest.update(topics)

    def unwatch(self, topics: Iterable[str]) -> None:
        """No longer keep these topics up to date."""
        self._merged = None
        for topic in topics:
            self._interest.discard(topic)
            self.topics.pop(topic, None)

    def leader(self, topic: str, partition: int) -> PartitionMetadata | None:
        """Who leads the partition, as far as is known; None while nobody is known to."""
        metadata = self.topics.get(topic)
        found = metadata.partitions.get(partition) if metadata else None
        return found if found is not None and found.leader in self.brokers else None

    def topic_id_of(self, topic: str) -> UUID | None:
        """The topic's id, None if the topic isn't known, or is gone."""
        metadata = self.topics.get(topic)
        return metadata.topic_id if metadata and metadata.error not in _GONE else None

    async def refresh(self) -> None:
        """Bring the watched topics up to date. Calls that come while one runs share the next one."""
        if self._refreshing is not None and not self._refreshing.done():
            self._refresh_again = True
            await asyncio.shield(self._refreshing)
            return
        self._refreshing = asyncio.create_task(self._refresh())
        self._refreshing.add_done_callback(_retrieve)
        await asyncio.shield(self._refreshing)

    def refresh_soon(self) -> None:
        """As `refresh`, without waiting; a failure shows in the next awaited call."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh())
            self._refreshing.add_done_callback(_retrieve)
        else:
            self._refresh_again = True

    async def all_topics(self) -> ClusterView:
        """Every topic of the cluster that we may describe; the same object as last time if nothing has changed."""
        view = await self._ask(None)
        self._take(view, of_all=True)
        return view

    def reachable(self, within_s: float = REACHABLE_WITHIN_S) -> bool | None:
        """Whether a question about metadata was answered lately; None before the first was asked."""
        if self._asked_at < 0:
            return None
        return self._answered_at >= 0 and self._clock() - self._answered_at <= within_s

    async def _ask(self, topics: Collection[str] | None) -> ClusterView:
        self._asked_at = self._clock()
        connection = await self.any_connection()
        try:
            of_all, last = self._merged or (False, None)
            view = await fetch_metadata(connection, topics, last if of_all == (topics is None) else None)
            self._answered_at = self._clock()
            return view
        except UnreachableError:  # next time another broker
            for key, task in self._connections.items():
                if key[1] == _ADMIN and _opened(task) is connection:
                    self._failed_at[key] = self._clock()
            raise

    async def _refresh(self) -> None:
        while True:
            self._refresh_again = False
            pause = self._refreshed_at + _REFRESH_PAUSE_S - self._clock()
            if pause > 0:
                await asyncio.sleep(pause)
            view = await self._ask(sorted(self._interest))
            self._refreshed_at = self._clock()
            self._take(view, of_all=False)
            if not self._refresh_again:
                return

    def _take(self, view: ClusterView, *, of_all: bool) -> None:
        if self._merged is not None and self._merged[1] is view:
            for listener in self.listeners:
                listener()
            return
        self._merge(view)
        self._merged = of_all, view

    def _merge(self, view: ClusterView) -> None:
        self._merged = None
        self.cluster_id = view.cluster_id or self.cluster_id
        if view.brokers:
            self.brokers = view.brokers
        for name, topic in view.topics.items():
            known = self.topics.get(name)
            if topic.error != NONE and not topic.partitions:
                if known is not None:
                    self.topics[name] = replace(known, error=topic.error)  # the view it came in stays as it was
                elif name in self._interest:
                    self.topics[name] = topic
                continue
            if known is not None and known.topic_id == topic.topic_id:
                for index, partition in known.partitions.items():
                    # Metadata travels from broker to broker: one that lags must not take us back to an old leader.
                    new = topic.partitions.get(index)
                    if new is not None and 0 <= new.leader_epoch < partition.leader_epoch:
                        topic.partitions[index] = partition
            self.topics[name] = topic
        for listener in self.listeners:
            listener()

    # connections

    async def any_connection(self) -> Connection:
        """A connection for small questions: to a known broker, or through the bootstrap addresses."""
        last: ReplicatorError | None = None
        for node in sorted(self.brokers, key=lambda node: self._failed_at.get((node, _ADMIN), -1e9)):
            try:
                return await self.connection(node, _ADMIN)
            except UnreachableError as error:
                last = error
        for host, port in self._bootstrap():
            try:
                connection = await self._connect(host, port)
            except UnreachableError as error:
                last = error
                continue
            try:
                self._merge(await fetch_metadata(connection, []))
            finally:
                connection.close()
            for node in self.brokers:
                try:
                    return await self.connection(node, _ADMIN)
                except UnreachableError as error:
                    last = error
        raise last or UnreachableError(f"cluster {self.alias}: no broker is known")

    async def connection(self, node: int, slot: str) -> Connection:
        """The open connection to this broker for this purpose; UnreachableError if it can't be had now."""
        if self._closed:
            raise UnreachableError(f"cluster {self.alias}: client is closed")
        key = (node, slot)
        task = self._connections.get(key)
        if task is not None and task.done() and ((opened := _opened(task)) is None or opened.is_closed):
            task = None
        if task is None:
            task = self._connections[key] = asyncio.create_task(self._open(node, slot))
            task.add_done_callback(_retrieve)
        return await asyncio.shield(task)

    async def _open(self, node: int, slot: str) -> Connection:
        key = (node, slot)
        pause = self._failed_at.get(key, -1e9) + _CONNECT_PAUSE_S - self._clock()
        if pause > 0:
            await asyncio.sleep(pause)
        broker = self.brokers.get(node)
        if broker is None:
            raise UnreachableError(f"cluster {self.alias}: broker {node} is not in the cluster's metadata")
        try:
            connection = await self._connect(broker.host, broker.port)
        except ReplicatorError:
            self._failed_at[key] = self._clock()
            raise
        self._failed_at.pop(key, None)
        return connection

    async def _connect(self, host: str, port: int) -> Connection:
        try:
            return await open_connection(self.alias, host, port, security=self._security, client_id=self.client_id)
        except AuthenticationError:
            self.authentication_failures += 1
            raise

    def _bootstrap(self) -> list[tuple[str, int]]:
        addresses = []
        for address in self.config.bootstrap_servers.split(","):
            host, _, port = address.strip().rpartition(":")
            if not host or not port.isdigit():
                raise ConfigurationError(
                    f"clusters.{self.alias}.bootstrap_servers: {address.strip()!r} isn't HOST:PORT; "
                    "write for example broker-1:9092,broker-2:9092"
                )
            addresses.append((host.strip("[]"), int(port)))
        return addresses

    async def offsets(
        self, wanted: Collection[tuple[str, int, int]], isolation: int
    ) -> dict[tuple[str, int], ListedOffset]:
        """ListOffsets, each asked of its leader. Partitions without a known leader are left out of the answer."""
        by_node: dict[int, list[tuple[str, int, int]]] = {}
        for topic, partition, timestamp in wanted:
            leader = self.leader(topic, partition)
            if leader is not None:
                by_node.setdefault(leader.leader, []).append((topic, partition, timestamp))
        found: dict[tuple[str, int], ListedOffset] = {}
        for node, items in by_node.items():
            found.update(await list_offsets(await self.connection(node, _ADMIN), items, isolation=isolation))
        return found

    def drop_connections(self) -> None:
        """Break every open connection, with what is under way on it; new ones are made when they are needed."""
        for task in self._connections.values():
            if (opened := _opened(task)) is not None:
                opened.close()

    async def close(self) -> None:
        """Drop every connection for good."""
        self._closed = True
        for task in [*self._connections.values(), *([self._refreshing] if self._refreshing else [])]:
            task.cancel()
        for task in self._connections.values():
            if (opened := _opened(task)) is not None:
                opened.close()
        tasks: list[asyncio.Task[Any]] = list(self._connections.values())
        if self._refreshing is not None:
            tasks.append(self._refreshing)
        await asyncio.gather(*tasks, return_exceptions=True)


def _opened(task: asyncio.Task[Connection]) -> Connection | None:
    """The connection that this attempt came to, None so far or for good."""
    return task.result() if task.done() and not task.cancelled() and not task.exception() else None


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Failures are seen by those who await; a task that nobody awaited must not be reported as lost."""
    if not task.cancelled():
        task.exception()
