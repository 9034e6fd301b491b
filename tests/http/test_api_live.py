"""The API of a worker that runs: views, verbs, and the command line through it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.rig import Rig
from tests.support.bundled import BundledCluster
from tests.support.replicator import Worker
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rig, Worker]]:
    with BundledCluster(name="source") as source, BundledCluster(name="target") as target:
        rig = Rig((source, target), tmp_path_factory.mktemp("live"), "api")
        with rig.worker() as worker:
            worker.wait_ready()
            rig.installation.wait_until_copied(2)
            yield rig, worker


def cli(
    worker: Worker, verb: str, *more: str, token: str = "", directory: Path = Path("/")
) -> subprocess.CompletedProcess[str]:
    """`replicator VERB --api …` without a configuration file."""
    return subprocess.run(
        [sys.executable, "-m", "replicator.cli.main", verb, "--api", f"http://{worker.address}", *more],
        env={**os.environ, "REPLICATOR_TOKEN": token, "PYTHONPATH": str(ROOT)},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_given_a_worker_when_its_views_are_asked_for_then_they_are_what_the_command_line_says(
    live: tuple[Rig, Worker],
) -> None:
    rig, worker = live
    for verb, more in (("topics", ()), ("groups", ()), ("ready", ()), ("audit", ()), ("status", ())):
        direct, through = rig.installation.run(verb, "-o", "json", *more), cli(worker, verb, "-o", "json", *more)
        assert through.returncode == direct.returncode, through.stderr
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


def test_given_a_link_that_is_not_there_then_the_nearest_is_named(live: tuple[Rig, Worker]) -> None:
    rig, worker = live
    code, text = worker.get(f"/v1/links/{rig.name[:-1]}x/lag")
    assert code == 404
    assert f"did you mean `{rig.name}`?" in json.loads(text)["error"]
    refused = cli(worker, "status", "--link", f"{rig.name[:-1]}x")
    assert refused.returncode == 2
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
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["links"][0]["changed"] == 1
    states = {topic: row["state"] for (topic, _), row in rig.installation.status().items()}
    assert states == {rig.bad: "PAUSED", rig.good: "COPYING"}
    assert cli(worker, "resume", "--all").returncode == 0
    assert cli(worker, "promote", "--topic", "no-such", "--yes").returncode == 4
    promoted = cli(worker, "promote", "--topic", ".*-good", "--yes", "--quiet", "0.5")
    assert promoted.returncode == 0, promoted.stderr
    assert "the source is quiet, and all of it is copied" in promoted.stdout
    assert "Let clients use the copies now." in promoted.stdout
    snapshot = tmp_path / "snapshot.json"
    failed = cli(worker, "failover", "--topic", ".*-bad", "--yes", "--snapshot", str(snapshot))
    assert failed.returncode == 0, failed.stderr
    assert json.loads(snapshot.read_text())["link"] == rig.name
    restored = cli(worker, "restore", "--topic", ".*-bad", "--yes")
    assert restored.returncode == 0, restored.stderr
    again = cli(worker, "failover", "--all", "--yes")
    assert again.returncode == 4
    assert "was promoted" in again.stderr
    trail = json.loads(cli(worker, "audit", "-o", "json").stdout)["audit"]
    assert [row["verb"] for row in trail] == ["restore", "failover", "promote", "resume", "pause"]
    assert {row["by"] for row in trail} == {"api:local@127.0.0.1"}
    code, text = worker.get("/v1/operations")
    assert code == 200
    assert [each["state"] for each in json.loads(text)["operations"]] == ["done"] * 5


def test_given_tokens_then_roles_hold_and_who_is_refused_is_in_the_trail(
    live: tuple[Rig, Worker], tmp_path: Path
) -> None:
    rig, _ = live
    with rig.installation.worker("--workers", "2") as worker:
        file = rig.installation.directory / f"{worker.name}.yaml"
        document = yaml.safe_load(file.read_text())
        document["service"]["tokens"] = [
            {"name": "eve", "token": "look", "role": "view"},
            {"name": "ann", "token": "do", "role": "operate"},
        ]
        worker.kill()
        file.write_text(yaml.safe_dump(document))
        worker.start().wait_ready()
        nobody = cli(worker, "status")
        assert nobody.returncode == 3
        assert "set REPLICATOR_TOKEN" in nobody.stderr
        assert cli(worker, "status", token="look").returncode == 0
        assert json.loads(cli(worker, "groups", "-o", "json", token="look").stdout)["links"]
        viewer = cli(worker, "pause", "--all", "--yes", token="look")
        assert viewer.returncode == 3
        assert "eve may only view" in viewer.stderr
        secret = tmp_path / "token"
        secret.write_text("do\n")
        refused = cli(worker, "pause", "--all", "--yes", "--token-file", str(secret))
        assert refused.returncode == 4, "promoted and failed over"

        def noted() -> bool:
            trail = json.loads(cli(worker, "audit", "-o", "json", token="do").stdout)["audit"]
            found = [(row["by"], row["what"], row["detail"]) for row in trail if row["verb"] == "http"]
            assert len(found) == 1, "one for an address and a minute"
            assert found[0][0] == "api:?@127.0.0.1"
            return True

        wait_for(noted, within=20, what="the refused request is in the trail")
