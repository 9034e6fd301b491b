"""A ledger that this version can't read: only its lane stands still, and everybody says why."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import Producer

from replicator.ledger.entry import encode_key
from replicator.ledger.lanes import lane_of
from tests.e2e.pairs import BUNDLED, LONG_KAFKA, on
from tests.e2e.rig import Pair, Rig, delete_records, records
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

LANES = 32


@on(BUNDLED, LONG_KAFKA)
def test_given_an_entry_of_a_newer_version_then_its_lane_waits_and_the_others_go_on(
    pair: Pair, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rig = Rig(pair, tmp_path, request.node.name)
    lane = lane_of(rig.bad, 0, LANES)
    assert lane != lane_of(rig.good, 0, LANES), "choose another name for this test"
    with rig.worker() as worker:
        worker.wait_ready()
        rig.wait_copied(rig.bad, rig.good)
        worker.terminate()
    before = rig.copies(rig.bad)
    producer = Producer({**rig.target.client_config, "enable.idempotence": True})
    producer.produce(rig.ledger, b"\x09from the future", encode_key(rig.bad, 0), lane)
    assert producer.flush(30) == 0
    rig.write(rig.bad, records(5, start=20))
    with rig.worker() as worker:
        rig.wait_fault("LEDGER_UNREADABLE", "version 9", f"Lane {lane}")
        wait_for(lambda: "upgrade" in worker.log(), within=20, what="the log says what to do")
        assert worker.running
        code, body = worker.get("/readyz")
        assert (code, f"lanes {lane}" in body) == (503, True), body
        rig.good_goes_on()
    assert rig.copies(rig.bad) == before


@on(BUNDLED, LONG_KAFKA)
def test_given_that_one_lanes_ledger_was_deleted_then_nothing_of_it_is_copied_twice_and_the_others_go_on(
    pair: Pair, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rig = Rig(pair, tmp_path, request.node.name)
    lane = lane_of(rig.bad, 0, LANES)
    assert lane != lane_of(rig.good, 0, LANES), "choose another name for this test"
    with rig.worker() as worker:
        worker.wait_ready()
        rig.wait_copied(rig.bad, rig.good)
        worker.terminate()
    before = rig.copies(rig.bad)
    rig.set_config(rig.target, rig.ledger, "cleanup.policy", "delete")  # compacted topics refuse what follows
    delete_records(rig.target, rig.ledger, -1, partition=lane)
    rig.set_config(rig.target, rig.ledger, "cleanup.policy", "compact")
    rig.write(rig.bad, records(5, start=20))
    with rig.worker() as worker:
        worker.wait_ready()
        rig.wait_fault("FOREIGN_WRITER", "the ledger knows nothing of it", "--adopt")
        rig.good_goes_on()
    assert rig.copies(rig.bad) == before
