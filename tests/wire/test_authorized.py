"""What we may do, as brokers tell it: encoded and decoded against kio's schemas, another implementation."""

from __future__ import annotations

from typing import Any

import pytest
from kio.schema.errors import ErrorCode

from replicator.errors import ProtocolError, UnsupportedVersionError
from replicator.wire.authorized import AuthorizedGroup, authorized_groups, authorized_topics
from tests.wire.fakebroker import body_of
from tests.wire.test_groups import Scripted, decode

READ_AND_DESCRIBE = 1 << 3 | 1 << 8
UNTOLD = -(1 << 31)
MEMBER = {
    "member_id": "m",
    "group_instance_id": None,
    "client_id": "c",
    "client_host": "/127.0.0.1",
    "member_metadata": b"\x00" * 200,
    "member_assignment": b"\x01" * 3,
}


def topic(name: str, operations: int, code: ErrorCode = ErrorCode.none, partitions: int = 0) -> dict[str, Any]:
    return {
        "error_code": code,
        "name": name,
        "topic_id": None,
        "is_internal": False,
        "partitions": [
            {
                "error_code": ErrorCode.none,
                "partition_index": index,
                "leader_id": 1,
                "leader_epoch": 0,
                "replica_nodes": (1, 2),
                "isr_nodes": (1,),
                "offline_replicas": (2,),
            }
            for index in range(partitions)
        ],
        "topic_authorized_operations": operations,
    }


def metadata(*topics: dict[str, Any], cluster: int = UNTOLD) -> memoryview:
    broker = {"node_id": 1, "host": "b", "port": 9092, "rack": None}
    fields = {"brokers": [broker], "cluster_id": "c", "controller_id": 1, "topics": list(topics)}
    return body_of(3, 10, {**fields, "cluster_authorized_operations": cluster})


def group(name: str, operations: int, code: ErrorCode = ErrorCode.none, members: int = 0) -> dict[str, Any]:
    return {
        "error_code": code,
        "group_id": name,
        "group_state": "Stable",
        "protocol_type": "consumer",
        "protocol_data": "range",
        "members": [MEMBER] * members,
        "authorized_operations": operations,
    }


async def test_given_topics_when_asked_for_then_each_ones_operations_are_told_and_nothing_is_created() -> None:
    answer = metadata(
        topic("there", READ_AND_DESCRIBE, partitions=3),
        topic("coming", 1 << 8 | 1 << 11, ErrorCode.unknown_topic_or_partition),
        topic("hidden", UNTOLD, ErrorCode.topic_authorization_failed),
        topic("unsaid", UNTOLD),
        cluster=1 << 8 | 1 << 12,
    )
    connection = Scripted({3: (0, 13)}, answer)
    found = await authorized_topics(connection, ["there", "coming", "hidden", "unsaid"])
    assert found.cluster == {"Describe", "IdempotentWrite"}
    assert found.topics == {
        "there": {"Read", "Describe"},
        "coming": {"Describe", "AlterConfigs"},
        "hidden": frozenset(),
        "unsaid": None,
    }
    request = decode(3, 10, connection.asked[0][2])
    assert [each.name for each in request.topics] == ["there", "coming", "hidden", "unsaid"]
    assert (request.allow_auto_topic_creation, request.include_topic_authorized_operations) == (False, True)
    assert request.include_cluster_authorized_operations


@pytest.mark.parametrize(("told", "known"), [(0, frozenset()), (UNTOLD, None)])
async def test_given_a_cluster_that_mayn_t_be_described_then_that_isn_t_taken_for_one_that_says_nothing(
    told: int, known: object
) -> None:
    assert (await authorized_topics(Scripted({3: (0, 13)}, metadata(cluster=told)), [])).cluster == known


async def test_given_groups_when_asked_for_then_each_ones_operations_are_told() -> None:
    groups = [
        group("there", READ_AND_DESCRIBE, members=2),
        group("hidden", UNTOLD, ErrorCode.group_authorization_failed),
        group("elsewhere", UNTOLD, ErrorCode.not_coordinator),
    ]
    answer = body_of(15, 5, {"groups": groups})
    connection = Scripted({15: (0, 6)}, answer)
    assert await authorized_groups(connection, ["there", "hidden", "elsewhere"]) == {
        "there": AuthorizedGroup(0, frozenset({"Read", "Describe"})),
        "hidden": AuthorizedGroup(0, frozenset()),
        "elsewhere": AuthorizedGroup(16, None),
    }
    request = decode(15, 5, connection.asked[0][2])
    assert (request.groups, request.include_authorized_operations) == (("there", "hidden", "elsewhere"), True)
    for end in range(1, len(answer) - 1):
        with pytest.raises(ProtocolError):
            await authorized_groups(Scripted({15: (0, 6)}, answer[:end]), ["there"])


async def test_given_a_broker_that_is_too_new_or_too_old_then_it_is_said() -> None:
    for versions in ((0, 9), (11, 13)):
        with pytest.raises(UnsupportedVersionError):
            await authorized_topics(Scripted({3: versions}, metadata()), [])
