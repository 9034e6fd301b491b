"""The configuration is changed while workers run: by SIGHUP and by `replicator apply`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.bundled import BundledCluster
from tests.support.checker import Seen, read_partition
from tests.support.copying import create, produce
from tests.support.replicator import Installation, Worker
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def link(name: str, *include: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "source": "us", "target": "eu", "topics": {"include": list(include)}, **more}


class Scene:
    """Two clusters, and topics of ten records."""

    def __init__(self, source: BundledCluster, target: BundledCluster, directory: Path) -> None:
        self.source, self.target = source, target
        self.installation = Installation(directory, {"us": source, "eu": target}, [link("one", "a-.*")])

    def topic(self, name: str) -> None:
        create(self.source.admin(), name)
        self.write(name, 0)

    def write(self, name: str, start: int) -> None:
        records = [Seen(i, b"k", b"%d" % i, (), 1_790_000_000_000) for i in range(start, start + 10)]
        produce(self.source.client_config, name, 0, records)

    def wait_copied(self, name: str, count: int = 10) -> None:
        def copied() -> bool:
            assert f"us.{name}" in self.target.admin().list_topics(timeout=5).topics, f"us.{name} doesn't exist"
            found = [int(record.value or b"") for record in read_partition(self.target.client_config, f"us.{name}", 0)]
            assert found == list(range(count)), f"us.{name} holds {found}"
            return True

        wait_for(copied, within=20, every=0.2, what=f"{name} is copied")

    def exists(self, name: str) -> bool:
        return f"us.{name}" in self.target.admin().list_topics(timeout=5).topics


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with BundledCluster(name="source") as source, BundledCluster(name="target") as target:
        yield Scene(source, target, tmp_path)


def wait_said(worker: Worker, text: str) -> None:
    wait_for(lambda: text in worker.log(), within=20, what=f"{worker.name} says {text!r}")


def test_given_another_file_and_a_hang_up_then_links_are_changed_added_and_removed_and_the_process_goes_on(
    scene: Scene,
) -> None:
    for name in ("a-1", "b-1", "c-1"):
        scene.topic(name)
    with scene.installation.worker() as worker:
        worker.wait_ready()
        scene.wait_copied("a-1")
        scene.installation.configure([link("one", "a-.*", "b-.*"), link("two", "c-.*")])
        worker.hang_up()
        scene.wait_copied("b-1")
        scene.wait_copied("c-1")
        scene.write("a-1", 10)
        scene.wait_copied("a-1", 20)
        scene.installation.configure([link("two", "c-.*")])
        worker.hang_up()
        wait_said(worker, "link removed")
        scene.write("a-1", 20)
        scene.write("c-1", 10)
        scene.wait_copied("c-1", 20)
        scene.wait_copied("a-1", 20)
        assert worker.running
        worker.terminate()


def test_given_a_file_with_a_mistake_then_a_hang_up_changes_nothing_and_the_mistake_is_named(scene: Scene) -> None:
    scene.topic("a-1")
    with scene.installation.worker() as worker:
        worker.wait_ready()
        scene.installation.configure([link("one", "a-.*", "b-[")])
        worker.hang_up()
        wait_said(worker, "going on as before")
        assert "worker1.yaml:" in worker.log()
        scene.installation.configure([link("one", "a-.*", lanes=5)])
        worker.hang_up()
        wait_said(worker, "The number of lanes is fixed")
        scene.wait_copied("a-1")
        scene.installation.configure([link("one", "a-.*"), link("two", "a-1")])
        worker.hang_up()
        wait_said(worker, "links one and two would both write us.a-1")
        scene.write("a-1", 10)
        scene.wait_copied("a-1", 20)


def test_given_several_workers_then_apply_reaches_all_and_tells_who_works_by_another_file(scene: Scene) -> None:
    run = scene.installation.run
    scene.topic("b-1")
    done = run("apply")
    assert (done.returncode, done.stdout) == (0, "one: no worker runs it; it counts from when one starts.\n")
    with scene.installation.worker() as first, scene.installation.worker("--workers", "2") as second:
        first.wait_ready()
        second.wait_ready()

        def agreed() -> bool:
            done = run("apply", "-o", "json")
            (told,) = json.loads(done.stdout)["links"]
            assert (done.returncode, told["workers"], told["agreed"], told["changes"]) == (0, 3, 3, []), done.stdout
            return True

        wait_for(agreed, within=30, what="three workers are members and agree")
        scene.installation.configure([link("one", "a-.*", "b-.*")])
        done = run("apply", "--dry-run")
        assert done.returncode == 1
        assert done.stdout == 'one: topics.include: ["a-.*"] -> ["a-.*", "b-.*"]\n'
        done = run("apply")
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.endswith("one: 3 of 3 workers work by this file.\n")
        scene.wait_copied("b-1")
        scene.installation.configure([link("one", "c-.*")], only=first.name)
        done = run("apply")
        assert done.returncode == 1
        assert "one: 2 of 3 workers work by this file.\n" in done.stdout
        assert "its file says something else of this link" in done.stdout
        done = run("apply")
        assert done.returncode == 1
        scene.installation.configure([link("one", "a-.*", lanes=7)], only="replicator")
        done = run("apply")
        assert done.returncode == 4
        assert "lanes can't be changed from 32 to 7" in done.stderr
