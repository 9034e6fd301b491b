"""The demo, as `make demo` starts it: orders flow, the page answers, and nothing is left when it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from replicator.cli.demo_orders import Tally
from tests.support.waiting import wait_for


def test_given_numbered_orders_then_gaps_and_repetitions_are_counted() -> None:
    tally = Tally(produced=6)
    for partition, number in ((0, 0), (0, 1), (1, 0), (0, 1), (0, 4)):
        tally.arrive(partition, number, 1.0)
    assert (tally.arrived, tally.missing, tally.repeated) == (4, 2, 1)


def test_given_latencies_then_percentiles_are_of_the_latest() -> None:
    tally = Tally()
    assert tally.percentile(0.5) is None
    for number in range(100):
        tally.arrive(0, number, float(number))
    assert (tally.percentile(0.5), tally.percentile(0.99)) == (50.0, 99.0)


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_given_the_demo_then_the_page_answers_while_records_flow_and_ctrl_c_ends_everything() -> None:
    command = [sys.executable, "-m", "replicator.cli.main", "demo", "--rate", "200", "--nodes", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        started: list[int] = []
        said: list[str] = []
        try:
            for line in demo.stdout:
                said.append(line)
                if line.startswith("orders produced"):
                    break
            address = re.search(r"http://127\.0\.0\.1:\d+", "".join(said))
            assert address is not None, (said, demo.stderr)
            with urllib.request.urlopen(f"{address[0]}/", timeout=10) as page:
                assert b"<title>Replicator</title>" in page.read()
            with urllib.request.urlopen(f"{address[0]}/metrics", timeout=10) as metrics:
                assert b"replicator_records_total" in metrics.read()
            started = children(demo.pid)
            assert len(started) == 3
        finally:
            demo.send_signal(signal.SIGINT)
            rest, errors = demo.communicate(timeout=30)
        assert "each once and in order" in rest, (rest, errors)
        assert demo.returncode == 0
    wait_for(lambda: not any(map(alive, started)), within=5, what="clusters and replicator have ended")
