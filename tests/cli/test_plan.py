"""`replicator plan` and what `status` says of what isn't kept in step, against bundled clusters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.bundled import BundledCluster
from tests.support.copying import create
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow]


@pytest.fixture
def pair() -> Iterator[tuple[BundledCluster, BundledCluster]]:
    with BundledCluster(name="us") as source, BundledCluster(name="eu") as target:
        yield source, target


def planned(installation: Installation, code: int) -> dict[str, Any]:
    done = installation.run("plan", "-o", "json")
    assert done.returncode == code, done.stderr + done.stdout
    (link,) = json.loads(done.stdout)["links"]
    return dict(link)


def test_given_a_link_that_never_ran_when_planned_then_all_is_told_and_nothing_touched_and_run_does_it(
    pair: tuple[BundledCluster, BundledCluster], tmp_path: Path
) -> None:
    source, target = pair
    create(source.admin(), "orders", 3)
    link = {"name": "us-to-eu", "source": "us", "target": "eu"}
    installation = Installation(tmp_path, {"us": source, "eu": target}, [link])
    before = set(target.admin().list_topics(timeout=5).topics)
    text = installation.run("plan")
    assert text.returncode == 1, text.stderr
    assert "us.orders" in text.stdout
    found = planned(installation, 1)
    changes = {(c["kind"], c["resource"], c["what"]): (c["before"], c["after"]) for c in found["changes"]}
    assert changes["topic", "us.orders", "topic"] == (None, "3 partitions, replication factor 1")
    assert changes["config", "us.orders", "retention.ms"] == (None, "-1")
    assert set(target.admin().list_topics(timeout=5).topics) == before

    with installation.worker() as worker:
        worker.wait_ready()
        installation.wait_until_copied(3)
        done = planned(installation, 0)
        assert done["changes"] == []
        said = {held["why"] for held in done["held"]}
        assert said <= {"NO_AUTHORIZER"}

        def shown() -> bool:
            (status,) = json.loads(installation.run("status", "-o", "json").stdout)["links"]
            assert {held["why"] for sync in status["syncs"] for held in sync["held"]} == {"NO_AUTHORIZER"}
            return True

        wait_for(shown, within=15, every=0.5, what="status shows why ACLs aren't copied")
    assert "has no authorizer" in installation.run("status").stdout
    assert "Nothing to do." in installation.run("plan").stdout


def test_given_a_cluster_that_is_away_when_planned_then_the_exit_code_says_so(
    pair: tuple[BundledCluster, BundledCluster], tmp_path: Path
) -> None:
    source, target = pair
    link = {"name": "l", "source": "us", "target": "eu"}
    installation = Installation(tmp_path, {"us": source, "eu": target}, [link])
    target.stop()
    done = installation.run("plan")
    assert done.returncode == 3
    assert "cluster eu" in done.stderr
    assert "Traceback" not in done.stderr
