"""An `Admin` whose questions go through our own connections: any broker that is up answers them.

librdkafka sends an administrator's every question to the one broker that its metadata calls the controller. When that
one has just died, it waits for it until the request's time is over: workers that started then came up after half a
minute to a minute and a half (*measured*), and partitions that a worker took over began as late.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

from confluent_kafka import KafkaError

from replicator.errors import ReplicatorError, UnreachableError
from replicator.ledger.client_errors import replicator_error
from replicator.sync.admin import Admin, Answers, Broker, Cluster, ConfigValue, Topic
from replicator.sync.config_reader import ConfigReader, TopicConfigs
from replicator.sync.metadata_topics import MetadataTopics
from replicator.wire.cluster import ClusterClient
from replicator.wire.describe_configs import BROKER_RESOURCE, SettingsDecoder
from replicator.wire.fetch import READ_UNCOMMITTED
from replicator.wire.kafka_errors import (
    LEADER_NOT_AVAILABLE,
    NONE,
    REPLICA_NOT_AVAILABLE,
    UNKNOWN_TOPIC_OR_PARTITION,
    is_invalid_metadata,
)
from replicator.wire.list_offsets import EARLIEST, LATEST, ListedOffset
from replicator.wire.metadata import fetch_metadata, fetch_replication

Key = tuple[str, int]

_THERE = frozenset({NONE, LEADER_NOT_AVAILABLE, REPLICA_NOT_AVAILABLE})


class WireAdmin(Admin):
    """Changes, and questions about groups, remain `Admin`'s. `client` is asked for nothing else but by `listing`."""

    def __init__(self, client_properties: dict[str, Any], client: ClusterClient, listing: MetadataTopics) -> None:
        super().__init__(client_properties, client.alias)
        self._asked = client
        self._listing = listing
        self._configs = ConfigReader(client)

    async def describe_cluster(self) -> Cluster:
        """The cluster's id and brokers."""
        view = await fetch_metadata(await self._asked.any_connection(), [])
        brokers = (Broker(b.node_id, b.host, b.port, b.rack or None) for b in view.brokers.values())
        return Cluster(view.cluster_id, tuple(brokers))

    async def list_topics(self) -> dict[str, Topic]:
        """All topics that we may see, internal ones too; their replication factors aren't known."""
        return await self._listing.list_topics()

    async def describe_topics(self, names: Iterable[str]) -> Answers[str, Topic]:
        """Each topic, or why it can't be described; topics that don't exist are left out."""
        names = list(names)
        if not names:
            return {}
        connection = await self._asked.any_connection()
        view, replicas = await fetch_metadata(connection, names), await fetch_replication(connection, names)
        return {
            name: Topic(name, topic.topic_id, len(topic.partitions), replicas.get(name, 0), topic.internal)
            if topic.error in _THERE
            else self._refused(topic.error, f"describe topic {name}", name)
            for name, topic in view.topics.items()
            if topic.error != UNKNOWN_TOPIC_OR_PARTITION
        }

    async def describe_configs(self, topics: Iterable[str]) -> Answers[str, dict[str, ConfigValue]]:
        """The settings in force of each topic, by name."""
        found = await self._configs.read(list(topics))
        return {
            name: configs.values
            if configs.error == NONE
            else self._refused(configs.error, f"describe the settings of topic {name}", name)
            for name, configs in found.items()
        }

    async def describe_broker(self, node: int) -> dict[str, ConfigValue]:
        """The settings in force of one broker, by name."""
        connection = await self._asked.connection(node, "admin")
        described = await SettingsDecoder().describe(connection, [str(node)], kind=BROKER_RESOURCE)
        (found,) = (TopicConfigs(settings) for settings in described.topics.values())
        if found.error != NONE:
            raise self._refused(found.error, f"describe the settings of broker {node}", str(node))
        return found.values

    async def log_spans(self, partitions: Iterable[Key]) -> dict[Key, int]:
        """How many offsets lie between start and end of each partition, as far as it has a leader."""
        wanted = list(partitions)
        if not wanted:
            return {}
        await self._asked.all_topics()
        starts, ends = await self._offsets(wanted, EARLIEST), await self._offsets(wanted, LATEST)
        spans: dict[Key, int] = {}
        for at in wanted:
            start, end = starts.get(at), ends.get(at)
            codes = [listed.error for listed in (start, end) if listed is not None]
            refused = next((code for code in codes if code != NONE and not is_invalid_metadata(code)), None)
            if refused is not None:
                raise self._refused(refused, f"list offsets of {at[0]}-{at[1]}", at[0])
            if start is not None and end is not None and not any(codes):
                spans[at] = end.offset - start.offset
        return spans

    async def _offsets(self, wanted: Iterable[Key], where: int) -> dict[Key, ListedOffset]:
        by_leader: dict[int, list[tuple[str, int, int]]] = {}
        for topic, partition in wanted:
            leader = self._asked.leader(topic, partition)
            by_leader.setdefault(-1 if leader is None else leader.leader, []).append((topic, partition, where))
        found: dict[Key, ListedOffset] = {}
        for asked in by_leader.values():
            with contextlib.suppress(UnreachableError):  # as good as none: the others' leaders answer
                found |= await self._asked.offsets(asked, READ_UNCOMMITTED)
        return found

    def _refused(self, code: int, action: str, resource: str) -> ReplicatorError:
        return replicator_error(KafkaError(code), cluster=self.cluster, action=action, resource=resource)
