"""Quotas, log directories, features and replicas against kio's schemas."""

from __future__ import annotations

from typing import Any

import pytest

from replicator.wire.describe_log_dirs import LogDir, describe_log_dirs
from replicator.wire.describe_quotas import Quota, describe_client_quotas
from replicator.wire.features import finalized_features, release_of
from replicator.wire.kafka_errors import BrokerError
from replicator.wire.metadata import Replicas, fetch_replicas, fetch_replication
from tests.wire.test_messages import IDS, Scripted


async def test_given_kios_quotas_then_all_are_read_and_a_refusal_is_an_error() -> None:
    entries = [
        {
            "entity": [{"entity_type": "user", "entity_name": None}, {"entity_type": "client-id", "entity_name": "x"}],
            "values": [{"key": "producer_byte_rate", "value": 1024.5}],
        },
        {"entity": [{"entity_type": "ip", "entity_name": "10.0.0.1"}], "values": []},
    ]
    fields = {"throttle_time": 0, "error_code": 0, "error_message": None, "entries": entries}
    connection = Scripted({48: (0, 1)}, fields)
    found = await describe_client_quotas(connection)
    assert found == [
        Quota({"user": "", "client-id": "x"}, {"producer_byte_rate": 1024.5}),
        Quota({"ip": "10.0.0.1"}, {}),
    ]
    assert (connection.asked[0].components, connection.asked[0].strict) == ((), False)
    assert found[0].of == "client-id x, any user"
    refused = {**fields, "error_code": 31, "entries": None}
    with pytest.raises(BrokerError, match="CLUSTER_AUTHORIZATION_FAILED"):
        await describe_client_quotas(Scripted({48: (0, 1)}, refused))


@pytest.mark.parametrize(
    ("entity", "concerned"),
    [
        ({"user": "me"}, True),
        ({"user": ""}, True),
        ({"user": "you"}, False),
        ({"client-id": "replicator-l-x"}, True),
        ({"user": "me", "client-id": "other"}, False),
        ({"ip": "1.2.3.4"}, False),
    ],
)
def test_given_a_quota_then_it_is_known_whether_it_concerns_us(entity: dict[str, str], concerned: bool) -> None:
    assert Quota(entity, {}).concerns("me", "replicator-l-") is concerned


@pytest.mark.parametrize("version", [2, 3, 4])
async def test_given_kios_log_directories_then_they_are_read(version: int) -> None:
    partition = {"partition_index": 1, "partition_size": 7, "offset_lag": 0, "is_future_key": False}
    rows: list[dict[str, Any]] = [
        {"error_code": 0, "log_dir": "/a", "topics": [{"name": "t", "partitions": [partition]}]},
        {"error_code": 56, "log_dir": "/b", "topics": []},
    ]
    if version >= 4:
        rows = [{**row, "total_bytes": 100, "usable_bytes": 5} for row in rows]
    fields = {"throttle_time": 0, "results": rows, **({"error_code": 0} if version >= 3 else {})}
    connection = Scripted({35: (1, version)}, fields)
    sizes = (100, 5) if version >= 4 else (-1, -1)
    assert await describe_log_dirs(connection) == [LogDir("/a", 0, *sizes), LogDir("/b", 56, *sizes)]
    assert connection.asked[0].topics == ()


async def test_given_kios_features_then_the_finalized_ones_are_read() -> None:
    level = {"name": "metadata.version", "max_version_level": 25, "min_version_level": 1}
    fields = {
        "error_code": 0, "throttle_time": 0, "api_keys": [{"api_key": 18, "min_version": 0, "max_version": 4}],
        "supported_features": [], "finalized_features_epoch": 3, "finalized_features": [level],
        "zk_migration_ready": False,
    }  # fmt: skip
    assert await finalized_features(Scripted({18: (0, 4)}, fields)) == {"metadata.version": 25}
    assert await finalized_features(Scripted({18: (0, 2)}, b"")) == {}
    assert [release_of(level) for level in (1, 7, 19, 25, 27, 40)] == ["", "3.3", "3.7", "4.0", "4.1", "4.1 or newer"]


async def test_given_kios_metadata_then_replicas_are_counted() -> None:
    rows = [
        {
            "error_code": 0, "partition_index": index, "leader_id": leader, "leader_epoch": 8,
            "replica_nodes": [1, 2, 3], "isr_nodes": isr, "offline_replicas": [3],
        }
        for index, leader, isr in ((0, 1, [1, 2]), (1, -1, []))
    ]  # fmt: skip
    topic = {"error_code": 0, "name": "t", "topic_id": IDS[0], "is_internal": False, "partitions": rows}
    fields = {"throttle_time": 0, "cluster_id": "c", "controller_id": 2, "brokers": [], "topics": [topic]}
    found = await fetch_replicas(Scripted({3: (0, 12)}, fields), ["t"])
    assert found == {"t": [Replicas(1, 3, 2, 1), Replicas(-1, 3, 0, 1)]}
    assert await fetch_replication(Scripted({3: (0, 12)}, fields), ["t"]) == {"t": 3}
