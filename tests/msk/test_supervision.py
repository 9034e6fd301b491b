"""Clusters that hang, break down in part, or can't be started for a while. Brokers are pretended, and time is short."""

from __future__ import annotations

from typing import Any

import pytest

from tests.msk.world import Fakes, World, create, provisioned, wait_active
from tests.support.waiting import wait_for


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.msk.clusters.runner.WATCH_EVERY_S", 0.02)
    monkeypatch.setattr("broker.msk.clusters.runner.BACKOFF_S", (0.01,))


def test_given_a_process_that_hangs_then_it_is_killed_and_another_takes_its_place(kafka: Any, fakes: Fakes) -> None:
    arn = create(kafka)
    first = fakes.latest(arn)
    first.hangs = True
    wait_for(lambda: fakes.latest(arn) is not first, within=10, what="another process")
    assert "kill" in first.asked
    wait_active(kafka, arn)


def test_given_one_silence_then_the_process_is_left_alone(kafka: Any, fakes: Fakes) -> None:
    arn = create(kafka)
    process = fakes.latest(arn)
    looks: list[bool] = []
    whole = process.describe

    async def now_and_then() -> dict[str, Any]:
        looks.append(True)
        process.hangs = len(looks) % 3 == 0
        return await whole()

    process.describe = now_and_then  # type: ignore[method-assign]
    wait_for(lambda: len(looks) >= 12, within=10, what="twelve looks")
    assert fakes.latest(arn) is process
    assert process.asked == []


@pytest.mark.parametrize(("state", "verb"), [("stopped", "start"), ("frozen", "thaw")])
def test_given_a_broker_that_is_down_then_it_alone_is_brought_back(
    kafka: Any, fakes: Fakes, state: str, verb: str
) -> None:
    arn = create(kafka)
    process = fakes.latest(arn)
    process.down[2] = state
    wait_for(lambda: process.asked == [f"{verb} 2"], within=10, what="broker 2 is brought back")
    wait_active(kafka, arn)
    assert fakes.latest(arn) is process


def test_given_a_cluster_that_can_not_be_started_again_for_a_while_then_it_stays_healing_until_it_can(
    world: World, kafka: Any, fakes: Fakes
) -> None:
    arn = create(kafka)
    starts: list[bool] = []

    def fails(content: dict[str, Any]) -> bool:
        starts.append(True)
        return len(starts) <= 20

    fakes.fails_if = fails
    world.call(fakes.latest(arn).gone.set)
    wait_for(lambda: len(starts) > 6, within=10, what="it is tried again and again")
    assert kafka.describe_cluster_v2(ClusterArn=arn)["ClusterInfo"]["State"] in ("HEALING", "ACTIVE")
    wait_active(kafka, arn)
    assert len(starts) == 21


def test_given_two_clusters_when_one_dies_then_the_other_does_not_notice(
    world: World, kafka: Any, fakes: Fakes
) -> None:
    one, other = create(kafka, "one"), create(kafka, "other")
    process, untouched = fakes.latest(one), fakes.latest(other)
    world.call(process.gone.set)
    wait_for(lambda: fakes.latest(one) is not process, within=10, what="one is back")
    wait_active(kafka, one)
    assert fakes.latest(other) is untouched
    assert untouched.asked == []


def test_clusters_get_networks_of_their_own(kafka: Any, fakes: Fakes) -> None:
    arns = [create(kafka, f"c-{number}") for number in range(5)]
    hosts = [{node["host"] for node in fakes.latest(arn).content["nodes"]} for arn in arns]
    assert len(set.union(*hosts)) == 15
    assert kafka.create_cluster_v2(ClusterName="more", Provisioned=provisioned())["State"] == "CREATING"
