"""The archive of a topic that a link copies in transactions: offsets with holes, records that aren't committed yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.examples.archive.processes import ArchiveProcess
from tests.examples.archive.test_archiving import archived, produce
from tests.examples.objects import ObjectStore
from tests.support.bundled import BundledCluster
from tests.support.copying import create
from tests.support.replicator import Installation
from tests.support.waiting import wait_for


@pytest.mark.slow
def test_given_a_link_that_copies_in_transactions_when_its_copies_are_archived_then_each_record_is_there_once(
    objects: ObjectStore, tmp_path: Path
) -> None:
    link = {"name": "us-to-eu", "source": "us", "target": "eu", "delivery": "exactly_once", "writing": "transactions"}
    with BundledCluster(name="us") as us, BundledCluster(name="eu") as eu:
        create(us.admin(), "clicks", partitions=2)
        produce(us, "clicks", 0, 200)
        installation = Installation(tmp_path / "link", {"us": us, "eu": eu}, [link])
        topics = {"us.clicks": {"format": "json"}}
        process = ArchiveProcess(tmp_path, eu, objects, topics=topics, objects={"max_records": 30, "max_seconds": 0.3})
        with installation.worker() as worker:
            worker.wait_ready()
            installation.wait_until_copied(2)
            process.start()
            wait_for(lambda: len(objects.keys()) >= 4, within=40, what="copies are archived")
            produce(us, "clicks", 200, 200)
            wait_for(lambda: archived(objects, "us.clicks", 400), within=40, every=0.3, what="all is there")
        assert process.terminate() == 0, process.log
    offsets = [row.offset for row in objects.rows("us.clicks", 0)]
    assert offsets[-1] >= 200, "there are markers between the records"
