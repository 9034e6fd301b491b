"""The allocator's settings: made in a process of its own, and seen in what it does."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

_FAULTS = """
import resource
from replicator.worker.memory import keep_freed_memory
print(keep_freed_memory())
for turn in range(9):
    if turn == 4:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [bytearray(size << 20) for size in (6, 1, 6, 6, 6, 8)]
    del held
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(**environment: str) -> tuple[bool, int]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", _FAULTS], env={**clean, **environment}, capture_output=True, text=True, check=True
    )
    was_set, faults = done.stdout.split()
    return was_set == "True", int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc only")
def test_given_large_buffers_that_come_and_go_then_their_pages_stay() -> None:
    was_set, faults = run()
    assert was_set
    assert faults < 1000
    without, faults = run(MALLOC_ARENA_MAX="8")
    assert not without
    assert faults > 10 * 256, "glibc left alone gives back some MiB each time"


@pytest.mark.parametrize("environment", [{"MALLOC_TOP_PAD_": "0"}, {"GLIBC_TUNABLES": "glibc.malloc.arena_max=2"}])
def test_given_settings_in_the_environment_then_they_stay(environment: dict[str, str]) -> None:
    assert not run(**environment)[0]
