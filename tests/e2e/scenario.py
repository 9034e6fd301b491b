"""The main scenario of the end-to-end tests: the difficult mix, workers, and something that happens to them."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from replicator.ledger.lanes import control_topic
from replicator.ledger.moved import encode_wish
from tests.support.checker import Verdict, compare_topics
from tests.support.corpus import KINDS, Corpus, Kind
from tests.support.rawclient import TRANSACTIONAL
from tests.support.rawlog import late_batches, raw_log
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
    """One or several links from `source` to `target` (eu) over the topics of one corpus, which gets a name of its own.

    `copies` says what is special about each link, by the alias that the source has in it, which is the prefix of its
    copies; the others have `link` in common. The link of alias us is called as the scenario, others `<name>-<alias>`.
    """

    def __init__(
        self,
        source: Cluster,
        target: Cluster,
        directory: Path,
        name: str,
        *,
        copies: Mapping[str, Mapping[str, Any]] | None = None,
        seed: int | None = None,
        kinds: Sequence[Kind] = KINDS,
        **link: Any,
    ) -> None:
        self.source, self.target = source, target
        self.corpus = Corpus(source, prefix=name, seed=seed, kinds=kinds)
        copies = copies or {"us": {}}
        self._lanes = int(link.get("lanes", 32))
        self.links = {alias: name if alias == "us" else f"{name}-{alias}" for alias in copies}
        topics = {"include": [f"{name}-.*"], **link.pop("topics", {})}
        common = {"target": "eu", "topics": topics, **link}
        links = [{"name": self.links[alias], "source": alias, **common, **own} for alias, own in copies.items()]
        self.installation = Installation(directory, {**dict.fromkeys(copies, source), "eu": target}, links)
        self.acks = directory / "acks"

    def wish(self, rng: random.Random, count: int) -> None:
        """Have some partitions of each link move to other lanes (links with `lanes`)."""
        places = [(topic, partition) for topic, number in self.corpus.topics.items() for partition in range(number)]
        producer = Producer(self.target.client_config)
        for link in self.links.values():
            for topic, partition in rng.sample(places, min(count, len(places))):
                key, value = encode_wish(topic, partition, rng.randrange(self._lanes))
                producer.produce(control_topic(link), value, key, partition=0)
        assert producer.flush(30) == 0

    @property
    def partitions(self) -> int:
        """How many partitions the corpus has."""
        return sum(self.corpus.topics.values())

    def wait_until_copied(self, *, within: float = 60) -> dict[tuple[str, int], dict[str, Any]]:
        """Wait until `status` says that all of them are copied to the end, by every link; the last one's status."""
        status = {}
        for link in self.links.values():
            status = self.installation.wait_until_copied(self.partitions, within=within, link=link)
        return status

    def judge(self, *, rewinds: int = 0, interleaved: bool = False, topics: Mapping[str, int] | None = None) -> Verdict:
        """The independent judge's verdict; AssertionError unless every record is there, in order, byte for byte.

        Of all topics of the corpus, or of some.
        """
        verdict = Verdict()
        for alias in self.links:
            verdict += compare_topics(
                self.source.client_config,
                self.target.client_config,
                self.corpus.topics if topics is None else topics,
                rename=alias + ".{}",
                rewinds=rewinds,
                interleaved=interleaved,
                acknowledged=self.corpus.acknowledged.read(),
            )
        print(f"{verdict.records} records, {verdict.duplicates} duplicates in {verdict.rewinds} rewinds")
        assert not verdict.problems, "\n".join(verdict.problems[:20])
        return verdict

    def judge_writers(self) -> None:
        """AssertionError if a batch in a copy's log was written by somebody who had been replaced before it."""
        problems = []
        batches = dict.fromkeys(self.links, 0)
        plain = dict.fromkeys(self.links, 0)  # outside of transactions
        for alias, topic, partition in self._copies():
            log = raw_log(self.target.bootstrap, topic, partition)
            problems += late_batches(f"{topic}-{partition}", log)
            batches[alias] += len(log)
            plain[alias] += sum(not batch.attributes & TRANSACTIONAL for batch in log)
        print(f"batches: {batches}; outside of transactions: {plain}; late: {len(problems)}")
        assert not problems, "\n".join(problems[:20])

    def _copies(self) -> list[tuple[str, str, int]]:
        names = [(alias, f"{alias}.{topic}", n) for alias in self.links for topic, n in self.corpus.topics.items()]
        return [(alias, name, partition) for alias, name, count in names for partition in range(count)]

    def target_ends(self) -> dict[tuple[str, int], int]:
        """Log ends of the copies; -1 for one that doesn't exist."""
        counts = {f"{alias}.{topic}": n for alias in self.links for topic, n in self.corpus.topics.items()}
        return log_ends(self.target, counts)

    def wait_until_all_move(self, *, within: float, besides: Sequence[str] = ()) -> float:
        """How many seconds until every copy has grown beyond where it was at the call, but for those of some kinds."""
        began = time.monotonic()
        before = self.target_ends()
        last: list[tuple[str, int]] = []
        writer = self.corpus.background
        rounds = writer.rounds if writer is not None else 0

        def moved() -> bool:
            if writer is not None:
                writer.check()
            ends = self.target_ends()
            still = {where for where, end in ends.items() if end <= max(before[where], 0)}
            for where in [where for where, end in before.items() if end < 0]:  # what wasn't known is noted now
                before[where] = ends[where]
                still.add(where)
            still = {where for where in still if not where[0].endswith(tuple(f"-{kind}" for kind in besides))}
            last[:] = sorted(still) or last
            written = writer.rounds - rounds if writer is not None else 0
            assert not still, f"standing still, while {written} rounds were written: {last}"
            return True

        wait_for(moved, within=within, every=0.1, what="every partition moves")
        took = time.monotonic() - began
        print(f"all partitions move after {took:.1f} s; the last ones: {last[:4]}", flush=True)
        return took


def log_ends(cluster: Cluster, topics: Mapping[str, int]) -> dict[tuple[str, int], int]:
    """Log end offsets (of uncommitted records too) of all partitions of `topics`; -1 where nobody answers now."""
    places = {TopicPartition(topic, n): OffsetSpec.latest() for topic, count in topics.items() for n in range(count)}
    admin = cluster.admin()
    futures = admin.list_offsets(places, request_timeout=10)
    ends = {}
    for place, future in futures.items():
        try:
            ends[place.topic, place.partition] = int(future.result(15).offset)
        except (KafkaException, TimeoutError):
            ends[place.topic, place.partition] = -1
    return ends
