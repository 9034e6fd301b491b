"""What the tests of bad input share: a bad topic and a healthy one on a link, and what can be done to clusters."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from zlib import crc32

from confluent_kafka import TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourcePatternType,
    ResourceType,
)

from tests.support.bundled import BundledCluster
from tests.support.checker import Seen, compare_topics, read_partition
from tests.support.copying import create, produce
from tests.support.kafka import KafkaCluster
from tests.support.replicator import Installation, Worker
from tests.support.waiting import wait_for

AnyCluster = BundledCluster | KafkaCluster
Pair = tuple[AnyCluster, AnyCluster]


def records(count: int, start: int = 0, size: int = 10, at_ms: int = 1_790_000_000_000) -> list[Seen]:
    return [Seen(i, b"k%d" % i, os.urandom(size), (), at_ms + i) for i in range(start, start + count)]


class Rig:
    """A bad topic and a healthy one, of one partition each, from us to eu; both start with 20 records."""

    def __init__(self, pair: Pair, directory: Path, name: str, **link: Any) -> None:
        self.source, self.target = pair
        short = f"{name.removeprefix('test_given_')[:40]}-{crc32(name.encode()):08x}"
        self.name = short
        self.bad, self.good = f"{short}-bad", f"{short}-good"
        one = {"name": short, "source": "us", "target": "eu", "topics": {"include": [f"{short}-.*"]}, **link}
        self.installation = Installation(directory, {"us": self.source, "eu": self.target}, [one])
        self.ledger = f"__replicator_{short}_ledger"
        for topic in (self.bad, self.good):
            create(self.source.admin(), topic)
            self.write(topic, records(12))
            self.write(topic, records(8, start=12))  # two batches: logs are cut between batches

    def write(self, topic: str, what: list[Seen]) -> None:
        produce(self.source.client_config, topic, 0, what)

    def copies(self, topic: str) -> list[Seen]:
        """What a consumer finds in its copy."""
        return read_partition(self.target.client_config, f"us.{topic}", 0)

    def originals(self, topic: str) -> list[Seen]:
        """What a consumer finds in the topic itself."""
        return read_partition(self.source.client_config, topic, 0)

    def worker(self) -> Worker:
        return self.installation.worker()

    def copied(self, *topics: str) -> bool:
        """Whether `status` and an independent reader agree that these are copied, all of them."""
        status = self.installation.status()
        for topic in topics:
            found = status.get((topic, 0))
            assert found is not None, f"{topic} isn't in the status"
            assert found["lag"] == 0, f"{found}"
        verdict = compare_topics(
            self.source.client_config, self.target.client_config, dict.fromkeys(topics, 1), rename="us.{}"
        )
        assert verdict.problems == []
        return True

    def wait_copied(self, *topics: str) -> None:
        wait_for(lambda: self.copied(*topics), within=40, every=0.3, what=f"{topics} are copied")

    def wait_fault(self, reason: str, *details: str, topic: str | None = None) -> dict[str, Any]:
        """Wait until the bad partition shows this reason, with `details` in its text; the healthy one is at its end."""

        def faulted() -> dict[str, Any]:
            status = self.installation.status()
            found = status.get((topic or self.bad, 0))
            assert found is not None, f"not in the status: {sorted(status)}"
            assert found["reason"] == reason, f"{found}"
            assert status[self.good, 0]["lag"] == 0, f"{status[self.good, 0]}"
            return found

        found = wait_for(faulted, within=40, every=0.3, what=f"reason {reason}")
        assert found["state"] == "FAULTED"
        assert found["since"] or topic  # a topic that can't be created has no entry, so no time either
        assert found["next_step"]
        for detail in details:
            assert detail in found["detail"], f"{detail!r} isn't in {found['detail']!r}"
        return found

    def good_goes_on(self) -> None:
        self.write(self.good, records(5, start=1000))
        self.wait_copied(self.good)

    def set_config(self, cluster: AnyCluster, topic: str, name: str, value: str) -> None:
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        admin = cluster.admin()
        admin.incremental_alter_configs([resource])[resource].result(15)


def delete_records(cluster: AnyCluster, topic: str, before: int, partition: int = 0) -> None:
    """Delete what lies before this offset; -1: everything."""
    admin, place = cluster.admin(), TopicPartition(topic, partition, before)
    admin.delete_records([place])[place].result(15)


def delete_topic(cluster: AnyCluster, topic: str) -> None:
    admin = cluster.admin()
    admin.delete_topics([topic])[topic].result(15)
    wait_for(lambda: topic not in admin.list_topics(timeout=5).topics, within=15, what=f"{topic} is deleted")


def grant(
    cluster: AnyCluster,
    kind: ResourceType,
    name: str,
    principal: str,
    operation: AclOperation = AclOperation.ALL,
    *,
    prefixed: bool = False,
) -> None:
    pattern = ResourcePatternType.PREFIXED if prefixed else ResourcePatternType.LITERAL
    binding = AclBinding(kind, name, pattern, principal, "*", operation, AclPermissionType.ALLOW)
    admin = cluster.admin()
    admin.create_acls([binding])[binding].result(15)
