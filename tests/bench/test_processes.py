"""What processes cost, and noticing that they are gone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.processes import cost
from tests.support.waiting import wait_for

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


def test_given_a_process_that_works_when_asked_twice_then_its_cost_has_grown() -> None:
    before = cost(os.getpid())
    until = time.process_time() + 0.03  # more than two of the kernel's ticks
    while time.process_time() < until:
        pass
    after = cost(os.getpid())
    assert after.cpu_s > before.cpu_s
    assert after.peak_rss_mb > 1


def test_given_a_process_that_ended_and_was_not_waited_for_when_asked_then_it_is_gone() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])

    def noticed() -> bool:
        try:
            cost(process.pid)
        except RuntimeError as error:
            return "has ended" in str(error)
        return False

    try:
        wait_for(noticed, within=20, what="its end is noticed before anybody waits for it")
    finally:
        process.kill()
        process.wait(timeout=10)
