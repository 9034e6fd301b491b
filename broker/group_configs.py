"""The settings that a single consumer group can have: resources of type GROUP in DescribeConfigs and its relatives.

Kept by the cluster whether or not there is such a group. Left out: the settings of share and streams groups.
"""

from __future__ import annotations

from collections.abc import Mapping

from kio.schema.errors import ErrorCode

from broker.config import BrokerConfig
from broker.config_defs import INT, ConfigDef, InvalidConfig
from broker.errors import KafkaError

SESSION_TIMEOUT, HEARTBEAT_INTERVAL = "consumer.session.timeout.ms", "consumer.heartbeat.interval.ms"

GROUP_CONFIGS = {
    each.name: each
    for each in (
        ConfigDef(
            HEARTBEAT_INTERVAL,
            INT,
            "5000",
            "group.consumer.heartbeat.interval.ms",
            1,
            documentation="The heartbeat interval given to the members of a consumer group.",
        ),
        ConfigDef(
            SESSION_TIMEOUT,
            INT,
            "45000",
            "group.consumer.session.timeout.ms",
            1,
            documentation="The timeout to detect client failures when using the consumer group protocol.",
        ),
    )
}
"""By name; the synonym is the broker's property that applies to groups without a value of their own."""

_LIMITS = {HEARTBEAT_INTERVAL: "heartbeat.interval.ms", SESSION_TIMEOUT: "session.timeout.ms"}


def value_of(config: BrokerConfig, group_id: str, name: str) -> int:
    """The value in force for a group."""
    own = config.dynamic_by_group.get(group_id, {})
    if name in own:
        return int(own[name])
    synonym = GROUP_CONFIGS[name].synonym
    assert synonym is not None
    return config.get_int(synonym)


def check_group_name(group_id: str) -> None:
    """Raise INVALID_REQUEST for the empty name: there are no defaults for all groups."""
    if not group_id:
        raise KafkaError(ErrorCode.invalid_request, "Default group resources are not allowed.")


def check_group_configs(config: BrokerConfig, wanted: Mapping[str, str]) -> None:
    """Raise INVALID_CONFIG unless a group may have these settings, within the broker's limits."""
    for name, value in wanted.items():
        known = GROUP_CONFIGS.get(name)
        if known is None:
            raise _invalid(f"Unknown group config name: {name}")
        try:
            known.check(value)
        except InvalidConfig as error:
            raise _invalid(str(error)) from error
    numbers = {name: int(wanted[name]) if name in wanted else value_of(config, "", name) for name in GROUP_CONFIGS}
    for name, number in numbers.items():
        low, high = (f"group.consumer.{end}.{_LIMITS[name]}" for end in ("min", "max"))
        if name in wanted and number < config.get_int(low):
            raise _invalid(f"{name} must be greater than or equal to {low}")
        if name in wanted and number > config.get_int(high):
            raise _invalid(f"{name} must be less than or equal to {high}")
    if numbers[SESSION_TIMEOUT] <= numbers[HEARTBEAT_INTERVAL]:
        raise _invalid(f"{SESSION_TIMEOUT} must be greater than {HEARTBEAT_INTERVAL}")


def _invalid(message: str) -> KafkaError:
    return KafkaError(ErrorCode.invalid_config, message)
