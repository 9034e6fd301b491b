"""Topics that operators let stand still, and go on; who did it; and two operators at once."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from replicator.config.load import load
from replicator.dr.desk import Desk
from replicator.errors import WrongStateError
from tests.e2e.pairs import BUNDLED, LONG_BUNDLED, LONG_KAFKA, on
from tests.e2e.rig import Pair, Rig, records
from tests.support.checker import compare_topics
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def states(rig: Rig) -> dict[str, str]:
    return {topic: row["state"] for (topic, _), row in rig.installation.status().items()}


@on(BUNDLED, LONG_KAFKA)
def test_given_a_paused_topic_when_workers_come_and_go_then_it_stands_still_until_it_is_resumed(
    pair: Pair, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rig = Rig(pair, tmp_path, request.node.name)
    run = rig.installation.run
    with rig.worker() as worker:
        worker.wait_ready()
        rig.installation.wait_until_copied(2)
        done = run("pause", "--topic", ".*-bad", "--why", "a rehearsal", "--yes", "-o", "json")
        assert done.returncode == 0, done.stderr
        (held,) = json.loads(done.stdout)["links"]
        assert (held["changed"], held["waiting"]) == (1, 0)
        assert states(rig) == {rig.bad: "PAUSED", rig.good: "COPYING"}
        (row,) = [row for (topic, _), row in rig.installation.status().items() if topic == rig.bad]
        assert row["detail"].startswith("pause by ")
        assert row["detail"].endswith(": a rehearsal.")
        rig.write(rig.bad, records(5, start=20))
        rig.write(rig.good, records(5, start=20))
        wait_for(lambda: len(rig.copies(rig.good)) == 25, within=20, what="the other topic is copied")
        worker.kill()
    with rig.worker() as worker:
        worker.wait_ready()
        rig.write(rig.good, records(5, start=25))
        wait_for(lambda: len(rig.copies(rig.good)) == 30, within=20, what="the next worker copies the other topic")
        assert states(rig)[rig.bad] == "PAUSED"
        assert len(rig.copies(rig.bad)) == 20
        unready = run("ready", "-o", "json")
        assert unready.returncode == 1
        (told,) = json.loads(unready.stdout)["links"]
        assert [(each["kind"], each["where"]) for each in told["obstacles"]] == [("state", f"{rig.bad}-0")]
        again = run("pause", "--topic", ".*-bad", "--yes", "-o", "json")
        assert json.loads(again.stdout)["links"][0]["changed"] == 0
        done = run("resume", "--all")
        assert done.returncode == 0, done.stderr
        rig.installation.wait_until_copied(2)
        assert run("ready").stdout == f"{rig.name}: ready: nothing is missing on the target.\n"
    ends = {rig.bad: 1, rig.good: 1}
    assert not compare_topics(rig.source.client_config, rig.target.client_config, ends, rename="us.{}").problems
    trail = json.loads(run("audit", "-o", "json").stdout)["audit"]
    assert [(row["verb"], row["what"], row["result"]) for row in trail] == [
        ("resume", "--all", "ok"),
        ("pause", "--topic .*-bad", "ok"),
        ("pause", "--topic .*-bad", "ok"),
    ]


@on(LONG_BUNDLED, LONG_KAFKA)
def test_given_no_worker_when_all_is_paused_then_the_next_worker_copies_nothing_until_it_is_resumed(
    pair: Pair, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rig = Rig(pair, tmp_path, request.node.name)
    run = rig.installation.run
    never = run("pause", "--all", "--yes")
    assert never.returncode == 4
    assert "has never run" in never.stderr
    with rig.worker() as worker:
        worker.wait_ready()
        rig.installation.wait_until_copied(2)
    done = run("pause", "--all", "--yes")
    assert done.returncode == 0, done.stderr
    assert "2 more will when a worker takes notice" in done.stdout
    assert set(states(rig).values()) == {"PAUSED"}
    assert run("pause", "--topic", "nothing-like-it", "--yes").returncode == 4
    rig.write(rig.good, records(5, start=20))
    with rig.worker() as worker:
        worker.wait_ready()
        rows = rig.installation.status
        wait_for(lambda: all(row["confirmed"] for row in rows().values()), within=20, what="it is confirmed")
        assert set(states(rig).values()) == {"PAUSED"}
        assert len(rig.copies(rig.good)) == 20
        assert run("resume", "--all").returncode == 0
        assert set(states(rig).values()) == {"COPYING"}, "also of the topic that has nothing to copy"
        rig.installation.wait_until_copied(2)


def test_given_two_operators_then_the_first_wins_and_the_other_is_told_who(
    pair: Pair, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rig = Rig(pair, tmp_path, request.node.name)
    with rig.worker() as worker:
        worker.wait_ready()
        rig.installation.wait_until_copied(2)
    settings = load(rig.installation.file)
    (link,) = settings.links
    with Desk(settings, link, "failover", "--all", by="alice@ops"):
        refused = rig.installation.run("pause", "--all", "--yes")
        assert refused.returncode == 4
        assert "alice@ops is at work on it: `failover` since " in refused.stderr
        assert set(states(rig).values()) == {"COPYING"}
        with pytest.raises(WrongStateError, match="alice@ops"), Desk(settings, link, "promote", "--all", by="bob@ops"):
            raise AssertionError("two at once")
    later = int(time.time() * 1000) + 70_000
    lost = Desk(settings, link, "promote", "--all", by="carol@elsewhere")
    lost.__enter__()  # and is never seen again
    with Desk(settings, link, "resume", "--all", by="dave@ops", now_ms=lambda: later):
        pass
    trail = json.loads(rig.installation.run("audit", "-o", "json").stdout)["audit"]
    assert [(row["by"], row["result"]) for row in trail if "ops" in row["by"]] == [
        ("dave@ops", "ok"),
        ("alice@ops", "ok"),
        ("bob@ops", "refused"),
    ]
