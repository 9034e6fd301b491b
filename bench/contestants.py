"""The programs that are measured: each is started on one topic, in its own names, and killed when it has been seen."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.brokers import Pair
from bench.jars import mirror_jars
from bench.relaying import relay_program
from replicator.ledger.lanes import group_id
from tests.support.kafka import KafkaCluster, die_with_parent
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
_EXACTLY_ONCE = (*_TUNED, "{target}.exactly.once.source.support=enabled")
_INTERNAL = (
    *("checkpoints.topic", "heartbeats.topic", "offset-syncs.topic"),
    *("offset.storage", "status.storage", "config.storage"),
)


@dataclass(frozen=True)
class Running:
    """A program at work in one or more processes, which divide the partitions as members of a group."""

    pids: tuple[int, ...]
    remote_topic: str
    log_files: tuple[Path, ...]
    group: str
    group_cluster: KafkaCluster

    @property
    def pid(self) -> int:
        """Of the first process."""
        return self.pids[0]

    def log(self) -> str:
        """What they have printed last."""
        ends = (file.read_text(errors="replace")[-3000:] for file in self.log_files if file.exists())
        return "\n".join(ends)

    def kill(self, number: int) -> None:
        """kill -9 to one of the processes."""
        os.kill(self.pids[number], signal.SIGKILL)


class Contestant(Protocol):
    """A program and its settings."""

    @property
    def name(self) -> str: ...

    def copying(
        self, topic: str, pair: Pair, directory: Path, workers: int = 1
    ) -> contextlib.AbstractContextManager[Running]:
        """Started on that topic of the source in so many processes, not yet ready; killed at the end."""
        ...


@dataclass(frozen=True)
class Replicator:
    """This program through its command line: default settings, one worker per process."""

    delivery: str
    writing: str = "auto"

    @property
    def name(self) -> str:
        """As in the table."""
        return f"replicator {self.delivery}" + ("" if self.writing == "auto" else f", {self.writing}")

    @contextlib.contextmanager
    def copying(self, topic: str, pair: Pair, directory: Path, workers: int = 1) -> Iterator[Running]:
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
        with contextlib.ExitStack() as stack:
            started = [stack.enter_context(installation.worker()) for _ in range(workers)]
            yield Running(
                tuple(worker.pid for worker in started),
                f"{alias}.{topic}",
                tuple(home / f"{worker.name}.log" for worker in started),
                group_id(str(link["name"])),
                pair.target,
            )


@dataclass(frozen=True)
class MirrorMaker:
    """MirrorMaker 2, dedicated, nodes of 1 GB of heap, with additional properties."""

    name: str
    properties: tuple[str, ...] = field(default=())

    @contextlib.contextmanager
    def copying(self, topic: str, pair: Pair, directory: Path, workers: int = 1) -> Iterator[Running]:
        """See `Contestant`."""
        number = next(_ALIASES)
        source, target = f"m{number}", f"n{number}"
        command = ["java", "-Xmx1g", "-XX:+UseG1GC", "-cp", f"{mirror_jars()}/*"]
        command += ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "org.apache.kafka.connect.mirror.MirrorMaker"]
        files = [directory / f"{source}.{node}.properties" for node in range(workers)]
        for file in files:
            file.write_text("\n".join(self._settings(source, target, topic, pair, workers)) + "\n")
        logs = tuple(file.with_suffix(".log") for file in files)
        with _processes([[*command, str(file)] for file in files], logs, directory) as pids:
            yield Running(pids, f"{source}.{topic}", logs, f"{source}-mm2", pair.target)

    def _settings(self, source: str, target: str, topic: str, pair: Pair, workers: int) -> Iterator[str]:
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
        yield from (line.format(flow=flow, source=source, target=target) for line in self.properties)
        if workers > 1 or self.properties == _EXACTLY_ONCE:  # its nodes, and its own transactions, want to talk
            yield "dedicated.mode.enable.internal.rest=true"
            yield f"listeners=http://127.0.0.1:{free_ports(1)[0]}"


@dataclass(frozen=True)
class Relay:
    """The record-level relay in Go, at least once."""

    name: str = "Go relay"

    @contextlib.contextmanager
    def copying(self, topic: str, pair: Pair, directory: Path, workers: int = 1) -> Iterator[Running]:
        """See `Contestant`."""
        alias = f"g{next(_ALIASES)}"
        remote = f"{alias}.{topic}"
        command = [str(relay_program()), "-source", pair.source.bootstrap, "-target", pair.target.bootstrap]
        command += ["-topic", topic, "-remote-topic", remote, "-group", alias]
        logs = tuple(directory / f"{alias}.{number}.log" for number in range(workers))
        with _processes([command] * workers, logs, directory) as pids:
            yield Running(pids, remote, logs, alias, pair.source)


@contextlib.contextmanager
def _processes(commands: Sequence[Sequence[str]], logs: Sequence[Path], directory: Path) -> Iterator[tuple[int, ...]]:
    """Their process ids; each prints to its log, and all are killed at the end."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        for command, log in zip(commands, logs, strict=True):
            with log.open("wb") as output:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=directory,
                    preexec_fn=die_with_parent,
                )
            started.append(process)
        yield tuple(process.pid for process in started)
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait(timeout=20)


OURS: tuple[Replicator, ...] = (
    Replicator("exactly_once"),
    Replicator("exactly_once", "transactions"),
    Replicator("at_least_once"),
)
MM2_TUNED = MirrorMaker("MM2 tuned", _TUNED)
MM2_DEFAULT = MirrorMaker("MM2 default")
MM2_EXACTLY_ONCE = MirrorMaker("MM2 tuned, exactly once", _EXACTLY_ONCE)
RELAY = Relay()
