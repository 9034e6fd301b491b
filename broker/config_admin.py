"""Describing and changing the settings of topics, brokers and groups, for DescribeConfigs and its relatives.

Codes and messages are those of Kafka 4.1. Broker settings are shared by all nodes: a value set for one node is kept
and described, and acted upon only if it is also the cluster's.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kio.schema.errors import ErrorCode

from broker.config_defs import BROKER_CONFIGS, TOPIC_CONFIGS, ConfigDef, ConfigType, InvalidConfig
from broker.config_docs import TOPIC_DOCUMENTATION
from broker.errors import KafkaError
from broker.group_configs import GROUP_CONFIGS, check_group_configs, check_group_name, value_of
from broker.security.resources import Operation as Permitted
from broker.security.resources import ResourceType
from broker.topics import Topic, check_name

if TYPE_CHECKING:
    from broker.cluster import Cluster
    from broker.node import Node, RequestContext

TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32
SENSITIVE = frozenset({ConfigType.PASSWORD})


class Source(enum.IntEnum):
    """Where a value comes from, as DescribeConfigs numbers it."""

    TOPIC = 1
    DYNAMIC_BROKER = 2
    DYNAMIC_DEFAULT = 3
    STATIC = 4
    DEFAULT = 5
    GROUP = 8


class Operation(enum.IntEnum):
    """What IncrementalAlterConfigs can do to a value."""

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one setting."""

    name: str
    operation: int
    value: str | None


@dataclass(frozen=True, slots=True)
class Value:
    """A value under the name and source it was set with."""

    name: str
    value: str | None
    source: Source


def authorize(ctx: RequestContext, operation: Permitted, kind: int, name: str) -> None:
    """Raise KafkaError unless the client may describe or alter the settings of this resource."""
    if kind in (TOPIC, GROUP):
        ctx.access.require(operation, ResourceType.TOPIC if kind == TOPIC else ResourceType.GROUP, name)
    else:
        ctx.access.require(operation, ResourceType.CLUSTER)


# --- describing ------------------------------------------------------------------------------------------------------


def describe(cluster: Cluster, node: Node, kind: int, name: str, keys: Sequence[str] | None) -> list[dict[str, Any]]:
    """The settings of a resource as DescribeConfigs shows them, synonyms included. Raises KafkaError."""
    if kind == TOPIC:
        return _describe_topic(cluster, node, name, keys)
    if kind == BROKER:
        return _describe_broker(cluster, node, name, keys)
    if kind == GROUP:
        return _describe_group(cluster, name, keys)
    raise KafkaError(ErrorCode.invalid_request, f"Resource type {kind} can't be described")


def _describe_topic(cluster: Cluster, node: Node, name: str, keys: Sequence[str] | None) -> list[dict[str, Any]]:
    topic = cluster.topics.get(name)
    if topic is None:
        _check_topic_name(cluster, name)
        raise KafkaError(ErrorCode.unknown_topic_or_partition)
    rows = []
    for known in TOPIC_CONFIGS.values():
        if known.internal and known.name not in topic.configs:
            continue
        if keys is None or known.name in keys:
            own = [Value(known.name, topic.configs[known.name], Source.TOPIC)] if known.name in topic.configs else []
            inherited = _broker_values(cluster, node.node_id, known.synonym) if known.synonym else []
            values = own + inherited
            rows.append(_row(known, values or [Value(known.name, known.default, Source.DEFAULT)], read_only=False))
    return rows


def _describe_broker(cluster: Cluster, node: Node, name: str, keys: Sequence[str] | None) -> list[dict[str, Any]]:
    if not name:
        return [
            _row(_known(key), [Value(key, value, Source.DYNAMIC_DEFAULT)], read_only=False)
            for key, value in cluster.config.dynamic_default.items()
            if keys is None or key in keys
        ]
    node_id = _node_id(name, "Broker")
    if node_id != node.node_id:
        raise KafkaError(
            ErrorCode.invalid_request,
            f"Unexpected broker id, expected {node.node_id} or empty string, but received {name}",
        )
    return [
        _row(known, _broker_values(cluster, node_id, known.name), read_only=known.read_only)
        for known in BROKER_CONFIGS.values()
        if keys is None or known.name in keys
    ]


def _describe_group(cluster: Cluster, name: str, keys: Sequence[str] | None) -> list[dict[str, Any]]:
    if not name:
        raise KafkaError(ErrorCode.invalid_request, "Group name must not be empty")
    own = cluster.config.dynamic_by_group.get(name, {})
    rows = []
    for known in GROUP_CONFIGS.values():
        if keys is None or known.name in keys:
            source = Source.GROUP if known.name in own else Source.DEFAULT
            value = Value(known.name, str(value_of(cluster.config, name, known.name)), source)
            rows.append(_row(known, [value], read_only=False))
    return rows


def _broker_values(cluster: Cluster, node_id: int, name: str) -> list[Value]:
    """Everything that says something about a broker setting, the strongest first."""
    config = cluster.config
    own = config.dynamic_by_node.get(node_id, {})
    values = []
    if name in own:
        values.append(Value(name, own[name], Source.DYNAMIC_BROKER))
    if name in config.dynamic_default:
        values.append(Value(name, config.dynamic_default[name], Source.DYNAMIC_DEFAULT))
    if name in config.static:
        values.append(Value(name, config.static[name], Source.STATIC))
    known = BROKER_CONFIGS.get(name)
    if known is not None and known.default is not None:
        values.append(Value(name, known.default, Source.DEFAULT))
    return values


def _row(known: ConfigDef, values: Sequence[Value], *, read_only: bool) -> dict[str, Any]:
    sensitive = known.type in SENSITIVE
    first = values[0] if values else Value(known.name, None, Source.DEFAULT)
    return {
        "name": known.name,
        "value": None if sensitive else first.value,
        "read_only": read_only,
        "config_source": int(first.source),
        "is_sensitive": sensitive,
        "synonyms": [
            {"name": each.name, "value": None if sensitive else each.value, "source": int(each.source)}
            for each in values
            if not (len(values) == 1 and known.synonym is None and each.source is Source.DEFAULT)
        ],
        "config_type": int(known.type),
        "documentation": known.documentation or TOPIC_DOCUMENTATION.get(known.name),
    }


def _known(name: str) -> ConfigDef:
    return BROKER_CONFIGS.get(name) or ConfigDef(name, ConfigType.STRING, None)


# --- changing --------------------------------------------------------------------------------------------------------


def alter(
    cluster: Cluster, node: Node, kind: int, name: str, changes: Sequence[Change], *, validate_only: bool
) -> None:
    """Apply incremental changes to a resource, all or none. Raises KafkaError."""
    if len({change.name for change in changes}) != len(changes):
        raise KafkaError(ErrorCode.invalid_request, "Error due to duplicate config keys")
    for change in changes:
        if change.operation not in list(Operation):
            raise KafkaError(ErrorCode.unknown_server_error)
        if change.value is None and change.operation != Operation.DELETE:
            raise KafkaError(ErrorCode.invalid_request, f"Null value not supported for : {change.name}")
    if kind == TOPIC:
        topic = _topic_to_alter(cluster, name)
        wanted = _changed(topic.configs, changes, TOPIC_CONFIGS, _effective_lists(cluster, topic))
        _set_topic(cluster, topic, wanted, validate_only=validate_only)
    elif kind == BROKER:
        current = _broker_layer(cluster, node, name)
        wanted = _changed(current, changes, BROKER_CONFIGS, {})
        _set_broker(cluster, name, wanted, [change.name for change in changes], validate_only=validate_only)
    elif kind == GROUP:
        wanted = _changed(cluster.config.dynamic_by_group.get(name, {}), changes, GROUP_CONFIGS, {})
        _set_group(cluster, name, wanted, validate_only=validate_only)
    else:
        raise KafkaError(ErrorCode.invalid_request, f"Unknown resource type {kind}")


def replace(
    cluster: Cluster, node: Node, kind: int, name: str, values: Mapping[str, str | None], *, validate_only: bool
) -> None:
    """Set exactly these settings (AlterConfigs): whatever isn't named goes back to its default. Raises KafkaError."""
    missing = [key for key, value in values.items() if value is None]
    if missing:
        raise KafkaError(ErrorCode.invalid_request, f"Null value not supported for : {','.join(missing)}")
    wanted = {key: value for key, value in values.items() if value is not None}
    if kind == TOPIC:
        _set_topic(cluster, _topic_to_alter(cluster, name), wanted, validate_only=validate_only)
    elif kind == BROKER:
        _broker_layer(cluster, node, name)
        _set_broker(cluster, name, wanted, list(wanted), validate_only=validate_only)
    elif kind == GROUP:
        _set_group(cluster, name, wanted, validate_only=validate_only)
    else:
        raise KafkaError(ErrorCode.invalid_request, f"Unknown resource type {kind}")


def _changed(
    current: Mapping[str, str], changes: Sequence[Change], known: Mapping[str, ConfigDef], inherited: Mapping[str, str]
) -> dict[str, str]:
    wanted = dict(current)
    for change in changes:
        if change.operation == Operation.SET:
            assert change.value is not None
            wanted[change.name] = change.value
        elif change.operation == Operation.DELETE:
            wanted.pop(change.name, None)
        else:
            wanted[change.name] = _merged(change, wanted, known, inherited)
    return wanted


def _merged(
    change: Change, current: Mapping[str, str], known: Mapping[str, ConfigDef], inherited: Mapping[str, str]
) -> str:
    found = known.get(change.name)
    if found is None or found.type is not ConfigType.LIST:
        raise KafkaError(
            ErrorCode.invalid_config,
            f"Can't {Operation(change.operation).name} to key {change.name} because its type is not LIST.",
        )
    before = _items(current.get(change.name, inherited.get(change.name, found.default)))
    named = _items(change.value)
    if change.operation == Operation.APPEND:
        after = before + [item for item in named if item not in before]
    else:
        after = [item for item in before if item not in named]
    return ",".join(after)


def _items(value: str | None) -> list[str]:
    return [item.strip() for item in (value or "").split(",") if item.strip()]


def _effective_lists(cluster: Cluster, topic: Topic) -> dict[str, str]:
    """What APPEND and SUBTRACT start from where the topic has no value of its own."""
    return {
        known.name: cluster.config.get(known.synonym) or ""
        for known in TOPIC_CONFIGS.values()
        if known.type is ConfigType.LIST and known.synonym is not None and known.name not in topic.configs
    }


def _topic_to_alter(cluster: Cluster, name: str) -> Topic:
    if not name:
        raise KafkaError(ErrorCode.invalid_request, "Default topic resources are not allowed.")
    _check_topic_name(cluster, name)
    topic = cluster.topics.get(name)
    if topic is None:
        raise KafkaError(ErrorCode.unknown_topic_or_partition, f"The topic '{name}' does not exist.")
    return topic


def _check_topic_name(cluster: Cluster, name: str) -> None:
    try:
        check_name(name, cluster.topics)
    except KafkaError as error:
        if "is invalid" in str(error):
            raise


def _set_topic(cluster: Cluster, topic: Topic, wanted: Mapping[str, str], *, validate_only: bool) -> None:
    for key, value in wanted.items():
        if topic.configs.get(key) != value:
            _check(TOPIC_CONFIGS.get(key), key, value)
    if not validate_only:
        cluster.alter_topic_configs(topic, dict(wanted))


def _check(known: ConfigDef | None, key: str, value: str) -> None:
    if known is None:
        raise KafkaError(ErrorCode.invalid_config, f"Unknown topic config name: {key}")
    try:
        known.check(value)
    except InvalidConfig as error:
        raise KafkaError(ErrorCode.invalid_config, str(error)) from error


def _broker_layer(cluster: Cluster, node: Node, name: str) -> dict[str, str]:
    if not name:
        return cluster.config.dynamic_default
    node_id = _node_id(name, "Node")
    if node_id != node.node_id:
        raise KafkaError(
            ErrorCode.invalid_request, f"Unexpected broker id, expected {node.node_id}, but received {name}"
        )
    return cluster.config.dynamic_by_node.get(node_id, {})


def _node_id(name: str, what: str) -> int:
    try:
        return int(name)
    except ValueError:
        raise KafkaError(ErrorCode.invalid_request, f"{what} id must be an integer, but it is: {name}") from None


def _set_broker(
    cluster: Cluster, name: str, wanted: Mapping[str, str], touched: Iterable[str], *, validate_only: bool
) -> None:
    fixed = sorted(key for key in touched if (known := BROKER_CONFIGS.get(key)) is not None and known.read_only)
    if fixed:
        raise KafkaError(ErrorCode.invalid_request, f"Cannot update these configs dynamically: Set({', '.join(fixed)})")
    for key, value in wanted.items():
        known = BROKER_CONFIGS.get(key)
        if known is not None:  # others are kept and described, as in Kafka
            _check(known, key, value)
    if validate_only:
        return
    if name:
        cluster.config.dynamic_by_node[int(name)] = dict(wanted)
    else:
        cluster.config.dynamic_default.clear()
        cluster.config.dynamic_default.update(wanted)
    cluster.config.changed()


def _set_group(cluster: Cluster, name: str, wanted: Mapping[str, str], *, validate_only: bool) -> None:
    check_group_name(name)
    check_group_configs(cluster.config, wanted)
    if validate_only:
        return
    if wanted:
        cluster.config.dynamic_by_group[name] = dict(wanted)
    else:
        cluster.config.dynamic_by_group.pop(name, None)
    cluster.config.changed()
