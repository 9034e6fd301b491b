"""Passwords that are changed while a link copies: no restart, nothing lost, nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.rig import records
from tests.support.bundled import BundledCluster
from tests.support.checker import compare_topics
from tests.support.copying import create, produce
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]

TOPIC = "rotated"


class Rotated:
    """A cluster with SCRAM, whose password Replicator reads from a file."""

    def __init__(self, cluster: BundledCluster, file: Path) -> None:
        self.cluster = cluster
        self._file = file
        self.bootstrap = cluster.bootstrap
        self.security: dict[str, Any] = {**cluster.security, "password": {"file": str(file)}}
        self.write("first-password")

    def write(self, password: str) -> None:
        """Replace the file, as tools that hand out secrets do."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{password}\n")
        new.rename(self._file)


@pytest.fixture
def clusters(tmp_path: Path) -> Iterator[tuple[Rotated, Rotated]]:
    with ExitStack() as stack:
        made = [
            stack.enter_context(
                BundledCluster(
                    name=f"secrets-{name}",
                    users={"copier": "first-password"},
                    mechanism="SCRAM-SHA-512",
                    persistent=True,
                )
            )
            for name in ("source", "target")
        ]
        yield Rotated(made[0], tmp_path / "source-password"), Rotated(made[1], tmp_path / "target-password")


@pytest.mark.parametrize("first", ["file", pytest.param("broker", marks=pytest.mark.soak)])
def test_given_passwords_that_are_changed_while_it_copies_then_it_goes_on_with_the_new_ones(
    clusters: tuple[Rotated, Rotated], tmp_path: Path, first: str
) -> None:
    source, target = clusters
    create(source.cluster.admin(), TOPIC)
    link = {"name": "l", "source": "us", "target": "eu", "topics": {"include": [f"{TOPIC}.*"]}, "lanes": 2}
    installation = Installation(tmp_path, {"us": source, "eu": target}, [link])
    with installation.worker() as worker:
        worker.wait_ready()
        produce(source.cluster.client_config, TOPIC, 0, records(500))
        installation.wait_until_copied(1)
        for number, rotated in enumerate((source, target), start=1):
            password = f"password-{number + 1}"
            seen = len(worker.log())
            if first == "file":
                rotated.write(password)
            rotated.cluster.change_password("copier", password)  # breaks all connections
            if first == "broker":
                wait_for(
                    lambda at=seen: "refused SCRAM-SHA-512" in worker.log()[at:],  # type: ignore[misc]
                    within=30, every=0.2, what="the worker is refused",
                )  # fmt: skip
                rotated.write(password)
            produce(source.cluster.client_config, TOPIC, 0, records(500, start=500 * number))

            def ready() -> bool:
                code, body = worker.get("/readyz")
                assert code == 200, body
                return True

            wait_for(ready, within=60, every=0.2, what="it has logged in everywhere")
            installation.wait_until_copied(1, within=60)
        create(source.cluster.admin(), f"{TOPIC}-later")
        installation.wait_until_copied(2, within=60)  # the administrator has logged in too
        assert worker.log().count('"event": "serving"') == 1
        assert "goes on with its new configuration" not in worker.log()
        assert "Traceback" not in worker.log()
    ends = {TOPIC: 1}
    verdict = compare_topics(source.cluster.client_config, target.cluster.client_config, ends, rename="us.{}")
    assert not verdict.problems
