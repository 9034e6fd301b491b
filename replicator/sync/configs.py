"""Which settings a copy has on the target: the source's own, as far as they make sense there.

`desired` says what a topic is created with, `differences` what is to be changed in one that exists.

Some settings aren't copied but decided, whatever the exclusion list says: a copy must take records however old
(`message.timestamp.*`), with their own times (`message.timestamp.type`) and of the source's size
(`max.message.bytes`, which is raised and never lowered: batches from before it was lowered on the source may still be
on their way); and `min.insync.replicas` is raised to the source's own requirement as far as the replicas suffice, and
never weakened.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from replicator.config.models import LinkConfig
from replicator.sync.admin import ConfigSource, ConfigValue

_SET_FOR_TOPIC = frozenset({ConfigSource.TOPIC, ConfigSource.DYNAMIC_BROKER, ConfigSource.DYNAMIC_DEFAULT_BROKER})
_FOREVER = str((1 << 63) - 1)
_DECIDED = frozenset(
    {
        "message.timestamp.before.max.ms",
        "message.timestamp.after.max.ms",
        "message.timestamp.difference.max.ms",
        "message.timestamp.type",
        "min.insync.replicas",
        "max.message.bytes",
    }
)

# Without these the copy would be another kind of topic, or refuse records: a target that refuses them can't have it.
ESSENTIAL = frozenset({"cleanup.policy", "max.message.bytes"})

Configs = Mapping[str, ConfigValue]


@dataclass(frozen=True, slots=True)
class Rules:
    """What the link says about settings. `recompressed`: it has a compression of its own, so that the source's
    `compression.type` mustn't undo it. `source_defaults`: what holds by default on the source is wanted, too."""

    exclude: tuple[str, ...]
    recompressed: bool = False
    source_defaults: bool = False

    @classmethod
    def of(cls, link: LinkConfig) -> Rules:
        """As the link is configured."""
        return cls(link.sync.config_exclude, link.compression != "source", link.use_defaults_from == "source")

    def copies(self, key: str, config: ConfigValue) -> bool:
        """Whether this setting of a source topic is to be the copy's as well."""
        if config.read_only or config.sensitive or config.value is None or key in _DECIDED:
            return False
        if self.recompressed and key == "compression.type":
            return False
        return not self.excludes(key)

    def excludes(self, key: str) -> bool:
        """Whether the exclusion list names it."""
        return _pattern(self.exclude).fullmatch(key) is not None


@dataclass(frozen=True, slots=True)
class DesiredConfigs:
    """The settings to create a topic with, and those of the source that the target doesn't know (key -> value)."""

    settings: dict[str, str]
    unsupported: dict[str, str]


@dataclass(frozen=True, slots=True)
class Differences:
    """What to set, or to remove (None); what the target doesn't know; and the `min.insync.replicas` that the source
    asks for where the target has less, which is to be at most the number of replicas."""

    settings: dict[str, str | None] = field(default_factory=dict)
    unsupported: dict[str, str] = field(default_factory=dict)
    min_insync: int | None = None


def desired(
    source: Configs, target_defaults: Configs | None, rules: Rules, *, replication_factor: int
) -> DesiredConfigs:
    """What a topic with the settings `source` is to be created with.

    `target_defaults` are the settings in force of any topic on the target: they tell which keys its brokers know, and
    what holds there without a setting of our own; None where that isn't known.
    """
    settings: dict[str, str] = {}
    unsupported: dict[str, str] = {}
    for key, config in source.items():
        if config.value is None or not rules.copies(key, config):
            continue
        if config.source not in _SET_FOR_TOPIC:
            theirs = (target_defaults or {}).get(key)
            if rules.source_defaults and theirs is not None and theirs.value not in (None, config.value):
                settings[key] = config.value
        elif target_defaults is not None and key not in target_defaults:
            unsupported[key] = config.value
        else:
            settings[key] = config.value
    limit = source.get("max.message.bytes")
    if limit is not None and limit.value is not None and limit.source in _SET_FOR_TOPIC:
        settings["max.message.bytes"] = limit.value
    settings |= _fitting(source, target_defaults or {}, rules)
    wanted = _min_insync(source, target_defaults or {})
    if wanted is not None:
        default = _number(target_defaults or {}, "min.insync.replicas") or 1
        if min(wanted, replication_factor) > default:
            settings["min.insync.replicas"] = str(min(wanted, replication_factor))
    return DesiredConfigs(settings, unsupported)


def differences(source: Configs, target: Configs, rules: Rules) -> Differences:
    """What differs between a source topic's settings and its copy's, both as they are in force."""
    settings: dict[str, str | None] = {}
    unsupported: dict[str, str] = {}
    for key, config in source.items():
        if not rules.copies(key, config):
            continue
        theirs = target.get(key)
        if theirs is None:
            if config.source in _SET_FOR_TOPIC:
                unsupported[key] = config.value or ""
        elif config.source in _SET_FOR_TOPIC:
            if theirs.value != config.value or theirs.source is not ConfigSource.TOPIC:
                settings[key] = config.value
        elif rules.source_defaults:
            if theirs.value != config.value:
                settings[key] = config.value
        elif theirs.source is ConfigSource.TOPIC:
            settings[key] = None
    settings |= _fitting(source, target, rules)
    return Differences(settings, unsupported, _min_insync(source, target))


def _fitting(source: Configs, target: Configs, rules: Rules) -> dict[str, str]:
    """Whatever the source accepted must fit: its times, however old, and its largest batch."""
    settings = {
        key: _FOREVER
        for key in ("message.timestamp.before.max.ms", "message.timestamp.after.max.ms")
        if key in target and target[key].value != _FOREVER
    }
    only_difference = "message.timestamp.before.max.ms" not in target  # Kafka before 3.6
    difference = target.get("message.timestamp.difference.max.ms")
    if only_difference and difference is not None and difference.value != _FOREVER:
        settings["message.timestamp.difference.max.ms"] = _FOREVER
    timestamp_type = target.get("message.timestamp.type")
    if timestamp_type is not None and timestamp_type.value not in (None, "CreateTime"):
        settings["message.timestamp.type"] = "CreateTime"  # LogAppendTime would replace the records' own times
    largest, allowed = _number(source, "max.message.bytes"), _number(target, "max.message.bytes")
    if largest is not None and allowed is not None and largest > allowed and not rules.excludes("max.message.bytes"):
        settings["max.message.bytes"] = str(largest)
    return settings


def _min_insync(source: Configs, target: Configs) -> int | None:
    """The source's own requirement where it is stricter than what holds on the target."""
    own, wanted = source.get("min.insync.replicas"), _number(source, "min.insync.replicas")
    if own is None or wanted is None or own.source not in _SET_FOR_TOPIC:
        return None
    return wanted if wanted > (_number(target, "min.insync.replicas") or 1) else None


def _number(configs: Configs, key: str) -> int | None:
    config = configs.get(key)
    return int(config.value) if config is not None and config.value is not None and config.value.isdigit() else None


@lru_cache(maxsize=64)
def _pattern(exclude: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in exclude) if exclude else r"(?!)")
