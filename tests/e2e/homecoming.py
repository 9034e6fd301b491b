"""Two clusters, a link and its way back; clients that are wherever the pair is, and an observer who isn't fooled."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

from confluent_kafka import Producer

from tests.e2e.reading import read_on, unread, wait_moved
from tests.e2e.rig import AnyCluster
from tests.support.checker import read_partition
from tests.support.copying import create
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

PARTITIONS = 2


class Homecoming:
    """Clients produce to and consume from one cluster at a time. `seen` is what the group has read, value by value."""

    def __init__(
        self, clusters: Mapping[str, AnyCluster], directory: Path, naming: str, *more: Mapping[str, Any]
    ) -> None:
        self.clusters = clusters
        self.directory = directory
        self.topic = f"home-{naming}-{crc32(str(directory).encode()):08x}"
        self.group = f"{self.topic}-billing"
        self.naming = naming
        self.there, self.back = f"{self.topic}-there", f"{self.topic}-back"
        self.written: Counter[bytes] = Counter()
        self.seen: Counter[bytes] = Counter()
        links: list[Mapping[str, Any]] = [
            {
                "name": self.there, "source": "us", "target": "eu", "lanes": 4,
                "topics": {"include": [self.topic], "naming": naming}, "groups": {"include": [self.group]},
                "sync": {"every": 1},
            },
            {"name": self.back, "reverse_of": self.there},
            *more,
        ]  # fmt: skip
        self.installation = Installation(directory, clusters, links)
        create(clusters["us"].admin(), self.topic, PARTITIONS)

    def name(self, where: str) -> str:
        """What the topic is called there."""
        return self.topic if where == "us" or self.naming == "identical" else f"us.{self.topic}"

    def write(self, where: str, count: int, *, size: int = 0) -> None:
        """So many records, over all partitions."""
        producer = Producer({**self.clusters[where].client_config, "linger.ms": 5})
        first = self.written.total()
        for number in range(first, first + count):
            value = b"%s %d %s" % (where.encode(), number, b"x" * size)
            producer.produce(self.name(where), value, b"k", number % PARTITIONS)
            self.written[value] += 1
        assert producer.flush(30) == 0

    def consume(self, where: str, most: int | None = None) -> None:
        """As a member of the group, at least `most` records or all that were written; then commit and leave. Nothing
        may come that the group has read before."""
        wanted = self.written.total() if most is None else min(self.written.total(), self.seen.total() + most)
        read_on(self.clusters[where], self.group, [self.name(where)], self.seen, wanted)

    def log(self, where: str) -> Counter[bytes]:
        """What an observer finds there."""
        config = self.clusters[where].client_config
        return Counter(
            record.value or b""
            for partition in range(PARTITIONS)
            for record in read_partition(config, self.name(where), partition)
        )

    def wait_same(self, *, within: float = 60) -> None:
        """Wait until both clusters hold every record once."""

        def same() -> bool:
            for where in ("us", "eu"):
                held = self.log(where)
                lost, again = self.written - held, held - self.written
                assert not again, f"{where}: {again.total()} twice, as {sorted(again)[:3]}"
                assert not lost, f"{where}: {lost.total()} missing, as {sorted(lost)[:3]}"
            return True

        wait_for(same, within=within, every=0.3, what="both have everything once")

    def wait_group(self, where: str) -> None:
        """Wait until the group's positions there leave exactly what it hasn't read."""
        wait_moved(self.installation, lambda: self._left(where), self.written - self.seen, where)

    def _left(self, where: str) -> Counter[bytes]:
        return unread(self.clusters[where], self.group, [self.name(where)], PARTITIONS)

    def do(self, verb: str, link: str, *more: str, timeout: float = 90) -> dict[str, Any]:
        """The verb on all of a link; it must succeed."""
        done = self.installation.run(verb, "--all", "--link", link, "--yes", "-o", "json", *more, timeout=timeout)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def refused(self, verb: str, link: str, *more: str, code: int = 4) -> str:
        """The verb must be refused; what it says."""
        done = self.installation.run(verb, "--all", "--link", link, "--yes", *more)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done.stderr

    def promote(self, link: str) -> None:
        """A planned move along this link."""
        self.do("promote", link, "--quiet", "1")

    def states(self, link: str) -> set[str]:
        """Of all partitions."""
        return {row["state"] for row in self.installation.status(link).values()}

    def copied(self, worker: Any, link: str) -> tuple[int, int]:
        """How many records and bytes the worker has copied along this link."""
        total = {"replicator_records_total": 0.0, "replicator_bytes_total": 0.0}
        for line in worker.get("/metrics")[1].splitlines():
            name = line.partition("{")[0]
            if name in total and f'link="{link}"' in line:
                total[name] += float(line.rsplit(" ", 1)[1])
        records, size = total.values()
        return round(records), round(size)
