"""The console of the local MSK in a browser, on clusters that are only pretended."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.console.browser import AXE
from tests.console.msk_walk import click_through, clients, create_cluster
from tests.msk.kafka_clients import consume, produce
from tests.msk.world import Fakes, World, control_plane

pytestmark = pytest.mark.slow


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with control_plane(tmp_path / "msk", start_cluster=Fakes()) as found:
        yield found


def violations(page: Page) -> list[str]:
    page.evaluate(AXE.read_text())  # not a script of the page: its policy needs no exception
    found = page.evaluate("axe.run(document).then((done) => done.violations)")
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found]


def test_given_the_printed_address_when_a_cluster_is_made_then_it_is_shown_with_its_addresses_and_policy(
    world: World, page: Page
) -> None:
    page.goto(world.plane.console_url)
    expect(page.get_by_text("There is no cluster in this region")).to_be_visible()
    assert "token" not in page.url
    assert violations(page) == []
    create_cluster(page, "us-cluster")
    expect(page.get_by_text("ACTIVE").first).to_be_visible()
    assert violations(page) == []
    page.get_by_role("button", name="Turn on IAM from other VPCs").click()
    expect(page.get_by_text("IAM is on for clients in other VPCs.")).to_be_visible(timeout=15_000)
    page.get_by_role("link", name="Client information").click()
    expect(page.get_by_role("region", name="IAM", exact=True)).to_contain_text(":9098")
    assert violations(page) == []
    page.get_by_role("link", name="Cluster policy").click()
    page.get_by_role("button", name="Fill in what a replicator needs").click()
    page.get_by_role("button", name="Save policy").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    assert violations(page) == []
    arn = world.client().list_clusters_v2()["ClusterInfoList"][0]["ClusterArn"]
    policy = json.loads(world.client().get_cluster_policy(ClusterArn=arn)["Policy"])
    assert policy["Statement"][0]["Resource"] == arn
    page.get_by_label("Cluster policy (JSON)").fill("{")
    page.get_by_role("button", name="Save policy").click()
    expect(page.get_by_role("alert")).to_contain_text("BadRequestException")


def test_given_other_sizes_and_colours_then_nothing_sticks_out_and_all_can_be_read(world: World, page: Page) -> None:
    page.goto(world.plane.console_url)
    create_cluster(page, "us-cluster")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        for size in (1280, 360):
            page.set_viewport_size({"width": size, "height": 700})
            for place in ("clusters", "clusters/new", "replicators", "replicators/new"):
                page.evaluate(f"location.hash = '#/{place}'")
                expect(page.get_by_role("heading", level=1)).to_be_visible()
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (place, size)
                assert violations(page) == [], (scheme, place, size)


def test_given_a_wrong_name_when_deleting_then_nothing_is_deleted_and_the_right_one_deletes(
    world: World, page: Page
) -> None:
    page.goto(world.plane.console_url)
    create_cluster(page, "us-cluster")
    expect(page.get_by_text("ACTIVE").first).to_be_visible()
    page.get_by_label("The cluster's name, to delete it").fill("other")
    page.get_by_role("button", name="Delete cluster").click()
    expect(page.get_by_role("alert")).to_contain_text("nothing was deleted")
    page.get_by_label("The cluster's name, to delete it").fill("us-cluster")
    page.get_by_role("button", name="Delete cluster").click()
    expect(page.get_by_text("There is no cluster in this region")).to_be_visible()


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "token is missing"),
        ({"X-Console-Token": "guessed"}, "token is missing"),
        ({"Host": "evil.example:80"}, "names of this machine"),
        ({"X-Console-Region": "nowhere"}, "no such region"),
    ],
)
def test_given_somebody_elses_page_then_the_service_refuses(world: World, headers: dict[str, str], said: str) -> None:
    token = world.plane.console.path.partition("token=")[2]
    given = ({} if said.startswith("token") else {"X-Console-Token": token}) | headers
    request = urllib.request.Request(f"{world.url}/console/service/api/v2/clusters", headers=given)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert refused.value.code in (400, 403)
    body = refused.value.read().decode()
    assert said in body
    assert token not in body
    page = urllib.request.urlopen(f"{world.url}/console/", timeout=10)
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]


@pytest.mark.timeout(180)
def test_given_nothing_when_the_walk_through_is_clicked_through_then_the_message_arrives_under_the_alias(
    tmp_path: Path, page: Page
) -> None:
    page.set_default_timeout(30_000)
    with control_plane(tmp_path / "msk") as world:
        alias = click_through(world, page)
        assert violations(page) == []
        kafka, source, target = clients(world, tmp_path / "msk" / "ca.pem")
        arn = kafka.list_clusters_v2()["ClusterInfoList"][0]["ClusterArn"]
        kafka.create_topic(ClusterArn=arn, TopicName="my-topic", PartitionCount=1, ReplicationFactor=3)
        produce(source, "my-topic", [b"hello"])
        assert consume(target, f"{alias}.my-topic", 1) == [b"hello"]
        page.get_by_role("link", name="Monitoring").click()
        expect(page.locator(".figure", has_text="Topics").locator("dd").first).not_to_have_text("0", timeout=30_000)
        expect(page.locator("figure.chart")).to_have_count(4)
        assert violations(page) == []
