"""Which settings a topic gets on the target when it is created: the source's own, as far as they make sense there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from replicator.sync.admin import ConfigSource, ConfigValue

# MirrorMaker 2's default `config.properties.exclude`; the last two are decided below instead of being dropped.
_EXCLUDED = (
    r"follower\.replication\.throttled\.replicas",
    r"leader\.replication\.throttled\.replicas",
    r"message\.timestamp\.difference\.max\.ms",
    r"message\.timestamp\.(before|after)\.max\.ms",  # its successors: old records must fit, see `_fitting`
    r"unclean\.leader\.election\.enable",
    r"message\.timestamp\.type",
    r"min\.insync\.replicas",
    r"remote\.(storage|log)\..*",  # tiered storage is a property of the cluster, not of the data
    r"local\.retention\..*",
)
_EXCLUDED_PATTERN = re.compile("|".join(_EXCLUDED))
_SET_FOR_TOPIC = {ConfigSource.TOPIC, ConfigSource.DYNAMIC_BROKER, ConfigSource.DYNAMIC_DEFAULT_BROKER}
_FOREVER = str((1 << 63) - 1)

# Without these the copy would be another kind of topic, or refuse records: a target that refuses them can't have it.
ESSENTIAL = frozenset({"cleanup.policy", "max.message.bytes"})


@dataclass(frozen=True, slots=True)
class DesiredConfigs:
    """The settings to create a topic with, and those of the source that the target doesn't know (key -> value)."""

    settings: dict[str, str]
    unsupported: dict[str, str]


def desired(
    source: Mapping[str, ConfigValue],
    target_defaults: Mapping[str, ConfigValue] | None,
    *,
    replication_factor: int,
    recompressed: bool = False,
) -> DesiredConfigs:
    """What a topic with the settings `source` is to be created with.

    `target_defaults` are the settings in force of any topic on the target: they tell which keys its brokers know, and
    what holds there without a setting of our own; None where that isn't known. `recompressed` says that the link has a
    compression of its own, so that the source's `compression.type` mustn't undo it.
    """
    settings: dict[str, str] = {}
    unsupported: dict[str, str] = {}
    for key, config in source.items():
        if config.value is None or not _copied(key, config) or (recompressed and key == "compression.type"):
            continue
        if target_defaults is not None and key not in target_defaults:
            unsupported[key] = config.value
        else:
            settings[key] = config.value
    settings |= _fitting(source, target_defaults)
    settings |= _min_insync(source, target_defaults, replication_factor)
    return DesiredConfigs(settings, unsupported)


def _copied(key: str, config: ConfigValue) -> bool:
    if config.source not in _SET_FOR_TOPIC or config.read_only or config.sensitive:
        return False
    return not _EXCLUDED_PATTERN.fullmatch(key)


def _fitting(source: Mapping[str, ConfigValue], target: Mapping[str, ConfigValue] | None) -> dict[str, str]:
    """Whatever the source accepted must fit: its times, however old, and its largest batch."""
    if target is None:
        return {}
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
    if largest is not None and allowed is not None and largest > allowed:
        settings["max.message.bytes"] = str(largest)
    return settings


def _min_insync(
    source: Mapping[str, ConfigValue], target: Mapping[str, ConfigValue] | None, replication_factor: int
) -> dict[str, str]:
    """The source's own requirement where it is stricter than the target's default, as far as the replicas suffice."""
    own = source.get("min.insync.replicas")
    wanted = _number(source, "min.insync.replicas")
    if own is None or wanted is None or own.source not in _SET_FOR_TOPIC:
        return {}
    wanted = min(wanted, replication_factor)
    default = _number(target or {}, "min.insync.replicas") or 1
    return {"min.insync.replicas": str(wanted)} if wanted > default else {}


def _number(configs: Mapping[str, ConfigValue], key: str) -> int | None:
    config = configs.get(key)
    return int(config.value) if config is not None and config.value is not None and config.value.isdigit() else None
