"""`verify` on links that copy meanwhile: parts of logs, interruptions, and reports."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from replicator.cli.main import app
from tests.e2e.pairs import BUNDLED, KAFKA, on
from tests.e2e.rig import Pair, records
from tests.support.checker import Seen
from tests.support.copying import create, produce
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(150)]

MANY = 25_000  # two and a half segments


class Scene:
    """A topic of one partition, copied in transactions, so that offsets differ on both sides."""

    def __init__(self, pair: Pair, directory: Path, topic: str, naming: str = "prefix") -> None:
        self.source, self.target = pair
        self.topic = topic
        create(self.source.admin(), topic)
        link = {"name": topic, "source": "us", "target": "eu", "writing": "transactions", "lanes": 2,
                "topics": {"include": [topic], "naming": naming}}  # fmt: skip
        self.installation = Installation(directory, {"us": self.source, "eu": self.target}, [link])

    def write(self, what: Sequence[Seen]) -> None:
        produce(self.source.client_config, self.topic, 0, what)

    def verify(self, *arguments: str, expect: int = 0) -> dict[str, Any]:
        done = CliRunner().invoke(app, ["verify", "-c", str(self.installation.file), "-o", "json", *arguments])
        assert done.exit_code == expect, done.output
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def wait_copied(self) -> None:
        self.installation.wait_until_copied(1)


@pytest.mark.parametrize("naming", ["prefix", "identical"])
def test_given_a_part_of_the_log_then_it_is_compared_through_the_map_and_only_damage_within_it_is_found(
    pair: Pair, tmp_path: Path, naming: str
) -> None:
    scene = Scene(pair, tmp_path, f"parts-{naming}", naming)
    with scene.installation.worker() as worker:
        worker.wait_ready()
        for first in range(0, 60, 20):  # a commit each: its marker takes an offset on the target
            scene.write(records(20, start=first))
            scene.wait_copied()
        (part,) = scene.verify("--from", "15", "--to", "45", "--partition", "0")["partitions"]
        assert (part["records"], part["source_start"], part["source_end"], part["found"]) == (30, 15, 45, 0)
        assert part["target_end"] - part["target_start"] > 30, "there are markers between"
        assert part["source_checksum"] == part["target_checksum"] != ""
        (timed,) = scene.verify("--from", "2026-09-21T13:20:00.020+00:00", "--to", "40")["partitions"]
        assert timed["source_end"] == 40
        (late,) = scene.verify("--from", "55", "--to", "1000")["partitions"]
        assert (late["records"], late["uncopied"]) == (5, 0)
        (empty,) = scene.verify("--from", "1000")["partitions"]
        assert (empty["records"], empty["ok"]) == (0, True)
        worker.terminate(within=15)
    copy = scene.topic if naming == "identical" else f"us.{scene.topic}"
    produce(scene.target.client_config, copy, 0, [Seen(0, b"who", b"me", (), 1_790_000_000_000)])
    scene.write(records(3, start=60))
    assert scene.verify("--from", "15", "--to", "45")["ok"]
    assert scene.verify()["partitions"][0]["uncopied"] == 3


@on(BUNDLED, KAFKA)
def test_given_a_verification_killed_half_way_when_resumed_then_the_signed_report_is_that_of_one_in_one_go(
    pair: Pair, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    scene = Scene(pair, tmp_path, f"resumed-{len(request.node.name)}")
    scene.write(records(MANY, size=40))
    with scene.installation.worker() as worker:
        worker.wait_ready()
        scene.wait_copied()
        state = tmp_path / "state.json"
        command = [sys.executable, "-m", "replicator.cli.main", "verify", "-c", str(scene.installation.file)]
        slow = subprocess.Popen([*command, "--resume", str(state), "--rate", "400KiB"], stdout=subprocess.DEVNULL)
        try:

            def half_way() -> bool:
                assert slow.poll() is None, "it has come to its end"
                return state.exists() and json.loads(state.read_text())["under_way"] is not None

            wait_for(half_way, within=60, every=0.1, what="a segment is compared and written down")
        finally:
            slow.kill()
            slow.wait(10)
        kept = json.loads(state.read_text())["under_way"]["records"]
        assert kept in (10_000, 20_000)
        scene.write(records(50, start=MANY))  # what comes later isn't compared
        scene.wait_copied()
        other = CliRunner().invoke(
            app, ["verify", "-c", str(scene.installation.file), "--resume", str(state), "--partition", "0"]
        )
        assert (other.exit_code, "is of another verification (link" in other.output) == (4, True)
        resumed = scene.verify("--resume", str(state), "--report", str(tmp_path / "reports"))
        assert not state.exists()
        assert resumed["records"] == MANY
        (whole,) = scene.verify("--to", str(MANY))["partitions"]
        (part,) = resumed["partitions"]
        assert part["source_checksum"] == part["target_checksum"] == whole["source_checksum"]
        assert (part["source_start"], part["source_end"], part["target_start"]) == (0, MANY, whole["target_start"])
        trail = json.loads(scene.installation.run("audit", "-o", "json").stdout)["audit"]
        assert [row["verb"] for row in trail] == ["verify"]
        assert f"report signed off: SHA-256 {resumed['sign_off']['sha256']}" in trail[0]["detail"]
        for file in (tmp_path / "reports").iterdir():
            checked = CliRunner().invoke(app, ["verify", "--check-report", str(file)])
            assert checked.exit_code == 0, checked.output
            assert f"SHA-256 {resumed['sign_off']['sha256']}" in checked.output.replace("\n", "")
            file.write_text(file.read_text().replace(f'"records": {MANY}', '"records": 1'))
            assert CliRunner().invoke(app, ["verify", "--check-report", str(file)]).exit_code == 1
