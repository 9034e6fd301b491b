"""One cluster's process: started, asked over its control port, ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from broker.msk.state import write_atomically

log = logging.getLogger(__name__)
READY_WITHIN_S = 60.0
STOP_WITHIN_S = 10.0
CONTROL_WITHIN_S = 10.0
LOOK_WITHIN_S = 5.0
MAX_LINE = 1 << 20
SHOWN_OF_LOG = 2000


class ProcessFailed(Exception):
    """The process didn't come up; the text says why, from its own last words."""


class ReloadRefused(Exception):
    """The process can't take the new file while it runs; the text is its own."""


@dataclass
class ClusterProcess:
    """A process that has said that it is ready. `bootstrap` maps listener names to host:port lists."""

    process: asyncio.subprocess.Process
    bootstrap: Mapping[str, str]
    control: str

    @classmethod
    async def start(cls, file: Path, logfile: Path) -> ClusterProcess:
        """Start a cluster and wait until it accepts connections. Raises ProcessFailed, OSError."""
        pidfile = file.with_name("process.pid")
        await _end_orphan(pidfile, file)
        with logfile.open("ab") as errors:
            start = errors.tell()
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "broker.msk.clusters.child", "run", "--file", str(file)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                limit=MAX_LINE,
                start_new_session=True,  # Ctrl-C is for the control plane, which ends its clusters in order
            )
        try:
            write_atomically(pidfile, str(process.pid).encode())
            assert process.stdout is not None
            async with asyncio.timeout(READY_WITHIN_S):
                line = await process.stdout.readline()
            ready = json.loads(line)
            return cls(process, ready["bootstrap"], ready["control"])
        except (TimeoutError, ValueError, KeyError, TypeError) as error:
            await _end(process)
            said = await asyncio.to_thread(_last_words, logfile, start)
            raise ProcessFailed(said or f"no word within {READY_WITHIN_S:g} s ({type(error).__name__})") from error
        except (asyncio.CancelledError, OSError):
            await _end(process)
            raise

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self.process.returncode is None

    async def ended(self) -> int:
        """Wait until the process is gone; its exit code."""
        return await self.process.wait()

    async def stop(self) -> None:
        """End the process: it writes down what it has; killed when it doesn't end in time."""
        await _end(self.process)

    def kill(self) -> None:
        """End a process that doesn't answer any more."""
        self.process.kill()

    async def reload(self) -> None:
        """Let it read its file again. Raises ReloadRefused, or OSError when it can't be asked."""
        status, answer = await self._ask("POST", "/reload")
        if status != 200:
            raise ReloadRefused(str(answer.get("error", answer)))

    async def node(self, number: int, verb: str) -> None:
        """Stop, start, freeze or thaw a node. Raises OSError."""
        status, answer = await self._ask("POST", f"/nodes/{number}/{verb}")
        if status != 200:
            raise OSError(f"node {number} can't {verb}: {answer.get('error', answer)}")

    async def describe(self) -> dict[str, Any]:
        """Its nodes and partitions. Raises OSError when it doesn't answer."""
        status, answer = await self._ask("GET", "/cluster", LOOK_WITHIN_S)
        if status != 200:
            raise OSError(f"the cluster can't describe itself: {answer.get('error', answer)}")
        return answer

    async def _ask(self, method: str, path: str, within: float = CONTROL_WITHIN_S) -> tuple[int, dict[str, Any]]:
        timeout = aiohttp.ClientTimeout(total=within)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session:
                async with session.request(method, f"http://{self.control}{path}") as response:
                    return response.status, await response.json()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise OSError(f"the cluster's control port doesn't answer: {type(error).__name__} {error}") from error


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        try:
            process.terminate()
            async with asyncio.timeout(STOP_WITHIN_S):
                await process.wait()
        except TimeoutError:
            process.kill()
        except ProcessLookupError:
            pass
    await process.wait()


async def _end_orphan(pidfile: Path, file: Path) -> None:
    """Kill a process of this cluster that a control plane has left behind: one that was frozen when it was killed."""
    pid = await asyncio.to_thread(_left_behind, pidfile, file)
    if pid is not None:
        log.warning("process %d of %s was left behind; it is ended", pid, file)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _left_behind(pidfile: Path, file: Path) -> int | None:
    try:
        pid = int(pidfile.read_text())
    except (OSError, ValueError):  # none was started, or the file is half a one: nothing to end
        return None
    return pid if str(file) in _command_of(pid) else None  # the number may be another program's by now


def _command_of(pid: int) -> str:
    """The command line of a process; empty when there is none, or it can't be seen."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
    except OSError:
        pass  # no such process, or a system without /proc, which has ps
    try:
        command = ["ps", "-p", str(pid), "-o", "args="]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _last_words(logfile: Path, start: int) -> str:
    return logfile.read_bytes()[start:][-SHOWN_OF_LOG:].decode("utf-8", "replace").strip()
