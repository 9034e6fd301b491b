"""What Kafka 4.1 answers and the bundled broker doesn't know. Each entry fails when that changes: then it goes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kafka.scene import Scene

LEFT_OUT: dict[str, tuple[str, int, dict[str, Any]]] = {
    "changes of client quotas": ("alter_client_quotas", 1, {"entries": [], "validate_only": True}),
    "feature levels": ("update_features", 2, {"timeout": 1000, "validate_only": True}),
    "reassignments": ("list_partition_reassignments", 0, {"timeout": 1000, "topics": None}),
    "other log directories": ("alter_replica_log_dirs", 2, {"dirs": []}),
    "the KRaft quorum": (
        "describe_quorum",
        2,
        {"topics": [{"topic_name": "__cluster_metadata", "partitions": [{"partition_index": 0}]}]},
    ),
    "delegation tokens": ("describe_delegation_token", 3, {"owners": None}),
    "share groups": ("share_group_describe", 1, {"group_ids": ["g"]}),
}


@pytest.mark.parametrize("what", LEFT_OUT)
def test_given_an_api_of_kafka_when_asked_then_it_is_answered(
    scene: Scene, what: str, request: pytest.FixtureRequest
) -> None:
    if scene.kind == "bundled":
        request.applymarker(pytest.mark.xfail(strict=True, reason=f"the bundled broker leaves out {what}"))
    api, version, values = LEFT_OUT[what]
    scene.client.call(api, version, **values)
