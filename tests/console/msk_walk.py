"""The walk-through, clicked through: two clusters in two regions, the source's policy, a replicator of all topics."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from tests.msk.kafka_clients import iam
from tests.msk.world import World

SOURCE, TARGET = "us-east-1", "eu-west-1"


def create_cluster(page: Page, name: str) -> None:
    """Through the form."""
    page.get_by_role("link", name="Create cluster").click()
    page.get_by_label("Name", exact=True).fill(name)
    expect(page.get_by_label("Apache Kafka version")).to_have_value("3.6.0")
    page.get_by_role("button", name="Create cluster").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    expect(page.get_by_text("ACTIVE").first).to_be_visible(timeout=30_000)


def click_through(world: World, page: Page) -> str:
    """From nothing to a RUNNING replicator, whose page is shown then; the source's alias."""
    page.goto(world.plane.console_url)
    create_cluster(page, "us-cluster")
    page.get_by_role("button", name="Turn on IAM from other VPCs").click()
    expect(page.get_by_text("IAM is on for clients in other VPCs.")).to_be_visible(timeout=30_000)
    page.get_by_role("link", name="Cluster policy").click()
    page.get_by_role("button", name="Fill in what a replicator needs").click()
    page.get_by_role("button", name="Save policy").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    page.get_by_label("Region").select_option(TARGET)
    page.get_by_role("link", name="Clusters").first.click()
    create_cluster(page, "eu-cluster")
    page.get_by_role("link", name="Replicators").click()
    page.get_by_role("link", name="Create replicator").click()
    page.get_by_label("Name", exact=True).fill("us-to-eu")
    page.get_by_label("Source region").select_option(SOURCE)
    page.get_by_label("Source cluster").select_option(label="us-cluster")
    page.get_by_label("Target region").select_option(TARGET)
    page.get_by_label("Target cluster").select_option(label="eu-cluster")
    page.get_by_role("button", name="Create replicator").click()
    expect(page.get_by_role("heading", name="us-to-eu")).to_be_visible()
    expect(page.get_by_text("RUNNING").first).to_be_visible(timeout=60_000)
    return page.get_by_text(re.compile(r"^us-cluster-[0-9a-f]{12}$")).first.inner_text()


def clients(world: World, authority: Path) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """A client of the service in the source's region, and the settings of Kafka clients of source and target."""
    kafka = world.client(region=SOURCE)
    settings = [iam(bootstrap(world, region), authority, region=region) for region in (SOURCE, TARGET)]
    return kafka, settings[0], settings[1]


def bootstrap(world: World, region: str) -> str:
    """The IAM addresses of the region's only cluster."""
    kafka = world.client(region=region)
    arn = kafka.list_clusters_v2()["ClusterInfoList"][0]["ClusterArn"]
    return str(kafka.get_bootstrap_brokers(ClusterArn=arn)["BootstrapBrokerStringSaslIam"])
