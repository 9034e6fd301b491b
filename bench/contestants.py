"""The programs that are measured: each is started on one topic, in its own names, and killed when it has been seen."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.brokers import Pair
from bench.jars import mirror_jars
from tests.support.kafka import die_with_parent
from tests.support.ports import free_ports
from tests.support.replicator import Installation

_ALIASES = itertools.count(1)  # new names each time: nobody waits for a group that died with its predecessor

# Two tasks, 320 KB batches after at most 100 ms, 50 MiB fetches, 2,000 records a poll.
_TUNED = (
    "{flow}.tasks.max=2",
    "{source}.consumer.fetch.max.bytes=52428800",
    "{source}.consumer.max.partition.fetch.bytes=52428800",
    "{source}.consumer.max.poll.records=2000",
    "{target}.producer.batch.size=327680",
    "{target}.producer.linger.ms=100",
)
_EXACTLY_ONCE = (
    *_TUNED,
    "{target}.exactly.once.source.support=enabled",
    "dedicated.mode.enable.internal.rest=true",
    "listeners=http://127.0.0.1:{port}",
)
_INTERNAL = (
    *("checkpoints.topic", "heartbeats.topic", "offset-syncs.topic"),
    *("offset.storage", "status.storage", "config.storage"),
)


@dataclass(frozen=True)
class Running:
    """A program at work."""

    pid: int
    remote_topic: str
    log_file: Path

    def log(self) -> str:
        """What it has printed."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""


class Contestant(Protocol):
    """A program and its settings."""

    @property
    def name(self) -> str: ...

    def copying(self, topic: str, pair: Pair, directory: Path) -> contextlib.AbstractContextManager[Running]:
        """Started on that topic of the source, not yet ready; killed at the end."""
        ...


@dataclass(frozen=True)
class Replicator:
    """This program through its command line: one worker, default settings."""

    delivery: str
    writing: str = "auto"

    @property
    def name(self) -> str:
        """As in the table."""
        return f"replicator {self.delivery}" + ("" if self.writing == "auto" else f", {self.writing}")

    @contextlib.contextmanager
    def copying(self, topic: str, pair: Pair, directory: Path) -> Iterator[Running]:
        """See `Contestant`."""
        alias = f"r{next(_ALIASES)}"
        link = {
            "name": f"{alias}-to-target",
            "source": alias,
            "target": "target",
            "delivery": self.delivery,
            "writing": self.writing,
            "topics": {"include": [topic]},
        }
        home = directory / alias
        installation = Installation(home, {alias: pair.source, "target": pair.target}, [link])
        with installation.worker() as worker:
            yield Running(worker.pid, f"{alias}.{topic}", home / f"{worker.name}.log")


@dataclass(frozen=True)
class MirrorMaker:
    """MirrorMaker 2, dedicated, one node, 1 GB of heap, with additional properties."""

    name: str
    properties: tuple[str, ...] = field(default=())

    @contextlib.contextmanager
    def copying(self, topic: str, pair: Pair, directory: Path) -> Iterator[Running]:
        """See `Contestant`."""
        number = next(_ALIASES)
        source, target = f"m{number}", f"n{number}"
        settings = directory / f"{source}.properties"
        settings.write_text("\n".join(self._settings(source, target, topic, pair)) + "\n")
        log = settings.with_suffix(".log")
        command = ["java", "-Xmx1g", "-XX:+UseG1GC", "-cp", f"{mirror_jars()}/*"]
        command += ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "org.apache.kafka.connect.mirror.MirrorMaker"]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, str(settings)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                preexec_fn=die_with_parent,
            )
        try:
            yield Running(process.pid, f"{source}.{topic}", log)
        finally:
            process.kill()
            process.wait(timeout=20)

    def _settings(self, source: str, target: str, topic: str, pair: Pair) -> Iterator[str]:
        flow = f"{source}->{target}"
        yield f"clusters={source},{target}"
        yield f"{source}.bootstrap.servers={pair.source.bootstrap}"
        yield f"{target}.bootstrap.servers={pair.target.bootstrap}"
        yield f"{flow}.enabled=true"
        yield f"{flow}.topics={topic}"
        yield f"{target}->{source}.enabled=false"
        yield f"{target}->{source}.emit.heartbeats.enabled=false"
        yield "replication.factor=1"
        yield from (f"{name}.replication.factor=1" for name in _INTERNAL)
        port = free_ports(1)[0]
        yield from (line.format(flow=flow, source=source, target=target, port=port) for line in self.properties)


OURS: tuple[Contestant, ...] = (
    Replicator("exactly_once"),
    Replicator("exactly_once", "transactions"),
    Replicator("at_least_once"),
)
MM2_TUNED = MirrorMaker("MM2 tuned", _TUNED)
MM2_OTHERS = (MirrorMaker("MM2 default"), MirrorMaker("MM2 tuned, exactly once", _EXACTLY_ONCE))
