"""The API of a worker that runs: views, verbs, and the command line through it."""

from __future__ import annotations

import contextlib
import json
import re
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter
from typer.testing import CliRunner, Result

from replicator.cli.main import app
from replicator.views.shapes import Diagnosis
from tests.e2e.pairs import BUNDLED, LONG_KAFKA
from tests.e2e.rig import Rig
from tests.support.bundled import BundledCluster
from tests.support.replicator import Worker
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module", params=[BUNDLED, LONG_KAFKA])
def live(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rig, Worker]]:
    with contextlib.ExitStack() as clusters:
        if request.param == "kafka":
            pair = request.getfixturevalue("kafka_source"), request.getfixturevalue("kafka_target")
        else:
            pair = tuple(clusters.enter_context(BundledCluster(name=name)) for name in ("source", "target"))
        rig = Rig(pair, tmp_path_factory.mktemp("live"), "api")
        with rig.worker() as worker:
            worker.wait_ready()
            rig.installation.wait_until_copied(2)

            def told() -> bool:
                assert json.loads(worker.get(f"/v1/links/{rig.name}")[1])["syncs"]
                return True

            wait_for(told, within=20, what="it says what it can't keep in step, so that answers stay the same")
            yield rig, worker


def cli(worker: Worker, verb: str, *more: str, token: str = "") -> Result:
    """`replicator VERB --api …` without a configuration file."""
    variables = {"REPLICATOR_TOKEN": token, "REPLICATOR_API": f"http://{worker.address}"}
    return CliRunner().invoke(app, [verb, "-c", "/nowhere", *more], env=variables)


def directly(rig: Rig, verb: str, *more: str) -> Result:
    """The same with the configuration file."""
    return CliRunner().invoke(app, [verb, "-c", str(rig.installation.file), *more])


def test_given_a_worker_when_its_views_are_asked_for_then_they_are_what_the_command_line_says(
    live: tuple[Rig, Worker],
) -> None:
    rig, worker = live
    for verb, more in (("topics", ()), ("groups", ()), ("ready", ()), ("audit", ()), ("status", ())):
        direct, through = directly(rig, verb, "-o", "json", *more), cli(worker, verb, "-o", "json", *more)
        assert through.exit_code == direct.exit_code, through.stderr
        assert json.loads(through.stdout) == json.loads(direct.stdout)
    code, text = worker.get("/v1/links")
    assert code == 200
    (link,) = json.loads(text)["links"]
    assert (link["name"], link["partitions"], link["states"]) == (rig.name, 2, {"COPYING": 2})
    for path in ("differences", "workers", "lag", "failover", f"translate?topic={rig.good}&partition=0&offset=3"):
        code, text = worker.get(f"/v1/links/{rig.name}/{path}")
        assert code == 200, f"{path}: {text}"
    moved = cli(worker, "translate", f"{rig.good}:0:3", "-o", "json")
    assert json.loads(moved.stdout)["links"][0]["to"]["offset"] == 3


def test_given_a_worker_when_its_doctor_is_asked_then_it_finds_what_the_command_line_does(
    live: tuple[Rig, Worker],
) -> None:
    rig, worker = live
    direct, through = (ask("doctor", "-o", "json") for ask in (partial(directly, rig), partial(cli, worker)))
    assert through.exit_code == direct.exit_code == 0, through.stderr + direct.stderr
    found, expected = json.loads(through.stdout), json.loads(direct.stdout)
    assert [numberless(row) for row in found["findings"]] == [numberless(row) for row in expected["findings"]]
    assert found["ok"] is expected["ok"] is True
    assert any("round trips: broker " in row["what"] for row in found["findings"])
    code, text = worker.get(f"/v1/links/{rig.name}/doctor")
    assert code == 200, text
    assert TypeAdapter(Diagnosis).validate_json(text)["ok"] is True
    said = cli(worker, "doctor")
    assert said.exit_code == 0, said.stderr
    assert "everything that copying needs is there" in said.stdout.lower()


def numberless(row: dict[str, Any]) -> dict[str, Any]:
    """Times and room on disks change from one look to the next."""
    return {**row, "what": re.sub(r"\d+(\.\d+)?", "N", row["what"])}


def test_given_a_link_that_is_not_there_then_the_nearest_is_named(live: tuple[Rig, Worker]) -> None:
    rig, worker = live
    code, text = worker.get(f"/v1/links/{rig.name[:-1]}x/lag")
    assert code == 404
    assert f"did you mean `{rig.name}`?" in json.loads(text)["error"]
    refused = cli(worker, "status", "--link", f"{rig.name[:-1]}x")
    assert refused.exit_code == 2
    assert f"did you mean `{rig.name}`?" in refused.stderr


def test_given_a_listener_then_events_come_every_second(live: tuple[Rig, Worker]) -> None:
    rig, worker = live
    with urllib.request.urlopen(f"http://{worker.address}/v1/events", timeout=10) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        events: list[dict[str, Any]] = []
        while len(events) < 3:
            line = response.readline().decode()
            if line.startswith("data: "):
                events.append(json.loads(line.removeprefix("data: ")))
    assert [event["links"][0]["name"] for event in events] == [rig.name] * 3
    assert 500 < (events[2]["at"] - events[0]["at"]) / 2 < 3000
    assert events[2]["links"][0]["records_per_s"] is not None


def test_given_verbs_through_the_api_then_they_do_what_they_say_and_the_trail_names_who(
    live: tuple[Rig, Worker], tmp_path: Path
) -> None:
    rig, worker = live
    dry = cli(worker, "pause", "--topic", ".*-bad", "--dry-run")
    assert dry.stdout == f"{rig.name}: 1 partitions would stand still. Nothing was changed.\n"
    done = cli(worker, "pause", "--topic", ".*-bad", "--yes", "--why", "a rehearsal", "-o", "json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["links"][0]["changed"] == 1
    status = json.loads(cli(worker, "status", "-o", "json").stdout)["links"][0]
    states = {row["topic"]: row["state"] for row in status["partitions"]}
    assert states == {rig.bad: "PAUSED", rig.good: "COPYING"}
    assert cli(worker, "resume", "--all").exit_code == 0
    snapshot = tmp_path / "snapshot.json"
    failed = cli(worker, "failover", "--topic", ".*-bad", "--yes", "--snapshot", str(snapshot))
    assert failed.exit_code == 0, failed.stderr
    assert json.loads(snapshot.read_text())["link"] == rig.name
    trail = json.loads(cli(worker, "audit", "-o", "json").stdout)["audit"]
    assert [row["verb"] for row in trail] == ["failover", "resume", "pause"]
    assert {row["by"] for row in trail} == {"api:local@127.0.0.1"}
    code, text = worker.get("/v1/operations")
    assert code == 200
    assert [each["state"] for each in json.loads(text)["operations"]] == ["done"] * 3


def test_given_tokens_then_roles_hold_and_who_is_refused_is_in_the_trail(
    live: tuple[Rig, Worker], tmp_path: Path
) -> None:
    rig, _ = live
    several = rig.installation.worker("--workers", "2")
    file = rig.installation.directory / f"{several.name}.yaml"
    document = yaml.safe_load(file.read_text())
    document["service"]["tokens"] = [
        {"name": "eve", "token": "look", "role": "view"},
        {"name": "ann", "token": "do", "role": "operate"},
    ]
    file.write_text(yaml.safe_dump(document))
    with several as worker:
        worker.wait_ready()
        nobody = cli(worker, "status")
        assert nobody.exit_code == 3
        assert "set REPLICATOR_TOKEN" in nobody.stderr
        assert cli(worker, "status", token="look").exit_code == 0
        assert json.loads(cli(worker, "groups", "-o", "json", token="look").stdout)["links"]
        viewer = cli(worker, "pause", "--all", "--yes", token="look")
        assert viewer.exit_code == 3
        assert "eve may only view" in viewer.stderr
        secret = tmp_path / "token"
        secret.write_text("do\n")
        refused = cli(worker, "pause", "--all", "--yes", "--token-file", str(secret))
        assert refused.exit_code == 4, "promoted and failed over"

        def noted() -> bool:
            trail = json.loads(cli(worker, "audit", "-o", "json", token="do").stdout)["audit"]
            found = [(row["by"], row["what"], row["detail"]) for row in trail if row["verb"] == "http"]
            assert len(found) == 1, "one for an address and a minute"
            assert found[0][0] == "api:?@127.0.0.1"
            return True

        wait_for(noted, within=20, what="the refused request is in the trail")


@pytest.mark.soak
def test_given_moves_through_the_api_then_they_do_what_they_do_without_it(
    live: tuple[Rig, Worker], tmp_path: Path
) -> None:
    _, worker = live
    failed = cli(worker, "failover", "--topic", ".*-bad", "--yes", "--snapshot", str(tmp_path / "again.json"))
    assert failed.exit_code == 0, failed.stderr
    restored = cli(worker, "restore", "--topic", ".*-bad", "--yes")
    assert restored.exit_code == 0, restored.stderr
    assert cli(worker, "promote", "--topic", "no-such", "--yes").exit_code == 4
    promoted = cli(worker, "promote", "--topic", ".*-good", "--yes", "--quiet", "0.5")
    assert promoted.exit_code == 0, promoted.stderr
    assert "the source is quiet, and all of it is copied" in promoted.stdout
    assert "Let clients use the copies now." in promoted.stdout
    again = cli(worker, "failover", "--all", "--yes")
    assert again.exit_code == 4
    assert "was promoted" in again.stderr


@pytest.mark.soak
@pytest.mark.timeout(240)
def test_given_a_worker_killed_in_the_midst_of_an_operation_when_the_order_is_given_again_then_it_is_carried_out(
    tmp_path: Path,
) -> None:
    with BundledCluster(name="source") as source, BundledCluster(name="target") as target:
        rig = Rig((source, target), tmp_path, "killed")
        with rig.worker() as first, rig.worker() as second:
            for worker in (first, second):
                worker.wait_ready()
            rig.installation.wait_until_copied(2)
            operation = order(first, rig.name, "promote", quiet=60)

            def waits() -> bool:
                _, text = first.get(f"/v1/operations/{operation}")
                assert json.loads(text)["lines"] == [f"{rig.name}: 2 of 2 partitions are to be promoted"]
                return True

            wait_for(waits, within=20, what="it waits for quiet")
            other = cli(second, "pause", "--all", "--yes")
            assert other.exit_code == 4
            assert "api:local@127.0.0.1 is at work on it: `promote`" in other.stderr
            first.kill()
            done = cli(second, "promote", "--all", "--yes", "--quiet", "0.5", "--wait", "60")
            assert done.exit_code == 0, done.stderr
            status = json.loads(cli(second, "status", "-o", "json").stdout)["links"][0]
            assert {row["state"] for row in status["partitions"]} == {"PROMOTED"}
            trail = json.loads(cli(second, "audit", "-o", "json").stdout)["audit"]
            assert [(row["verb"], row["result"]) for row in trail] == [("promote", "ok"), ("pause", "refused")]
            found = result(second, order(second, rig.name, "verify"))
            assert (found["ok"], found["records"]) == (True, 40)
            assert result(second, order(second, rig.name, "drill"))["ok"]


def order(worker: Worker, link: str, verb: str, **options: object) -> str:
    """Give it; the operation."""
    body = json.dumps({"all": True, "confirm": link, **options}).encode()
    url = f"http://{worker.address}/v1/links/{link}/{verb}"
    asked = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=20) as response:
        return str(json.loads(response.read())["operation"])


def result(worker: Worker, operation: str) -> dict[str, Any]:
    """When it is done."""
    found: dict[str, Any] = {}

    def done() -> bool:
        _, text = worker.get(f"/v1/operations/{operation}")
        found.update(json.loads(text))
        assert found["state"] == "done", found
        return True

    wait_for(done, within=90, what="the operation is done")
    return dict(found["result"])
