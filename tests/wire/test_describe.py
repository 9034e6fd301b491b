"""DescribeConfigs, DescribeAcls and Metadata by id against kio's schemas."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from replicator.errors import ProtocolError
from replicator.wire.describe_acls import AclEntry, describe_acls
from replicator.wire.describe_configs import Setting, SettingsDecoder
from replicator.wire.kafka_errors import BrokerError
from replicator.wire.metadata import fetch_topic_errors
from tests.wire.test_messages import Scripted


def setting(name: str, value: str | None, source: int = 5, **more: Any) -> dict[str, Any]:
    return {
        "name": name, "value": value, "read_only": False, "config_source": source, "is_sensitive": False,
        "synonyms": [], "config_type": 1, "documentation": None, **more,
    }  # fmt: skip


def topic(name: str, configs: list[dict[str, Any]], error: int = 0, message: str | None = None) -> dict[str, Any]:
    return {
        "error_code": error, "error_message": message, "resource_type": 2, "resource_name": name, "configs": configs
    }  # fmt: skip


async def test_given_kios_settings_then_all_are_read_equal_ones_are_one_object_and_no_answer_is_read_twice() -> None:
    configs = [
        setting("retention.ms", "5", 1),
        setting("empty", ""),
        setting("secret", None, 4, is_sensitive=True, read_only=True),
        setting("s", "x", synonyms=[{"name": "log.s", "value": None, "source": 4}], documentation="about"),
    ]
    fields = {"throttle_time": 0, "results": [topic("a", configs), topic("b", configs), topic("c", [], 29, "no")]}
    connection = Scripted({32: (0, 4)}, fields)
    decoder = SettingsDecoder()
    first = await decoder.describe(connection, ["a", "b", "c"], None)
    assert first.topics["a"].settings == {
        "retention.ms": Setting("5", 1, False, False),
        "empty": Setting("", 5, False, False),
        "secret": Setting(None, 4, True, True),
        "s": Setting("x", 5, False, False),
    }
    assert first.topics["a"] is first.topics["b"]
    assert (first.topics["c"].error, first.topics["c"].message) == (29, "no")
    assert await decoder.describe(connection, ["a", "b", "c"], first) is first
    asked = connection.asked[0]
    assert [(r.resource_type, r.resource_name, r.configuration_keys) for r in asked.resources] == [
        (2, name, None) for name in "abc"
    ]
    assert not asked.include_synonyms
    assert not asked.include_documentation
    changed = {**fields, "results": [topic("a", [setting("retention.ms", "6", 1)]), *fields["results"][1:]]}  # type: ignore[misc]
    second = await decoder.describe(Scripted({32: (0, 4)}, changed), ["a", "b", "c"], first)
    assert second.topics["a"].settings["retention.ms"].value == "6"
    assert second.topics["b"] is first.topics["b"]


@pytest.mark.parametrize("version", [2, 3])
async def test_given_kios_acls_then_all_are_read_and_a_refusal_is_an_error(version: int) -> None:
    acls = [
        {"principal": "User:a", "host": "*", "operation": 3, "permission_type": 3},
        {"principal": "User:b", "host": "10.0.0.1", "operation": 15, "permission_type": 2},
    ]
    fields = {
        "throttle_time": 0, "error_code": 0, "error_message": None,
        "resources": [{"resource_type": 2, "resource_name": "orders", "pattern_type": 4, "acls": acls}],
    }  # fmt: skip
    connection = Scripted({29: (0, version)}, fields)
    found = await describe_acls(connection, 2)
    assert found.acls == (
        AclEntry(2, "orders", 4, "User:a", "*", 3, 3),
        AclEntry(2, "orders", 4, "User:b", "10.0.0.1", 15, 2),
    )
    assert await describe_acls(connection, 2, found) is found
    asked = connection.asked[0]
    assert (asked.resource_type_filter, asked.resource_name_filter, asked.pattern_type_filter) == (2, None, 1)
    assert (asked.principal_filter, asked.host_filter, asked.operation, asked.permission_type) == (None, None, 1, 1)
    refused = {"throttle_time": 0, "error_code": 31, "error_message": "no", "resources": []}
    with pytest.raises(BrokerError, match="CLUSTER_AUTHORIZATION_FAILED"):
        await describe_acls(Scripted({29: (0, version)}, refused), 2, found)


async def test_given_topic_ids_when_asked_then_each_has_its_error() -> None:
    ids = [uuid.UUID(int=7), uuid.UUID(int=8)]
    fields = {
        "throttle_time": 0, "cluster_id": "c", "controller_id": 1, "brokers": [],
        "topics": [
            {"error_code": code, "name": None, "topic_id": topic_id, "is_internal": False, "partitions": []}
            for topic_id, code in zip(ids, (100, 29), strict=True)
        ],
    }  # fmt: skip
    connection = Scripted({3: (0, 13)}, fields)
    assert await fetch_topic_errors(connection, ids) == {ids[0]: 100, ids[1]: 29}
    assert [(t.topic_id, t.name) for t in connection.asked[0].topics] == [(topic_id, None) for topic_id in ids]
    assert not connection.asked[0].allow_auto_topic_creation


async def test_given_an_answer_that_is_cut_off_then_it_is_refused() -> None:
    with pytest.raises(ProtocolError):
        await describe_acls(Scripted({29: (0, 3)}, bytes(7) + b"\x05\x00\x00\x09abc"), 2)
    with pytest.raises(ProtocolError):
        SettingsDecoder().decode(memoryview(bytes(4) + b"\x05\x00\x00\x09abc"))
