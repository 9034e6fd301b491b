"""Topics and partitions: names, ids, replicas, leaders, configuration."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kio.schema.errors import ErrorCode

from broker.config import BrokerConfig, log_config
from broker.config_defs import InvalidConfig, check_topic_config
from broker.errors import KafkaError
from broker.storage.log import PartitionLog
from broker.storage.validation import LogConfig

INTERNAL_TOPICS = frozenset({"__consumer_offsets", "__transaction_state", "__share_group_state"})
MAX_PARTITIONS = 10_000  # that one request may make, as in Kafka's controller
_NAME = re.compile(r"[a-zA-Z0-9._-]+")


@dataclass(eq=False, slots=True)
class Partition:
    """One partition. `leader` is -1 while no replica that may lead is alive."""

    topic: Topic
    index: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    leader: int
    leader_epoch: int
    log: PartitionLog

    @property
    def name(self) -> str:
        return f"{self.topic.name}-{self.index}"

    @property
    def min_insync(self) -> int:
        """The in-sync replicas that acks=all needs: min.insync.replicas, but no more than there are replicas."""
        return min(self.topic.log_config.min_insync_replicas, len(self.replicas))


@dataclass(eq=False)
class Topic:
    """A topic. `configs` holds its own settings only; change them through `Cluster.alter_topic_configs`."""

    name: str
    topic_id: uuid.UUID
    configs: dict[str, str]
    broker_config: BrokerConfig
    partitions: list[Partition] = field(default_factory=list)
    _log_config: LogConfig | None = None

    @property
    def internal(self) -> bool:
        return self.name in INTERNAL_TOPICS

    @property
    def log_config(self) -> LogConfig:
        """Its settings as logs act upon them, resolved once until something changes."""
        if self._log_config is None:
            self._log_config = log_config(self.broker_config, self.configs)
        return self._log_config

    def config_changed(self) -> None:
        """Resolve the settings anew at next use."""
        self._log_config = None


class TopicRegistry:
    """All topics by name and by id."""

    def __init__(self) -> None:
        self._by_name: dict[str, Topic] = {}
        self._by_id: dict[uuid.UUID, Topic] = {}

    def __iter__(self) -> Iterator[Topic]:
        return iter(list(self._by_name.values()))

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def get(self, name: str) -> Topic | None:
        """The topic of this name, or None."""
        return self._by_name.get(name)

    def by_id(self, topic_id: uuid.UUID | None) -> Topic | None:
        """The topic of this id, or None."""
        return None if topic_id is None else self._by_id.get(topic_id)

    def partition(self, name: str, index: int) -> Partition | None:
        """The partition, or None when topic or index don't exist."""
        topic = self._by_name.get(name)
        if topic is None or not 0 <= index < len(topic.partitions):
            return None
        return topic.partitions[index]

    def partitions(self) -> Iterator[Partition]:
        """Every partition of every topic."""
        for topic in self:
            yield from topic.partitions

    def add(self, topic: Topic) -> None:
        self._by_name[topic.name] = topic
        self._by_id[topic.topic_id] = topic

    def remove(self, topic: Topic) -> None:
        self._by_name.pop(topic.name, None)
        self._by_id.pop(topic.topic_id, None)


def check_name(name: str, existing: TopicRegistry) -> None:
    """Raise KafkaError INVALID_TOPIC_EXCEPTION or TOPIC_ALREADY_EXISTS unless a topic may be made with this name."""
    if not name:
        problem = "the empty string is not allowed"
    elif name in (".", ".."):
        problem = f"'{name}' is not allowed"
    elif len(name) > 249:
        problem = f"the length of '{name}' is longer than the max allowed length 249"
    elif not _NAME.fullmatch(name):
        problem = f"'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
    else:
        problem = ""
    if problem:
        raise KafkaError(ErrorCode.invalid_topic_exception, f"Topic name is invalid: {problem}")
    if name in existing:
        raise KafkaError(ErrorCode.topic_already_exists, f"Topic '{name}' already exists.")
    for topic in existing:
        if topic.name.replace(".", "_") == name.replace(".", "_"):
            raise KafkaError(
                ErrorCode.invalid_topic_exception, f"Topic '{name}' collides with existing topic: {topic.name}"
            )


def check_configs(configs: Mapping[str, str | None]) -> dict[str, str]:
    """The settings, all of them allowed. Raises KafkaError INVALID_CONFIG."""
    for name, value in configs.items():
        try:
            check_topic_config(name, value)
        except InvalidConfig as error:
            raise KafkaError(ErrorCode.invalid_config, str(error)) from error
    return {name: value for name, value in configs.items() if value is not None}


def spread(node_ids: Sequence[int], count: int, replication_factor: int, first: int) -> list[tuple[int, ...]]:
    """Replicas of `count` partitions: leaders round robin over the nodes from number `first`, followers behind."""
    return [
        tuple(node_ids[(first + index + replica) % len(node_ids)] for replica in range(replication_factor))
        for index in range(count)
    ]


MakeLog = Callable[[Topic, int], PartitionLog]
