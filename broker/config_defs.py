"""The configuration properties the broker knows: names, types, defaults and allowed values of Kafka 4.1.

Topic properties that this broker doesn't act upon are still accepted, kept and described, since that is what tools
and replication need. `ACTED_UPON` says which ones change behaviour.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

LONG_MAX = 2**63 - 1
INT_MAX = 2**31 - 1
MIB = 1024 * 1024
STANDARD_AUTHORIZER = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"


class ConfigType(enum.IntEnum):
    """Types as DescribeConfigs numbers them."""

    BOOLEAN = 1
    STRING = 2
    INT = 3
    SHORT = 4
    LONG = 5
    DOUBLE = 6
    LIST = 7
    CLASS = 8
    PASSWORD = 9


class InvalidConfig(ValueError):
    """A property that doesn't exist or a value it can't have. The text is what Kafka's client shows."""


@dataclass(frozen=True, slots=True)
class ConfigDef:
    """One property. `synonym` is the broker property that a topic property falls back to."""

    name: str
    type: ConfigType
    default: str | None
    synonym: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] | None = None
    read_only: bool = False
    nullable: bool = False
    internal: bool = False
    documentation: str = ""

    def check(self, value: str | None) -> None:
        """Raise InvalidConfig unless `value` may be set."""
        if value is None:
            if not self.nullable:
                raise InvalidConfig(f"Null value not supported for topic configs: {self.name}")
            return
        parse = _PARSERS.get(self.type)
        parsed: float = 0
        if parse is not None:
            try:
                parsed = parse(value)
            except ValueError:
                problem = _NOT_A_BOOLEAN if self.type is BOOLEAN else f"Not a number of type {self.type.name}"
                raise InvalidConfig(f"Invalid value {value} for configuration {self.name}: {problem}") from None
        if self.type is DOUBLE:
            value = str(parsed)
        if self.minimum is not None and parsed < self.minimum:
            raise InvalidConfig(
                f"Invalid value {value} for configuration {self.name}: Value must be at least {self.minimum}"
            )
        if self.maximum is not None and parsed > self.maximum:
            raise InvalidConfig(
                f"Invalid value {value} for configuration {self.name}: Value must be no more than {self.maximum}"
            )
        if self.choices is not None:
            values = [item.strip() for item in value.split(",") if item.strip()] if self.type is LIST else [value]
            for item in values:
                if item not in self.choices:
                    raise InvalidConfig(
                        f"Invalid value {item} for configuration {self.name}: "
                        f"String must be one of: {', '.join(self.choices)}"
                    )


BOOLEAN, STRING, INT, SHORT = ConfigType.BOOLEAN, ConfigType.STRING, ConfigType.INT, ConfigType.SHORT
LONG, DOUBLE, LIST, PASSWORD = ConfigType.LONG, ConfigType.DOUBLE, ConfigType.LIST, ConfigType.PASSWORD


_NOT_A_BOOLEAN = "Expected value to be either true or false"


def _integer(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        number = int(value.strip())
        if not low <= number <= high:
            raise ValueError(value)
        return number

    return parse


def _boolean(value: str) -> int:
    if value.strip().lower() not in ("true", "false"):
        raise ValueError(value)
    return int(value.strip().lower() == "true")


_PARSERS: dict[ConfigType, Callable[[str], float]] = {
    BOOLEAN: _boolean,
    INT: _integer(-(2**31), INT_MAX),
    SHORT: _integer(-(2**15), 2**15 - 1),
    LONG: _integer(-(2**63), LONG_MAX),
    DOUBLE: float,
}


def _topic(
    name: str,
    kind: ConfigType,
    default: str,
    synonym: str | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | None = None,
    internal: bool = False,
) -> ConfigDef:
    return ConfigDef(name, kind, default, synonym, minimum, maximum, choices, internal=internal)


_TOPIC_DEFS = (
    _topic("cleanup.policy", LIST, "delete", "log.cleanup.policy", choices=("compact", "delete")),
    _topic("compression.gzip.level", INT, "-1", "compression.gzip.level", -1, 9),
    _topic("compression.lz4.level", INT, "9", "compression.lz4.level", 1, 17),
    _topic(
        "compression.type",
        STRING,
        "producer",
        "compression.type",
        choices=("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"),
    ),
    _topic("compression.zstd.level", INT, "3", "compression.zstd.level", -131072, 22),
    _topic("delete.retention.ms", LONG, "86400000", "log.cleaner.delete.retention.ms", 0),
    _topic("file.delete.delay.ms", LONG, "60000", "log.segment.delete.delay.ms", 0),
    _topic("flush.messages", LONG, str(LONG_MAX), "log.flush.interval.messages", 1),
    _topic("flush.ms", LONG, str(LONG_MAX), "log.flush.interval.ms", 0),
    _topic("follower.replication.throttled.replicas", LIST, ""),
    _topic("index.interval.bytes", INT, "4096", "log.index.interval.bytes", 0),
    _topic("internal.segment.bytes", INT, "", None, 1, internal=True),
    _topic("leader.replication.throttled.replicas", LIST, ""),
    _topic("local.retention.bytes", LONG, "-2", "log.local.retention.bytes", -2),
    _topic("local.retention.ms", LONG, "-2", "log.local.retention.ms", -2),
    _topic("max.compaction.lag.ms", LONG, str(LONG_MAX), "log.cleaner.max.compaction.lag.ms", 1),
    _topic("max.message.bytes", INT, "1048588", "message.max.bytes", 0),
    _topic("message.timestamp.after.max.ms", LONG, "3600000", "log.message.timestamp.after.max.ms", 0),
    _topic("message.timestamp.before.max.ms", LONG, str(LONG_MAX), "log.message.timestamp.before.max.ms", 0),
    _topic(
        "message.timestamp.type",
        STRING,
        "CreateTime",
        "log.message.timestamp.type",
        choices=("CreateTime", "LogAppendTime"),
    ),
    _topic("min.cleanable.dirty.ratio", DOUBLE, "0.5", "log.cleaner.min.cleanable.ratio", 0, 1),
    _topic("min.compaction.lag.ms", LONG, "0", "log.cleaner.min.compaction.lag.ms", 0),
    _topic("min.insync.replicas", INT, "1", "min.insync.replicas", 1),
    _topic("preallocate", BOOLEAN, "false", "log.preallocate"),
    _topic("remote.log.copy.disable", BOOLEAN, "false"),
    _topic("remote.log.delete.on.disable", BOOLEAN, "false"),
    _topic("remote.storage.enable", BOOLEAN, "false"),
    _topic("retention.bytes", LONG, "-1", "log.retention.bytes", -1),
    _topic("retention.ms", LONG, "604800000", "log.retention.ms", -1),
    _topic("segment.bytes", INT, "1073741824", "log.segment.bytes", MIB),
    _topic("segment.index.bytes", INT, "10485760", "log.index.size.max.bytes", 4),
    _topic("segment.jitter.ms", LONG, "0", "log.roll.jitter.ms", 0),
    _topic("segment.ms", LONG, "604800000", "log.roll.ms", 1),
    _topic("unclean.leader.election.enable", BOOLEAN, "false", "unclean.leader.election.enable"),
)
TOPIC_CONFIGS: dict[str, ConfigDef] = {item.name: item for item in _TOPIC_DEFS}


def _broker(
    name: str,
    kind: ConfigType,
    default: str | None,
    minimum: float | None = None,
    *,
    read_only: bool = True,
    choices: tuple[str, ...] | None = None,
) -> ConfigDef:
    return ConfigDef(name, kind, default, None, minimum, None, choices, read_only, nullable=default is None)


_BROKER_DEFS = (
    _broker("advertised.listeners", STRING, None),
    _broker("allow.everyone.if.no.acl.found", BOOLEAN, "false"),
    _broker("authorizer.class.name", STRING, "", choices=("", STANDARD_AUTHORIZER)),
    _broker("auto.create.topics.enable", BOOLEAN, "true"),
    _broker("auto.leader.rebalance.enable", BOOLEAN, "true"),
    _broker("background.threads", INT, "10", 1, read_only=False),
    _broker("broker.id", INT, "-1"),
    _broker("broker.rack", STRING, None),
    _broker("broker.session.timeout.ms", INT, "9000"),
    _broker("connections.max.idle.ms", LONG, "600000"),
    _broker("connections.max.reauth.ms", LONG, "0"),
    _broker("controlled.shutdown.enable", BOOLEAN, "true"),
    _broker("default.replication.factor", INT, "1", 1),
    _broker("delete.topic.enable", BOOLEAN, "true"),
    _broker("fetch.max.bytes", INT, "57671680", 1024),
    _broker("group.consumer.assignors", LIST, "uniform,range", choices=("uniform", "range")),
    _broker("group.consumer.heartbeat.interval.ms", INT, "5000", 1),
    _broker("group.consumer.max.heartbeat.interval.ms", INT, "15000", 1),
    _broker("group.consumer.max.session.timeout.ms", INT, "60000", 1),
    _broker("group.consumer.max.size", INT, str(INT_MAX), 1),
    _broker("group.consumer.min.heartbeat.interval.ms", INT, "5000", 1),
    _broker("group.consumer.min.session.timeout.ms", INT, "45000", 1),
    _broker("group.consumer.session.timeout.ms", INT, "45000", 1),
    _broker("group.initial.rebalance.delay.ms", INT, "3000"),
    _broker("group.max.session.timeout.ms", INT, "1800000"),
    _broker("group.max.size", INT, str(INT_MAX), 1),
    _broker("group.min.session.timeout.ms", INT, "6000"),
    _broker("listeners", STRING, "PLAINTEXT://:9092"),
    _broker("log.cleaner.backoff.ms", LONG, "15000", 0, read_only=False),
    _broker("log.cleaner.enable", BOOLEAN, "true"),
    _broker("log.dirs", STRING, None),
    _broker("log.retention.check.interval.ms", LONG, "300000", 1),
    _broker("log.retention.hours", INT, "168"),
    _broker("log.retention.minutes", INT, None),
    _broker("log.roll.hours", INT, "168", 1),
    _broker("max.connections", INT, "2147483647", 0, read_only=False),
    _broker("max.connections.per.ip", INT, "2147483647", 0, read_only=False),
    _broker("max.incremental.fetch.session.cache.slots", INT, "1000", 0),
    _broker("node.id", INT, "-1"),
    _broker("num.io.threads", INT, "8", 1, read_only=False),
    _broker("num.network.threads", INT, "3", 1, read_only=False),
    _broker("num.partitions", INT, "1", 1),
    _broker("offset.metadata.max.bytes", INT, "4096"),
    _broker("offsets.retention.check.interval.ms", LONG, "600000", 1),
    _broker("offsets.retention.minutes", INT, "10080", 1),
    _broker("offsets.topic.num.partitions", INT, "50", 1),
    _broker("offsets.topic.replication.factor", SHORT, "3", 1),
    _broker("process.roles", LIST, "broker,controller"),
    _broker("producer.id.expiration.check.interval.ms", INT, "600000", 1),
    _broker("producer.id.expiration.ms", INT, "86400000", 1, read_only=False),
    _broker("replica.lag.time.max.ms", LONG, "30000"),
    _broker("sasl.enabled.mechanisms", LIST, "GSSAPI"),
    _broker("sasl.server.max.receive.size", INT, "524288"),
    _broker("socket.request.max.bytes", INT, "104857600", 1),
    _broker("super.users", STRING, ""),
    _broker("ssl.principal.mapping.rules", STRING, "DEFAULT"),
    _broker("transaction.abort.timed.out.transaction.cleanup.interval.ms", INT, "10000", 1),
    _broker("transaction.max.timeout.ms", INT, "900000", 1),
    _broker("transaction.partition.verification.enable", BOOLEAN, "true", read_only=False),
    _broker("transaction.remove.expired.transaction.cleanup.interval.ms", INT, "3600000", 1),
    _broker("transaction.state.log.min.isr", INT, "2", 1),
    _broker("transaction.state.log.num.partitions", INT, "50", 1),
    _broker("transaction.state.log.replication.factor", SHORT, "3", 1),
    _broker("transactional.id.expiration.ms", INT, "604800000", 1),
)


def _synonyms() -> dict[str, ConfigDef]:
    """Broker-wide defaults of the topic properties."""
    out = {}
    for item in _TOPIC_DEFS:
        if item.synonym is not None:
            out[item.synonym] = ConfigDef(
                item.synonym, item.type, item.default, None, item.minimum, item.maximum, item.choices
            )
    out["log.retention.ms"] = ConfigDef("log.retention.ms", LONG, "604800000", nullable=True)
    return out


BROKER_CONFIGS: dict[str, ConfigDef] = {item.name: item for item in _BROKER_DEFS} | _synonyms()

ACTED_UPON = frozenset(
    {
        "cleanup.policy",
        "compression.gzip.level",
        "compression.type",
        "compression.zstd.level",
        "delete.retention.ms",
        "internal.segment.bytes",
        "max.compaction.lag.ms",
        "max.message.bytes",
        "message.timestamp.after.max.ms",
        "message.timestamp.before.max.ms",
        "message.timestamp.type",
        "min.cleanable.dirty.ratio",
        "min.compaction.lag.ms",
        "min.insync.replicas",
        "retention.bytes",
        "retention.ms",
        "segment.bytes",
        "segment.ms",
    }
)


def check_topic_config(name: str, value: str | None) -> None:
    """Raise InvalidConfig unless a topic may have this property with this value."""
    known = TOPIC_CONFIGS.get(name)
    if known is None:
        raise InvalidConfig(f"Unknown topic config name: {name}")
    known.check(value)
