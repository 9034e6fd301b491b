"""Broker-wide settings under their Kafka property names, changeable while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from broker.config_defs import BROKER_CONFIGS, LONG_MAX, TOPIC_CONFIGS, InvalidConfig
from broker.storage.validation import LogConfig

_IN_MS = (
    ("log.retention.ms", "log.retention.minutes", 60_000),
    ("log.retention.ms", "log.retention.hours", 3_600_000),
    ("log.roll.ms", "log.roll.hours", 3_600_000),
)


class BrokerConfig:
    """Static values from the start, dynamic ones on top: of one node, of the whole cluster, then static, then default.

    Those of single groups (`dynamic_by_group`) are only kept here; see `broker.group_configs`.

    Lookups raise KeyError for names that Kafka 4.1 (as far as we know it) doesn't have.
    """

    def __init__(self, static: Mapping[str, str] | None = None) -> None:
        self.static: dict[str, str] = {}
        self.dynamic_default: dict[str, str] = {}
        self.dynamic_by_node: dict[int, dict[str, str]] = {}
        self.dynamic_by_group: dict[str, dict[str, str]] = {}
        self.on_change: list[Callable[[], None]] = []
        for name, value in (static or {}).items():
            known = BROKER_CONFIGS.get(name)
            if known is None:
                raise InvalidConfig(f"Unknown broker config name: {name}")
            known.check(value)
            self.static[name] = value
        self._spell_out_in_ms()

    def _spell_out_in_ms(self) -> None:
        # Kafka's older spellings; the finest unit that is given wins.
        for target, name, unit_ms in _IN_MS:
            if name in self.static and target not in self.static:
                number = int(self.static[name])
                self.static[target] = str(number * unit_ms if number >= 0 else -1)

    def get(self, name: str) -> str | None:
        """The value in force, as text."""
        if name in self.dynamic_default:
            return self.dynamic_default[name]
        if name in self.static:
            return self.static[name]
        return BROKER_CONFIGS[name].default

    def get_int(self, name: str) -> int:
        """The value in force of a number."""
        return int(self.get(name) or 0)

    def get_bool(self, name: str) -> bool:
        """The value in force of a switch."""
        return (self.get(name) or "").lower() == "true"

    def changed(self) -> None:
        """To be called after `dynamic_default` or `dynamic_by_node` was changed."""
        for callback in self.on_change:
            callback()


def topic_value(broker: BrokerConfig, overrides: Mapping[str, str], name: str) -> str | None:
    """A topic property in force: the topic's own, else the broker's, else Kafka's default."""
    if name in overrides:
        return overrides[name]
    known = TOPIC_CONFIGS[name]
    if known.synonym is not None:
        return broker.get(known.synonym)
    return known.default


def log_config(broker: BrokerConfig, overrides: Mapping[str, str]) -> LogConfig:
    """The settings that a log acts upon, resolved."""

    def text(name: str) -> str:
        return topic_value(broker, overrides, name) or ""

    def number(name: str) -> int:
        return int(text(name) or 0)

    policy = frozenset(item.strip() for item in text("cleanup.policy").split(",") if item.strip())
    return LogConfig(
        cleanup_policy=policy,
        compression_type=text("compression.type"),
        gzip_level=number("compression.gzip.level"),
        zstd_level=number("compression.zstd.level"),
        max_message_bytes=number("max.message.bytes"),
        timestamp_type=text("message.timestamp.type"),
        timestamp_before_max_ms=number("message.timestamp.before.max.ms"),
        timestamp_after_max_ms=number("message.timestamp.after.max.ms"),
        segment_bytes=int(text("internal.segment.bytes") or text("segment.bytes")),
        segment_ms=number("segment.ms"),
        retention_ms=number("retention.ms") if text("retention.ms") else LONG_MAX,
        retention_bytes=number("retention.bytes"),
        delete_retention_ms=number("delete.retention.ms"),
        min_compaction_lag_ms=number("min.compaction.lag.ms"),
        max_compaction_lag_ms=number("max.compaction.lag.ms"),
        min_cleanable_dirty_ratio=float(text("min.cleanable.dirty.ratio")),
        min_insync_replicas=number("min.insync.replicas"),
    )
