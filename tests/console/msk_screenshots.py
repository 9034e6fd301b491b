"""Pictures of the local MSK's console for the documents: `python -m tests.console.msk_screenshots [DIRECTORY]`."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.console.browser import browser
from tests.console.msk_walk import click_through, clients
from tests.msk.kafka_clients import produce
from tests.msk.world import control_plane

WRITES = 40


def main() -> None:
    """Click the walk-through, write for a while, and take the pictures."""
    where = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images")
    with tempfile.TemporaryDirectory() as directory, browser() as chrome:
        with control_plane(Path(directory) / "msk") as world:
            page = chrome.new_context(viewport={"width": 1180, "height": 800}, reduced_motion="reduce").new_page()
            page.set_default_timeout(60_000)
            click_through(world, page)
            kafka, source, _ = clients(world, Path(directory) / "msk" / "ca.pem")
            arn = kafka.list_clusters_v2()["ClusterInfoList"][0]["ClusterArn"]
            kafka.create_topic(ClusterArn=arn, TopicName="my-topic", PartitionCount=3, ReplicationFactor=3)
            page.get_by_role("link", name="Monitoring").click()
            for number in range(WRITES):
                produce(source, "my-topic", [b"x" * 2000] * (50 + number * 5))
                time.sleep(0.5)
            page.screenshot(path=where / "local-msk-monitoring.png")
            page.get_by_label("Region").select_option("us-east-1")
            page.get_by_role("link", name="Clusters").first.click()
            page.get_by_role("link", name="us-cluster").click()
            page.get_by_role("link", name="Client information").click()
            page.get_by_role("region", name="IAM", exact=True).wait_for()
            page.screenshot(path=where / "local-msk-cluster.png")


if __name__ == "__main__":
    main()
