"""Topics of a running cluster, through Kafka's own protocol, as the control plane's user."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

T = TypeVar("T")
WITHIN_S = 15.0


@dataclass(frozen=True)
class PartitionInfo:
    """One partition."""

    index: int
    leader: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]


@dataclass(frozen=True)
class TopicInfo:
    """One topic and its partitions."""

    name: str
    partitions: tuple[PartitionInfo, ...]

    @property
    def replication_factor(self) -> int:
        """Replicas of the first partition."""
        return len(self.partitions[0].replicas)


class TopicFailed(Exception):
    """The brokers refused, or didn't answer. `name` is the error's as in `org.apache.kafka.common.protocol.Errors`."""

    def __init__(self, error: KafkaError) -> None:
        super().__init__(error.str())
        self.name = str(error.name()).lstrip("_")
        self.local = error.code() < 0


class TopicAdmin:
    """Each call connects anew: calls are rare, and clusters restart."""

    def __init__(self, bootstrap: str, user: str, password: str) -> None:
        self._settings = {
            "bootstrap.servers": bootstrap,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": user,
            "sasl.password": password,
            "socket.timeout.ms": 10_000,
            "log_level": 0,
        }

    async def list(self) -> list[TopicInfo]:
        """All topics by name. Raises TopicFailed."""
        metadata = await self._run(lambda admin: admin.list_topics(timeout=WITHIN_S))
        return sorted(
            (_info(topic) for topic in metadata.topics.values() if topic.partitions), key=lambda one: one.name
        )

    async def describe(self, name: str) -> tuple[TopicInfo, dict[str, str]] | None:
        """A topic and its own settings (not the brokers' defaults), or None. Raises TopicFailed."""
        found = next((topic for topic in await self.list() if topic.name == name), None)
        if found is None:
            return None
        resource = ConfigResource(ResourceType.TOPIC, name)
        entries = await self._run(lambda admin: _only(admin.describe_configs([resource])))
        own = ConfigSource.DYNAMIC_TOPIC_CONFIG.value
        return found, {entry.name: str(entry.value) for entry in entries.values() if entry.source == own}

    async def create(self, name: str, partitions: int, replication_factor: int, configs: Mapping[str, str]) -> None:
        """Raises TopicFailed."""
        topic = NewTopic(name, num_partitions=partitions, replication_factor=replication_factor, config=dict(configs))
        await self._run(lambda admin: _only(admin.create_topics([topic])))

    async def delete(self, name: str) -> None:
        """Raises TopicFailed."""
        await self._run(lambda admin: _only(admin.delete_topics([name])))

    async def grow(self, name: str, partitions: int) -> None:
        """Raises TopicFailed."""
        await self._run(lambda admin: _only(admin.create_partitions([NewPartitions(name, partitions)])))

    async def configure(self, name: str, configs: Mapping[str, str]) -> None:
        """Set settings; others stay. Raises TopicFailed."""
        changes = [
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in configs.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=changes)
        await self._run(lambda admin: _only(admin.incremental_alter_configs([resource])))

    async def _run(self, work: Callable[[Any], T]) -> T:
        def call() -> T:
            try:
                return work(AdminClient(self._settings))
            except KafkaException as error:
                raise TopicFailed(error.args[0]) from error

        return await asyncio.to_thread(call)


def _only(futures: Mapping[Any, Any]) -> Any:
    return next(iter(futures.values())).result(timeout=WITHIN_S)


def _info(topic: Any) -> TopicInfo:
    partitions = (
        PartitionInfo(one.id, one.leader, tuple(one.replicas), tuple(one.isrs)) for one in topic.partitions.values()
    )
    return TopicInfo(topic.topic, tuple(sorted(partitions, key=lambda one: one.index)))
