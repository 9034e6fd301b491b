"""A cluster in memory, as `replicator.sync.admin.Admin` shows one; can be told to refuse."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from uuid import UUID, uuid4

from replicator.errors import ReplicatorError
from replicator.ledger.client_errors import RefusedError
from replicator.sync.admin import Broker, Cluster, ConfigSource, ConfigValue, NewTopicSpec, Topic

DEFAULTS = {
    "cleanup.policy": "delete",
    "compression.type": "producer",
    "max.message.bytes": "1048588",
    "message.timestamp.after.max.ms": "3600000",
    "message.timestamp.before.max.ms": str((1 << 63) - 1),
    "message.timestamp.type": "CreateTime",
    "min.insync.replicas": "1",
    "retention.ms": "604800000",
    "segment.bytes": "1073741824",
}


def config(value: str, source: ConfigSource = ConfigSource.TOPIC) -> ConfigValue:
    return ConfigValue(value, source)


class FakeAdmin:
    """Satisfies what the syncers call of Admin."""

    def __init__(self, cluster: str, *, brokers: int = 1, defaults: Mapping[str, str] = DEFAULTS) -> None:
        self.cluster = cluster
        self.topics: dict[str, Topic] = {}
        self.own: dict[str, dict[str, str]] = {}
        self.records: dict[tuple[str, int], int] = {}
        self.created: list[NewTopicSpec] = []
        self.refuse_key: str | None = None
        self.refuse: dict[str, ReplicatorError] = {}
        self._brokers = brokers
        self._defaults = defaults

    def add(
        self,
        name: str,
        partitions: int = 1,
        *,
        replication_factor: int = 1,
        topic_id: UUID | None = None,
        internal: bool = False,
        own: Mapping[str, str] | None = None,
        records: int = 0,
    ) -> Topic:
        topic = Topic(name, topic_id or uuid4(), partitions, replication_factor, internal)
        self.topics[name] = topic
        self.own[name] = dict(own or {})
        self.records |= {(name, p): records for p in range(partitions)}
        return topic

    async def describe_cluster(self) -> Cluster:
        return Cluster("id-" + self.cluster, tuple(Broker(i, "host", 9092, None) for i in range(self._brokers)))

    async def list_topics(self) -> dict[str, Topic]:
        return dict(self.topics)

    async def describe_topics(self, names: Iterable[str]) -> dict[str, Topic | ReplicatorError]:
        return {name: self.topics[name] for name in names if name in self.topics}

    async def describe_configs(self, topics: Iterable[str]) -> dict[str, dict[str, ConfigValue] | ReplicatorError]:
        return {name: self._settings(name) for name in topics}

    async def log_spans(self, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        return {at: self.records[at] for at in partitions}

    async def create_topics(self, specs: Iterable[NewTopicSpec]) -> dict[str, ReplicatorError | None]:
        return {spec.name: self._create(spec) for spec in specs}

    async def create_partitions(self, totals: Mapping[str, int]) -> dict[str, ReplicatorError | None]:
        answers: dict[str, ReplicatorError | None] = {}
        for name, total in totals.items():
            answers[name] = self.refuse.get(name)
            if answers[name] is None:
                self.topics[name] = replace(self.topics[name], partitions=total)
        return answers

    async def delete_topics(self, names: Iterable[str]) -> dict[str, ReplicatorError | None]:
        return {name: None for name in names if self.topics.pop(name, None)}

    async def incremental_alter_configs(
        self, changes: Mapping[str, Mapping[str, str | None]]
    ) -> dict[str, ReplicatorError | None]:
        return {name: self._alter(name, settings) for name, settings in changes.items()}

    def _alter(self, name: str, settings: Mapping[str, str | None]) -> ReplicatorError | None:
        if name in self.refuse:
            return self.refuse[name]
        if self.refuse_key in settings:
            return RefusedError(f"Invalid value for configuration {self.refuse_key}: no", code=40)
        for key, value in settings.items():
            if value is None:
                self.own[name].pop(key, None)
            else:
                self.own[name][key] = value
        return None

    def _create(self, spec: NewTopicSpec) -> ReplicatorError | None:
        if spec.name in self.refuse:
            return self.refuse[spec.name]
        if spec.name in self.topics:
            return RefusedError("exists", code=36)
        if self.refuse_key in spec.configs:
            return RefusedError(f"Invalid value for configuration {self.refuse_key}: no", code=40)
        self.created.append(spec)
        self.add(spec.name, spec.partitions, replication_factor=spec.replication_factor, own=spec.configs)
        return None

    def _settings(self, name: str) -> dict[str, ConfigValue]:
        defaults = {key: ConfigValue(value, ConfigSource.DEFAULT) for key, value in self._defaults.items()}
        return defaults | {key: config(value) for key, value in self.own[name].items()}
