"""The main scenario of the end-to-end tests: the difficult mix, workers, and something that happens to them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from tests.support.checker import Verdict, compare_topics
from tests.support.corpus import Corpus
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

PREFIX = "us."


class Cluster(Protocol):
    """`KafkaCluster` or `BundledCluster`."""

    nodes: int

    @property
    def bootstrap(self) -> str: ...

    @property
    def security(self) -> dict[str, str]: ...

    @property
    def client_config(self) -> dict[str, str]: ...

    def admin(self) -> AdminClient: ...


class Scenario:
    """A link from `source` (alias us) to `target` (eu) over the topics of one corpus, which gets a name of its own."""

    def __init__(self, source: Cluster, target: Cluster, directory: Path, name: str, **link: Any) -> None:
        self.source, self.target = source, target
        self.corpus = Corpus(source, prefix=name)
        topics = {"include": [f"{name}-.*"], **link.pop("topics", {})}
        one = {"name": name, "source": "us", "target": "eu", "topics": topics, **link}
        self.installation = Installation(directory, {"us": source, "eu": target}, [one])
        self.acks = directory / "acks"

    @property
    def partitions(self) -> int:
        """How many partitions the corpus has."""
        return sum(self.corpus.topics.values())

    def wait_until_copied(self, *, within: float = 60) -> dict[tuple[str, int], dict[str, Any]]:
        """Wait until `status` says that all of them are copied to the end."""
        return self.installation.wait_until_copied(self.partitions, within=within)

    def judge(self, *, rewinds: int = 0, interleaved: bool = False) -> Verdict:
        """The independent judge's verdict; AssertionError unless every record is there, in order, byte for byte."""
        verdict = compare_topics(
            self.source.client_config,
            self.target.client_config,
            self.corpus.topics,
            rename=PREFIX + "{}",
            rewinds=rewinds,
            interleaved=interleaved,
            acknowledged=self.corpus.acknowledged.read(),
        )
        print(f"{verdict.records} records, {verdict.duplicates} duplicates in {verdict.rewinds} rewinds")
        assert not verdict.problems, "\n".join(verdict.problems[:20])
        return verdict

    def target_ends(self) -> dict[tuple[str, int], int]:
        """Log ends of the copies; -1 for one that doesn't exist."""
        return log_ends(self.target, {PREFIX + topic: count for topic, count in self.corpus.topics.items()})

    def wait_until_all_move(self, *, within: float) -> float:
        """How many seconds until every copy has grown beyond where it was at the call."""
        before, began = self.target_ends(), time.monotonic()

        def moved() -> bool:
            still = {where for where, end in self.target_ends().items() if end <= max(before[where], 0)}
            assert not still, f"standing still: {sorted(still)}"
            return True

        wait_for(moved, within=within, every=0.1, what="every partition moves")
        return time.monotonic() - began


def log_ends(cluster: Cluster, topics: Mapping[str, int]) -> dict[tuple[str, int], int]:
    """Log end offsets (of uncommitted records too) of all partitions of `topics`; -1 for one that has no leader now."""
    places = {TopicPartition(topic, n): OffsetSpec.latest() for topic, count in topics.items() for n in range(count)}
    admin = cluster.admin()
    futures = admin.list_offsets(places, request_timeout=10)
    ends = {}
    for place, future in futures.items():
        try:
            ends[place.topic, place.partition] = int(future.result(15).offset)
        except KafkaException:
            ends[place.topic, place.partition] = -1
    return ends
