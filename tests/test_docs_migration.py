"""The page about MirrorMaker 2, from its properties to running workers, on what such a MirrorMaker leaves behind."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from confluent_kafka import Producer
from typer.testing import CliRunner

from replicator.cli.main import app
from tests.support.bundled import BundledCluster
from tests.support.checker import Seen, read_partition
from tests.support.copying import create, produce
from tests.support.documents import blocks, shell_lines
from tests.support.kafka import die_with_parent
from tests.support.ports import free_ports
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow]

PAGE = "docs/migration-from-mm2.md"
WRITTEN, COPIED, STORED = 300, 200, 150  # it was killed: what it had copied beyond what it stored is found


@pytest.fixture
def clusters() -> Iterator[tuple[BundledCluster, BundledCluster]]:
    """`primary` with a topic, and `backup` with MirrorMaker's copy of its beginning and the position that it stored."""
    with BundledCluster(name="primary") as primary, BundledCluster(name="backup") as backup:
        rows = [Seen(i, b"k%d" % i, b"v%d" % i, (), 1_790_000_000_000 + i) for i in range(WRITTEN)]
        create(primary.admin(), "orders")
        produce(primary.client_config, "orders", 0, rows)
        create(backup.admin(), "primary.orders")
        produce(backup.client_config, "primary.orders", 0, rows[:COPIED])
        create(backup.admin(), "mm2-offsets.primary.internal")
        key = json.dumps(["MirrorSourceConnector", {"cluster": "primary", "partition": 0, "topic": "orders"}])
        storing = Producer(backup.client_config)
        storing.produce("mm2-offsets.primary.internal", b'{"offset":%d}' % (STORED - 1), key.encode())
        assert storing.flush(20) == 0
        yield primary, backup


def start(config: Path, log: Path) -> subprocess.Popen[bytes]:
    """`replicator run` with this file, on a port of its own."""
    service = {"http": f"127.0.0.1:{free_ports(1)[0]}"}
    config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), "service": service}))
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "replicator.cli.main", "run"],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, preexec_fn=die_with_parent,
        )  # fmt: skip


def test_given_a_stopped_mirrormaker_when_the_page_is_followed_then_its_copy_goes_on_where_it_was(
    clusters: tuple[BundledCluster, BundledCluster], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    primary, backup = clusters
    (properties,) = blocks(PAGE, "properties")
    for name, cluster in (("primary", primary), ("backup", backup)):
        assert f"broker-1.{name}.example.com:9092" in properties
        properties = properties.replace(f"broker-1.{name}.example.com:9092", cluster.bootstrap)
    (tmp_path / "mm2.properties").write_text(properties.replace("replication.factor = 3", "replication.factor = 1"))
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "replicator.yaml"
    lines = shell_lines(PAGE)
    assert [words[1] for words in lines].index("run") > 3
    worker = None
    try:
        for words in lines:
            assert words[0] == "replicator"
            if words[1] == "run":
                worker = start(config, tmp_path / "worker.log")
                continue
            done = CliRunner().invoke(app, words[1:])
            assert done.exit_code == 0, f"{words}: {done.exit_code}\n{done.output}"

        def copied() -> bool:
            found = [record.value for record in read_partition(backup.client_config, "primary.orders", 0)]
            assert found == [b"v%d" % i for i in range(WRITTEN)], f"{len(found)} records"
            return True

        wait_for(copied, within=30, every=0.2, what="the copy goes on")
    finally:
        if worker is not None:
            worker.kill()
            worker.wait(timeout=10)
