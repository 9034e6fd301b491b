"""Settings of topics follow the source while a worker runs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from tests.e2e.pairs import KAFKA, LONG_BUNDLED, on
from tests.e2e.rig import AnyCluster, Pair
from tests.support.copying import create
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow]

WITHIN_S = 10.0


def alter(cluster: AnyCluster, topic: str, settings: dict[str, str | None]) -> None:
    entries = [
        ConfigEntry(
            key, value, incremental_operation=AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET
        )
        for key, value in settings.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    admin = cluster.admin()
    admin.incremental_alter_configs([resource])[resource].result(15)


def own(cluster: AnyCluster, topic: str) -> dict[str, str]:
    """The topic's own settings, but for the time limits that every copy has."""
    admin, resource = cluster.admin(), ConfigResource(ResourceType.TOPIC, topic)
    try:
        found = admin.describe_configs([resource])[resource].result(15)
    except KafkaException:
        return {}  # so new that this broker doesn't know it
    return {key: entry.value for key, entry in found.items() if entry.source == 1 and "timestamp" not in key}


def becomes(cluster: AnyCluster, wanted: dict[str, dict[str, str]], within: float = WITHIN_S) -> None:
    def same() -> bool:
        assert {topic: own(cluster, topic) for topic in wanted} == wanted
        return True

    began = time.monotonic()
    wait_for(same, within=within, every=0.2, what="the settings are as they should be")
    print(f"settings in step after {time.monotonic() - began:.1f} s")


@on(LONG_BUNDLED, KAFKA)
def test_given_settings_that_change_on_either_side_then_copies_follow_the_source_within_ten_seconds(
    pair: Pair, tmp_path: Path
) -> None:
    source, target = pair
    tag = f"settings{time.monotonic_ns()}"
    links = [
        {"name": f"{tag}-t", "source": "us", "target": "eu", "topics": {"include": [f"{tag}-t.*"]}},
        {
            "name": f"{tag}-s", "source": "us", "target": "eu", "topics": {"include": [f"{tag}-s.*"]},
            "use_defaults_from": "source", "sync": {"config_exclude": [r"delete\.retention\.ms"]},
        },
    ]  # fmt: skip
    for topic in (f"{tag}-t", f"{tag}-s"):
        create(source.admin(), topic, config={"segment.bytes": "2000000", "delete.retention.ms": "5000"})
    by_target, by_source = f"us.{tag}-t", f"us.{tag}-s"
    installation = Installation(tmp_path, {"us": source, "eu": target}, links)
    with installation.worker() as worker:
        worker.wait_ready()
        becomes(
            target,
            {
                by_target: {"retention.ms": "-1", "segment.bytes": "2000000", "delete.retention.ms": "5000"},
                by_source: {"retention.ms": "-1", "segment.bytes": "2000000"},
            },
            within=30,
        )
        for name in ("t", "s"):
            alter(source, f"{tag}-{name}", {"retention.ms": "77000000", "segment.bytes": None, "flush.messages": "9"})
            drift = {"segment.ms": "60000", "unclean.leader.election.enable": "true", "delete.retention.ms": "7"}
            alter(target, f"us.{tag}-{name}", {**drift, "flush.messages": "3"})
        becomes(
            target,
            {
                by_target: {
                    "retention.ms": "77000000", "flush.messages": "9", "delete.retention.ms": "5000",
                    "unclean.leader.election.enable": "true",  # excluded, so nobody's business but its owner's
                },
                by_source: {
                    "retention.ms": "77000000", "flush.messages": "9", "delete.retention.ms": "7",
                    "segment.bytes": "1073741824", "segment.ms": "604800000",
                    "unclean.leader.election.enable": "false",
                },
            },
        )  # fmt: skip
        assert "Traceback" not in worker.log()
