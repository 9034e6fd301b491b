"""Several workers under one parent: restarted when they die, ended together, never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from replicator.errors import ConfigurationError
from replicator.worker.pool import WorkerPool
from tests.support.waiting import wait_for

PATIENT = "import time; time.sleep(600)"
STUBBORN = (
    "import signal, sys, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "open(sys.argv[2], 'w').close()\n"
    "time.sleep(600)"
)


def python(code: str) -> Callable[[str, str], Sequence[str]]:
    return lambda name, socket: [sys.executable, "-c", code, name, socket]


async def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(pool: WorkerPool) -> AsyncIterator[asyncio.Event]:
    stop = asyncio.Event()
    task = asyncio.create_task(pool.run(stop))
    try:
        yield stop
    finally:
        stop.set()
        await asyncio.wait_for(task, 10)


def alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


async def test_given_a_child_that_is_killed_then_it_alone_is_started_again(tmp_path: Path) -> None:
    pool = WorkerPool(python(PATIENT), 2, tmp_path, backoff_s=(0.01,))
    async with running(pool):
        await until(lambda: len(pool.pids) == 2, "both started")
        first, second = pool.pids["w0"], pool.pids["w1"]
        os.kill(first, signal.SIGKILL)
        await until(lambda: pool.pids.get("w0", first) != first, "started again")
        assert pool.pids["w1"] == second
        assert pool.restarts == {"w0": 1, "w1": 0}
        last = [*pool.pids.values()]
    assert not any(map(alive, [first, *last]))


async def test_given_a_child_that_ignores_sigterm_then_it_is_killed(tmp_path: Path) -> None:
    pool = WorkerPool(python(STUBBORN), 1, tmp_path, grace_s=0.3)
    async with running(pool) as stop:
        await until(Path(pool.children["w0"]).exists, "deaf to SIGTERM")
        (pid,) = pool.pids.values()
        stop.set()
    assert not alive(pid)


async def test_given_a_child_that_the_configuration_forbids_then_all_end_with_its_error(tmp_path: Path) -> None:
    code = f"import sys, time\nif sys.argv[1] == 'w1': sys.exit(2)\n{PATIENT}"
    pool = WorkerPool(python(code), 2, tmp_path)
    with pytest.raises(ConfigurationError, match="worker w1 can't run"):
        await asyncio.wait_for(pool.run(asyncio.Event()), 10)
    assert pool.pids == {}


async def test_given_a_child_that_fails_otherwise_then_it_is_tried_with_growing_pauses(tmp_path: Path) -> None:
    pool = WorkerPool(python("raise SystemExit(3)"), 1, tmp_path, backoff_s=(0.01, 600))
    async with running(pool):
        await until(lambda: pool.restarts["w0"] == 2, "two restarts asked for")
        await asyncio.sleep(0)
        assert pool.pids == {}


def test_given_a_parent_that_is_killed_then_its_child_ends(tmp_path: Path) -> None:
    child = (
        "import asyncio\n"
        "from replicator.cli.run import _stop_on_signals, _stop_with_parent\n"
        "async def work():\n"
        "    with _stop_on_signals() as stop:\n"
        "        _stop_with_parent(stop)\n"
        "        await stop.wait()\n"
        "asyncio.run(work())\n"
    )
    parent = (
        "import asyncio, pathlib, sys\n"
        "from replicator.worker.pool import WorkerPool\n"
        "async def main():\n"
        f"    pool = WorkerPool(lambda n, s: [sys.executable, '-c', {child!r}], 1, pathlib.Path('.'))\n"
        "    task = asyncio.create_task(pool.run(asyncio.Event()))\n"
        "    while not pool.pids: await asyncio.sleep(0.01)\n"
        "    print(*pool.pids.values(), flush=True)\n"
        "    await task\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        line = b"\n"
        while not line.strip().isdigit():  # the log goes to stdout as well
            line = process.stdout.readline()
        pid = int(line)
        assert alive(pid)
        process.kill()
    wait_for(lambda: not alive(pid), within=10, what="the child ends")
