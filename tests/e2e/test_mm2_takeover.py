"""A running MirrorMaker 2 is stopped, or killed, and replaced: no record twice, none missing, groups go on."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaException, Producer

from tests.support.checker import read_partition
from tests.support.copying import create, remove_heartbeats
from tests.support.groups import commit, committed
from tests.support.kafka import KafkaCluster, die_with_parent
from tests.support.mirrormaker import MirrorMaker
from tests.support.ports import free_ports
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(240)]

PARTITIONS = 3
PROPERTIES = """
clusters = {us}, {eu}
{us}.bootstrap.servers = {source}
{eu}.bootstrap.servers = {target}
{us}->{eu}.enabled = true
{us}->{eu}.topics = {topic}
{us}->{eu}.sync.group.offsets.enabled = true
{us}->{eu}.groups = {topic}-.*
{eu}->{us}.enabled = false
{eu}->{us}.emit.heartbeats.enabled = false
replication.factor = 1
checkpoints.topic.replication.factor = 1
heartbeats.topic.replication.factor = 1
offset-syncs.topic.replication.factor = 1
offset.storage.replication.factor = 1
status.storage.replication.factor = 1
config.storage.replication.factor = 1
{eu}.offset.storage.partitions = 3
{eu}.offset.flush.interval.ms = 4000
refresh.groups.interval.seconds = 1
sync.group.offsets.interval.seconds = 1
emit.checkpoints.interval.seconds = 1
{more}
"""


class Writing:
    """A producer of numbered records, until stopped."""

    def __init__(self, cluster: KafkaCluster, topic: str) -> None:
        self._producer = Producer({**cluster.client_config, "linger.ms": 5, "enable.idempotence": True})
        self._topic = topic
        self._stop = threading.Event()
        self.written = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for number in itertools.count():
            if self._stop.wait(0.004):
                break
            self._producer.produce(self._topic, b"%d" % number, partition=number % PARTITIONS)
            self._producer.poll(0)
            self.written = number + 1

    def stop(self) -> int:
        """How many were written."""
        self._stop.set()
        self._thread.join(20)
        assert self._producer.flush(60) == 0
        return self.written


@contextlib.contextmanager
def running(config: Path) -> Iterator[None]:
    """`replicator run` with this file."""
    log = config.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "replicator.cli.main", "run", "-c", str(config)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, preexec_fn=die_with_parent,
        )  # fmt: skip
    try:
        yield
    except BaseException:
        print(log.read_text(errors="replace")[-4000:])
        raise
    finally:
        process.kill()
        process.wait(timeout=10)


def numbers(cluster: KafkaCluster, topic: str) -> list[list[int]]:
    """What an independent reader finds in each partition."""
    return [
        [int(record.value or b"-1") for record in read_partition(cluster.client_config, topic, partition)]
        for partition in range(PARTITIONS)
    ]


def count(cluster: KafkaCluster, topic: str) -> int:
    try:
        return sum(map(len, numbers(cluster, topic)))
    except KafkaException:
        return 0  # it has only just been created


def take_over(directory: Path, mm2: MirrorMaker, *arguments: str) -> subprocess.CompletedProcess[str]:
    verb = ("import-mm2", str(mm2.file), "-o", str(directory / "r.yaml"), *arguments)
    return subprocess.run(
        [sys.executable, "-m", "replicator.cli.main", *verb],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("how", "exactly_once"),
    [
        pytest.param(signal.SIGKILL, False, id="killed"),
        pytest.param(signal.SIGTERM, False, id="stopped", marks=pytest.mark.soak),
        pytest.param(signal.SIGKILL, True, id="killed, exactly once", marks=pytest.mark.soak),
    ],
)
def test_given_a_running_mirrormaker_when_it_is_replaced_then_a_reader_finds_every_record_once(
    kafka_source: KafkaCluster, kafka_target: KafkaCluster, tmp_path: Path, how: signal.Signals, exactly_once: bool
) -> None:
    source, target = kafka_source, kafka_target
    us, eu = f"u{os.urandom(2).hex()}", f"e{os.urandom(2).hex()}"
    topic = f"take-{us}"
    create(source.admin(), topic, PARTITIONS)
    more = f"{us}.consumer.isolation.level = read_committed\n"
    more += f"dedicated.mode.enable.internal.rest = true\nlisteners = http://127.0.0.1:{free_ports(1)[0]}\n"
    if exactly_once:
        more += f"{eu}.exactly.once.source.support = enabled\n"
    properties = PROPERTIES.format(
        us=us, eu=eu, source=source.bootstrap, target=target.bootstrap, topic=topic, more=more
    )
    remote, group = f"{us}.{topic}", f"{topic}-group"
    writing = Writing(source, topic)
    wait_for(lambda: writing.written > 1000, within=30, what="there is something to copy")
    commit(source, group, {(topic, partition): 100 for partition in range(PARTITIONS)})
    with MirrorMaker(tmp_path, properties) as mm2:
        wait_for(
            lambda: remote in target.admin().list_topics(timeout=10).topics and count(target, remote) > 1500,
            within=120, every=0.5, what="MirrorMaker copies",
        )  # fmt: skip

        def synced() -> bool:
            """It translates what is newer than the offset syncs that it found when it started."""
            at = min(map(len, numbers(source, topic)))
            commit(source, group, {(topic, partition): at for partition in range(PARTITIONS)})
            return len(committed(target, group)) == PARTITIONS

        wait_for(synced, within=60, every=1.5, what="it syncs the group")
        mm2_says = committed(target, group)
        refused = take_over(tmp_path, mm2, "--positions", "--dry-run") if how is signal.SIGTERM else None
        mm2.end(how)
        before = count(target, remote)
        taken = take_over(tmp_path, mm2, "--positions", "--force")
    assert refused is None or (refused.returncode == 4 and "MirrorMaker is running" in refused.stderr), refused
    assert taken.returncode == 0, taken.stdout + taken.stderr
    assert "stored positions" in taken.stdout
    config = tmp_path / "r.yaml"
    config.write_text(config.read_text() + f"service: {{http: '127.0.0.1:{free_ports(1)[0]}'}}\n")
    with running(config):
        wait_for(lambda: count(target, remote) > before + 300, within=60, every=0.5, what="we go on")
        written = writing.stop()
        wait_for(lambda: count(target, remote) >= written, within=60, every=0.5, what="all is copied")
        ends = [len(found) for found in numbers(source, topic)]
        commit(source, group, {(topic, partition): min(ends) for partition in range(PARTITIONS)})

        def moved() -> bool:
            now = committed(target, group)
            assert all(now[place] > mm2_says[place] for place in mm2_says), (mm2_says, now)
            return True

        wait_for(moved, within=30, every=0.5, what="the group goes on from what MirrorMaker wrote")
    for cluster in (source, target):
        remove_heartbeats(cluster.admin())
    assert numbers(target, remote) == [list(range(partition, written, PARTITIONS)) for partition in range(PARTITIONS)]
