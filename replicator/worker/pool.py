"""Several worker processes on one host: started, watched, started again when they die, ended together.

The parent holds the writing end of each child's standard input. When the parent dies, however it dies, the child reads
end-of-file there and stops; nothing depends on a signal that might not be sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from replicator.errors import ConfigurationError, ReplicatorError, WrongStateError

log = structlog.get_logger(__name__)

BACKOFF_S = (0.2, 1.0, 2.0, 5.0, 10.0)
_STEADY_S = 60.0  # a child that lived so long is started again at once
GRACE_S = 4.2  # from SIGTERM to SIGKILL, so that the whole ends within 5 s
_FATAL: dict[int, type[ReplicatorError]] = {2: ConfigurationError, 4: WrongStateError}


class WorkerPool:
    """`workers` children, each the process of `command(name, socket)`, serving on the unix socket `children[name]`."""

    def __init__(
        self,
        command: Callable[[str, str], Sequence[str]],
        workers: int,
        directory: Path,
        *,
        backoff_s: Sequence[float] = BACKOFF_S,
        grace_s: float = GRACE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.children: dict[str, str] = {f"w{index}": str(directory / f"w{index}.sock") for index in range(workers)}
        self.restarts: dict[str, int] = dict.fromkeys(self.children, 0)
        self.pids: dict[str, int] = {}
        self._command = command
        self._backoff_s = backoff_s
        self._grace_s = grace_s
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the children running until `stop`, then end them within 5 s.

        A child that ends with the exit code of a configuration or wrong-state error would do so again: all are ended,
        and the error is raised here (the child has said on stderr what it is).
        """
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._keep(name, stop)) for name in self.children]
            failed = [task for task in await asyncio.gather(*tasks) if task is not None]
        if failed:
            name, code = failed[0]
            raise _FATAL[code](f"worker {name} can't run, see its message above; all workers were stopped")

    async def _keep(self, name: str, stop: asyncio.Event) -> tuple[str, int] | None:
        failures = 0
        while not stop.is_set():
            began = self._clock()
            code = await self._once(name, stop)
            if stop.is_set():
                break
            if code in _FATAL:
                stop.set()
                return name, code
            failures = 1 if self._clock() - began > _STEADY_S else failures + 1
            pause = self._backoff_s[min(failures, len(self._backoff_s)) - 1]
            log.error("worker ended; starting it again", worker=name, ended=_ending(code), pause_s=pause)
            self.restarts[name] += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)
        return None

    async def _once(self, name: str, stop: asyncio.Event) -> int:
        process = await asyncio.create_subprocess_exec(
            *self._command(name, self.children[name]),
            stdin=asyncio.subprocess.PIPE,
            start_new_session=True,  # a terminal's Ctrl-C reaches the parent alone, which then asks nicely
        )
        self.pids[name] = process.pid
        log.info("worker started", worker=name, process=process.pid)
        ended = asyncio.ensure_future(process.wait())
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            if not ended.done():
                await _end(name, process, ended, self._grace_s)
            self.pids.pop(name, None)
        return await ended


async def _end(name: str, process: asyncio.subprocess.Process, ended: asyncio.Future[int], grace_s: float) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    done, _ = await asyncio.wait({ended}, timeout=grace_s)
    if not done:
        log.error("worker didn't end in time; killing it", worker=name, grace_s=grace_s)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await ended


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
