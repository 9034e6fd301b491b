"""`ready` on real Kafka: users and quotas that the other cluster lacks are named, with the command to make them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.pairs import LONG_KAFKA, on
from tests.e2e.rig import Pair, Rig
from tests.support.javatools import run_tool
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]

TOOL = "kafka.admin.ConfigCommand"


@on(LONG_KAFKA)
def test_given_a_user_and_a_quota_of_the_source_alone_then_it_is_ready_only_without_them(
    pair: Pair, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rig = Rig(pair, tmp_path, request.node.name)
    run = rig.installation.run
    at = ("--bootstrap-server", rig.source.bootstrap, "--alter", "--entity-type", "users", "--entity-name", "alice")
    scram = "SCRAM-SHA-512=[password=secret-enough]"
    with rig.worker() as worker:
        worker.wait_ready()
        rig.installation.wait_until_copied(2)
        wait_for(lambda: run("ready").returncode == 0, within=30, every=0.5, what="it is ready")
        run_tool(TOOL, *at, "--add-config", scram)
        run_tool(TOOL, *at, "--add-config", "producer_byte_rate=5000000")
        try:
            done = run("ready", "-o", "json")
            ignored = run("ready", "--ignore", "quotas,users", "-o", "json")
        finally:
            run_tool(TOOL, *at, "--delete-config", "SCRAM-SHA-512")
            run_tool(TOOL, *at, "--delete-config", "producer_byte_rate")
    (link,) = json.loads(done.stdout)["links"]
    assert (done.returncode, link["ready"]) == (1, False)
    user, quota = sorted(link["obstacles"], key=lambda each: str(each["kind"]), reverse=True)
    assert (user["where"], user["what"]) == ("cluster eu", "SCRAM user alice is missing")
    assert quota["what"] == "quota of user alice: producer_byte_rate 5000000 is missing"
    address = rig.target.bootstrap
    assert quota["next_step"] == (
        f"Set it: kafka-configs.sh --bootstrap-server {address} --alter --entity-type users --entity-name alice "
        "--add-config producer_byte_rate=5000000"
    )
    assert ignored.returncode == 0
    assert len(json.loads(ignored.stdout)["links"][0]["obstacles"]) == 2
