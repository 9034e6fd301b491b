"""A link that is removed through the API: its workers leave it first, and go on if nothing comes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from confluent_kafka import Consumer
from typer.testing import CliRunner

from replicator.cli.main import app
from replicator.ledger.lanes import group_id
from tests.e2e.pairs import BUNDLED, LONG_KAFKA, on
from tests.e2e.rig import Pair, Rig, records
from tests.support.replicator import Worker
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def cli(worker: Worker, verb: str, *more: str) -> Result:
    """`replicator VERB --api …` without a configuration file."""
    return CliRunner().invoke(app, [verb, "-c", "/nowhere", *more], env={"REPLICATOR_API": f"http://{worker.address}"})


def links(worker: Worker) -> list[str]:
    return list(json.loads(worker.get("/v1/me")[1])["links"])


@on(BUNDLED, LONG_KAFKA)
def test_given_two_workers_when_their_link_is_removed_through_one_then_both_leave_it_and_stay(
    pair: Pair, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rig = Rig(pair, tmp_path, request.node.name)
    with rig.worker() as first, rig.worker() as second:
        for worker in (first, second):
            worker.wait_ready()
        rig.wait_copied(rig.bad, rig.good)
        dry = cli(first, "remove", "--link", rig.name, "--dry-run", "-o", "json")
        assert dry.exit_code == 0, dry.output
        (row,) = json.loads(dry.stdout)["links"]
        assert row["topics"] == [f"__replicator_{rig.name}_{part}" for part in ("ledger", "map", "control")]
        assert len(row["workers"]) == 2
        file = tmp_path / "trail.json"
        done = cli(first, "remove", "--link", rig.name, "--yes", "--save-audit", str(file))
        assert done.exit_code == 0, done.output
        trail = json.loads(file.read_text())["audit"]
        assert [(each["by"], each["verb"], each["result"]) for each in trail] == [
            ("api:local@127.0.0.1", "remove", "begun")
        ]

        def left() -> bool:
            assert links(first) == links(second) == []
            return True

        wait_for(left, within=15, what="neither worker has the link any more")
        own = {name for name in rig.target.admin().list_topics(timeout=10).topics if rig.name in name}
        assert {f"us.{rig.bad}", f"us.{rig.good}"} <= own, "copies stay"
        assert not own & set(row["topics"])
        for worker in (first, second):
            worker.wait_ready()
        second.hang_up()
        wait_for(lambda: "a restart would begin anew" in second.log(), within=15, what="it has read its file")
        assert links(second) == [], "not made anew because the file has it still"
        again = cli(first, "remove", "--link", rig.name, "--yes")
        assert again.exit_code == 2
        assert "there is no link" in again.output


@on(BUNDLED)
def test_given_a_member_that_does_not_leave_then_nothing_is_removed_and_the_workers_go_on(
    pair: Pair, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rig = Rig(pair, tmp_path, request.node.name, lanes=2)
    with rig.worker() as worker:
        worker.wait_ready()
        rig.wait_copied(rig.bad, rig.good)
        stranger = Consumer(
            {
                **rig.target.client_config,
                "group.id": group_id(rig.name),
                "client.id": "stranger",
                "partition.assignment.strategy": "cooperative-sticky",
            }
        )
        try:
            stranger.subscribe([rig.ledger])
            wait_for(lambda: stranger.poll(0.2) is not None or stranger.assignment(), within=20, what="it is a member")
            refused = cli(worker, "remove", "--link", rig.name, "--yes", "--wait", "4")
            assert refused.exit_code == 4, refused.output
            assert "stranger on 127.0.0.1 didn't leave within 4 s" in refused.output
        finally:
            stranger.close()
        worker.wait_ready()
        rig.good_goes_on()
        rig.write(rig.bad, records(3, start=500))
        rig.wait_copied(rig.bad)
        trail = json.loads(cli(worker, "audit", "-o", "json").stdout)["audit"]
        assert [(row["verb"], row["result"]) for row in trail] == [("remove", "refused")]
        removed = cli(worker, "remove", "--link", rig.name, "--yes", "--save-audit", str(tmp_path / "trail.json"))
        assert removed.exit_code == 0, removed.output
