"""One replicator's process: started, asked over its socket, ended; and the tools that run beside it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from broker.msk.clusters.topic_admin import TopicAdmin, TopicInfo

READY_WITHIN_S = 90.0
STOP_WITHIN_S = 15.0
LOOK_WITHIN_S = 3.0
LOOK_EVERY_S = 0.1
TOOL_WITHIN_S = 60.0
MAX_ANSWER = 16 << 20
MAX_TOOL_OUTPUT = 16 << 20
SHOWN_OF_LOG = 2000
MAX_LOG = 16 << 20  # at a start the log begins anew beyond this
USAGE, WRONG_STATE = 2, 4  # exit codes of `replicator` that trying again doesn't cure


class ProcessFailed(Exception):
    """The process didn't come up, or a tool failed; the text says why, from its own last words. `final`: trying again
    as it is won't help."""

    def __init__(self, text: str, *, final: bool = False) -> None:
        super().__init__(text)
        self.final = final


@dataclass(frozen=True)
class Launch:
    """What a replicator's process is started with. `socket`: where it serves, a path short enough for a Unix socket.
    `options`: more of `replicator run`'s."""

    file: Path
    link: str
    environment: Mapping[str, str]
    socket: Path
    options: tuple[str, ...] = ()

    @property
    def log(self) -> Path:
        """Where its log goes."""
        return self.file.with_name("replicator.log")


class ReplicatorProcess:
    """A process that has been started; `ready` tells when it copies."""

    def __init__(self, process: asyncio.subprocess.Process, launch: Launch, log_start: int) -> None:
        self.process = process
        self._launch = launch
        self._log_start = log_start

    @classmethod
    async def start(cls, launch: Launch) -> ReplicatorProcess:
        """Start a worker for the link. Raises OSError."""
        if launch.log.exists() and launch.log.stat().st_size > MAX_LOG:
            launch.log.replace(launch.log.with_suffix(".log.1"))
        with launch.log.open("ab") as errors:
            start = errors.tell()
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "broker.msk.replicators.child", "run", "-c", str(launch.file)),
                *("--link", launch.link, *launch.options),
                stdin=asyncio.subprocess.PIPE,
                stdout=errors,
                stderr=errors,
                env=dict(launch.environment),
                start_new_session=True,  # Ctrl-C is for the control plane, which ends its replicators in order
            )
        return cls(process, launch, start)

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self.process.returncode is None

    async def ready(self) -> None:
        """Wait until it has joined and recovered. Raises ProcessFailed when it ends before, or takes too long."""
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                while self.running:
                    if await self.answers("/readyz"):
                        return
                    await asyncio.sleep(LOOK_EVERY_S)
        except TimeoutError:
            raise ProcessFailed(f"it wasn't ready within {READY_WITHIN_S:g} s: {self.last_words()}") from None
        code = self.process.returncode
        raise ProcessFailed(self.last_words() or f"it ended with code {code}", final=code in (USAGE, WRONG_STATE))

    async def answers(self, path: str) -> bool:
        """Whether it answers 200 there."""
        return await self.get(path) is not None

    async def get(self, path: str) -> str | None:
        """What it answers there; None unless it answers 200, in time and in at most `MAX_ANSWER` bytes."""
        timeout = aiohttp.ClientTimeout(total=LOOK_WITHIN_S)
        try:
            connector = aiohttp.UnixConnector(str(self._launch.socket))
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
                async with session.get(f"http://localhost{path}") as response:
                    data = await response.content.read(MAX_ANSWER)
                    while len(data) < MAX_ANSWER and (more := await response.content.read(MAX_ANSWER - len(data))):
                        data += more
                    good = response.status == 200 and len(data) < MAX_ANSWER
                    return data.decode("utf-8", "replace") if good else None
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None

    async def ended(self) -> int:
        """Wait until the process is gone; its exit code."""
        return await self.process.wait()

    async def stop(self) -> None:
        """End the process: it hands over what it has; killed when it doesn't end in time."""
        await _end(self.process)

    def last_words(self) -> str:
        """The end of its log: what it said to people, if it did, rather than its events."""
        with self._launch.log.open("rb") as file:
            file.seek(max(self._log_start, file.seek(0, 2) - SHOWN_OF_LOG))
            said = file.read().decode("utf-8", "replace").strip()
        words = [line for line in said.splitlines() if line.startswith("error: ")]
        return "\n".join(line.removeprefix("error: ") for line in words) or said


async def run_tool(launch: Launch, *arguments: str) -> str:
    """Run a module of Python's beside the process, as the same role; what it printed. Raises ProcessFailed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(launch.environment),
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(TOOL_WITHIN_S):
            printed, errors = await process.communicate()
    except TimeoutError:
        raise ProcessFailed(f"{arguments[0]} took more than {TOOL_WITHIN_S:g} s") from None
    finally:
        await _end(process)
    if process.returncode:
        text = (errors or printed).decode("utf-8", "replace").strip()[-SHOWN_OF_LOG:]
        raise ProcessFailed(text or f"{arguments[0]} ended with {process.returncode}")
    return printed[:MAX_TOOL_OUTPUT].decode()


async def list_source(launch: Launch) -> dict[str, list[str]]:
    """The topics and groups that the link's source has. Raises ProcessFailed."""
    printed = await run_tool(launch, "broker.msk.replicators.listing", str(launch.file), launch.link)
    found: dict[str, Any] = json.loads(printed)
    return {kind: [str(name) for name in found[kind]] for kind in ("topics", "groups")}


async def apply_file(launch: Launch) -> None:
    """Let the process read its file again, and wait until it works by it. Raises ProcessFailed."""
    await run_tool(
        launch, "replicator.cli.main", "apply", "-c", str(launch.file), "--link", launch.link, "--wait", "20"
    )


@dataclass(frozen=True)
class Tools:
    """How replicators are started, asked and changed; tests put others in their place."""

    start: Callable[[Launch], Awaitable[ReplicatorProcess]] = ReplicatorProcess.start
    apply: Callable[[Launch], Awaitable[None]] = apply_file
    list_source: Callable[[Launch], Awaitable[dict[str, list[str]]]] = list_source
    delete_topic: Callable[[TopicAdmin, str], Awaitable[None]] = TopicAdmin.delete
    list_topics: Callable[[TopicAdmin], Awaitable[list[TopicInfo]]] = TopicAdmin.list


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
