"""Others write where copies go: a client into a remote topic, and a second link with the same target topics."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.pairs import BUNDLED, LONG_KAFKA, on
from tests.e2e.rig import Pair, Rig, records
from tests.support.checker import Seen
from tests.support.copying import produce
from tests.support.replicator import Installation, Worker
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def contents(seen: list[Seen]) -> list[tuple[object, ...]]:
    return [record.content() for record in seen]


@pytest.mark.parametrize("writing", ["auto", pytest.param("transactions", marks=pytest.mark.soak)])
@on(BUNDLED, LONG_KAFKA)
def test_given_a_client_writes_into_a_copy_then_it_is_said_and_the_copy_stays_exact(
    pair: Pair, tmp_path: Path, request: pytest.FixtureRequest, writing: str
) -> None:
    rig = Rig(pair, tmp_path, request.node.name, writing=writing)
    foreign = [Seen(0, b"foreign", b"%d" % n, (), 1_790_000_000_000) for n in range(7)]
    with rig.worker() as worker:
        worker.wait_ready()
        rig.wait_copied(rig.bad, rig.good)
        produce(rig.target.client_config, f"us.{rig.bad}", 0, foreign)
        rig.write(rig.bad, records(10, start=20))
        rig.good_goes_on()
        wait_for(lambda: rig.installation.status()[rig.bad, 0]["source_next"] == 30, within=30, what="it is copied")
        copies = [record for record in rig.copies(rig.bad) if record.key != b"foreign"]
        assert contents(copies) == contents(rig.originals(rig.bad))
        assert "somebody else writes to the target topic" in worker.log()


@pytest.mark.parametrize(
    "together", [True, pytest.param(False, marks=pytest.mark.soak)], ids=["together", "one-after-the-other"]
)
@on(BUNDLED, LONG_KAFKA)
def test_given_two_links_with_the_same_target_topics_then_one_alone_writes_and_the_other_says_who_does(
    pair: Pair, tmp_path: Path, request: pytest.FixtureRequest, together: bool
) -> None:
    rig = Rig(pair, tmp_path, request.node.name)
    second = {"name": f"{rig.name}-2", "source": "us", "target": "eu", "topics": {"include": [f"{rig.name}-.*"]}}
    other = Installation(tmp_path / "other", {"us": rig.source, "eu": rig.target}, [second])
    with rig.worker() as one:
        if not together:
            one.wait_ready()
            rig.wait_copied(rig.bad, rig.good)
        with other.worker() as two:
            if not together:
                wait_for(lambda: not two.running, within=30, what="the second one refuses to start")
                assert two.exit_code == 4, two.log()
                assert "already hold records" in two.log()
                rig.write(rig.bad, records(10, start=20))
                rig.wait_copied(rig.bad, rig.good)
                return
            if late := came_too_late(one, two):
                assert "already hold records" in late
                rig.write(rig.bad, records(10, start=20))
                wait_for(
                    lambda: contents(rig.copies(rig.bad)) == contents(rig.originals(rig.bad)),
                    within=30,
                    what="it is copied",
                )
                return
            stopped = wait_for(lambda: stopped_links(rig, other), within=40, every=0.3, what="one of them stops")
            rig.write(rig.bad, records(10, start=20))
            for topic in (rig.bad, rig.good):
                writers = [link for link in (rig.name, f"{rig.name}-2") if link not in stopped[topic]]
                for link in writers:
                    where = rig.installation if link == rig.name else other
                    wait_for(lambda: where.status()[topic, 0]["lag"] == 0, within=30, every=0.3, what="it is copied")  # noqa: B023
                assert contents(rig.copies(topic)) == (contents(rig.originals(topic)) if writers else [])


@on(BUNDLED, LONG_KAFKA)
def test_given_two_links_of_one_file_with_the_same_target_topics_then_run_refuses_and_names_both(
    pair: Pair, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rig = Rig(pair, tmp_path, request.node.name)
    links = [
        {"name": name, "source": "us", "target": "eu", "topics": {"include": [f"{rig.name}-{which}"]}}
        for name, which in (("all", ".*"), ("some", "b.*"))
    ]
    both = Installation(tmp_path / "both", {"us": rig.source, "eu": rig.target}, links)
    with both.worker() as worker:
        wait_for(lambda: not worker.running, within=30, what="run refuses to start")
        assert worker.exit_code == 2, worker.log()
        assert f"links all and some would both write us.{rig.bad} on cluster eu" in " ".join(worker.log().split())


def came_too_late(*workers: Worker) -> str:
    """Once both are ready: "". One may start so late that it finds the other's copies: then it refuses; its log."""

    def settled() -> str | bool:
        for worker in workers:
            if not worker.running:
                if worker.exit_code != 4:
                    raise RuntimeError(worker.log())
                return worker.log()
            code, body = worker.get("/readyz")
            assert code == 200, f"/readyz {code}: {body[:500]}"
        return True

    found = wait_for(settled, within=60, every=0.2, what="both are ready, or one has refused to start")
    return found if isinstance(found, str) else ""


def stopped_links(rig: Rig, other: Installation) -> dict[str, list[str]]:
    """Once at least one link has stopped at each of the two topics: which ones; they say who else writes."""
    stopped: dict[str, list[str]] = {rig.bad: [], rig.good: []}
    for installation, link, rival in (
        (rig.installation, rig.name, f"{rig.name}-2"),
        (other, f"{rig.name}-2", rig.name),
    ):
        for (topic, _), found in installation.status().items():
            assert found["state"] != "PENDING", f"{found}"
            if found["reason"] == "FOREIGN_WRITER":
                assert f"Link {rival} copies" in found["detail"]
                assert found["next_step"]
                stopped[topic].append(link)
    assert all(stopped.values()), f"{stopped}"
    return stopped
