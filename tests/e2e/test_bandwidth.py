"""A link with a cap: it holds, it shows, and it changes while the link runs."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from replicator.flow.bandwidth import ANSWER_S, BURST_S
from tests.e2e.pairs import BUNDLED, KAFKA, on
from tests.e2e.rig import Pair
from tests.support.checker import Seen, compare_topics
from tests.support.copying import create, produce
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(120)]  # the rule itself: tests/flow

CAP, SIZE, BATCH, COUNT = 500_000, 10_000, 100_000, 800


@on(BUNDLED, KAFKA)
def test_given_a_cap_then_it_holds_and_when_it_is_lifted_the_link_goes_on_without_a_new_start(
    pair: Pair, tmp_path: Path
) -> None:
    source, target = pair
    create(source.admin(), "capped")
    now = int(time.time() * 1000)
    small = {**source.client_config, "batch.size": str(BATCH)}
    produce(small, "capped", 0, [Seen(i, None, os.urandom(SIZE), (), now + i) for i in range(COUNT)])
    link: dict[str, Any] = {
        "name": "capped", "source": "us", "target": "eu", "topics": {"include": ["capped"]}, "bandwidth": CAP,
    }  # fmt: skip
    installation = Installation(tmp_path, {"us": source, "eu": target}, [link])
    with installation.worker() as worker:
        worker.wait_ready()
        samples = [(time.monotonic(), copied(worker.get("/metrics")[1]))]

        def some() -> bool:
            samples.append((time.monotonic(), copied(worker.get("/metrics")[1])))
            return samples[-1][1] - samples[0][1] >= 5 * CAP

        wait_for(some, within=30, every=0.1, what="some of it is copied")
        answer = CAP * ANSWER_S + BATCH  # a batch is sent whole
        for at, total in samples[1:]:
            assert total - samples[0][1] <= CAP * (at - samples[0][0] + BURST_S) + 2 * answer
        metrics = worker.get("/metrics")[1]
        assert f'replicator_bandwidth_limit_bytes{{link="capped"}} {float(CAP)}' in metrics
        assert float(found(metrics, "replicator_bandwidth_waited_seconds_total")) > 0
        assert "at most 0.5 MB/s" in installation.run("status").stdout
        assert installation.status()["capped", 0]["lag"] > 0
        installation.configure([{key: value for key, value in link.items() if key != "bandwidth"}])
        done = installation.run("apply")
        assert done.returncode == 0, done.stderr
        installation.wait_until_copied(1, within=20)
        assert "bandwidth changed" in worker.log()
        assert worker.log().count("lanes assigned") == 1, "it isn't started anew"
        assert "replicator_bandwidth_limit_bytes{" not in worker.get("/metrics")[1]
    assert not compare_topics(source.client_config, target.client_config, {"capped": 1}, rename="us.{}").problems


def copied(metrics: str) -> float:
    return sum(map(float, re.findall(r"^replicator_bytes_total{[^}]*} (\S+)$", metrics, re.MULTILINE)))


def found(metrics: str, name: str) -> str:
    match = re.search(rf"^{name}{{[^}}]*}} (\S+)$", metrics, re.MULTILINE)
    return match[1] if match else ""
