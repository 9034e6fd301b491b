"""MirrorMaker 2's own suite of its dedicated mode: several workers, an odd alias, a rolling restart."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.pairs import LONG_BUNDLED, LONG_KAFKA, on
from tests.e2e.rig import Pair, records
from tests.support.checker import compare_topics
from tests.support.copying import create, produce
from tests.support.replicator import Installation, Worker
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

ODD = "B-._--..__618"  # MirrorMaker takes what no topic can be called, here it's an error (tests/config/test_load.py)
NODES = 3


@on(LONG_BUNDLED, LONG_KAFKA)
def test_several_workers_take_up_new_topics_and_a_rolling_restart_brings_another_configuration(
    pair: Pair, tmp_path: Path
) -> None:
    source, target = pair
    tag = f"dedicated{tmp_path.parent.name[-4:]}"

    def link(*topics: str) -> dict[str, Any]:
        include = [rf"{tag}-{each}" for each in topics]
        return {"name": tag, "source": "A", "target": ODD, "topics": {"include": include}, "sync": {"every": 1}}

    def is_copied(topic: str) -> None:
        create(source.admin(), topic)
        produce(source.client_config, topic, 0, records(10))
        wait_for(
            lambda: f"A.{topic}" in target.admin().list_topics(timeout=10).topics
            and not compare_topics(source.client_config, target.client_config, {topic: 1}, rename="A.{}").problems,
            within=30, every=0.3, what=f"{topic} is copied",
        )  # fmt: skip

    installation = Installation(tmp_path, {"A": source, ODD: target}, [link(r"test-\d")])
    with contextlib.ExitStack() as stack:
        nodes: list[Worker] = [stack.enter_context(installation.worker()) for _ in range(NODES)]
        for node in nodes:
            node.wait_ready()
        for number in range(NODES):
            is_copied(f"{tag}-test-{number}")
        installation.configure([link(r"test-\d", "more")])
        for node in nodes:
            node.terminate(within=10)
            node.start()
            node.wait_ready()
        is_copied(f"{tag}-more")
        status = installation.run("status")
        assert ODD in status.stdout
        assert all(node.running for node in nodes)
