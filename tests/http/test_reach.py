"""A status of 10,000 partitions through the API takes less than two seconds."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import aiohttp
import pytest

from replicator.config.models import LinkConfig, Settings
from replicator.http.server import serve, urls
from replicator.ledger.lanes import ledger_topic
from tests.http.world import World
from tests.ledger.test_status import LANES, Rig
from tests.support.bundled import BundledCluster

TOPICS, PARTITIONS = 20, 500
WITHIN_S = 2.0


class OfRig(World):
    """The links of a rig, on clusters that are there."""

    def __init__(self, rig: Rig) -> None:
        super().__init__()
        self.rig = rig

    def links(self) -> dict[str, tuple[Settings, LinkConfig]]:
        return {self.rig.link.name: (self.rig.settings, self.rig.link)}


@pytest.mark.slow
async def test_given_10_000_partitions_when_their_status_is_asked_for_then_it_takes_less_than_two_seconds() -> None:
    with BundledCluster() as cluster:
        rig = Rig(cluster)
        rig.topic(ledger_topic(rig.tag), LANES)
        for number in range(TOPICS):
            entry = rig.entry(rig.topic(f"{rig.tag}-{number}", PARTITIONS))
            for partition in range(PARTITIONS):
                rig.enter(replace(entry, partition=partition, source_next=0))
        assert rig.producer.flush(30) == 0
        runner = await serve(OfRig(rig), "127.0.0.1:0")
        try:
            took = []
            async with aiohttp.ClientSession() as session:
                for _ in range(2):
                    began = time.monotonic()
                    async with session.get(f"{urls(runner)[0]}/v1/links/{rig.tag}") as answer:
                        found = json.loads(await answer.read())
                    took.append(time.monotonic() - began)
                    assert len(found["partitions"]) == TOPICS * PARTITIONS
                    assert {row["state"] for row in found["partitions"]} == {"COPYING"}
            assert min(took) < WITHIN_S, took
        finally:
            await runner.cleanup()
