"""One member of a link's group as a process: does what its stdin says, and prints what happens as JSON lines."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable

import structlog

from replicator.worker.membership import Membership


def say(what: str, lanes: object = ()) -> None:
    print(json.dumps({"what": what, "lanes": sorted(lanes)}), flush=True)  # type: ignore[call-overload]


def told(what: str) -> Callable[[set[int]], Awaitable[None]]:
    async def callback(lanes: set[int]) -> None:
        say(what, lanes)

    return callback


async def main(bootstrap: str, group: str, topic: str) -> None:
    loop = asyncio.get_running_loop()
    properties = {"bootstrap.servers": bootstrap, "log_level": 0}
    member = Membership(properties, group, topic, loop, told("assigned"), told("revoked"), told("lost"))
    await member.start()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while command := (await lines.readline()).decode().split():
        if command[0] == "hang":
            time.sleep(float(command[1]))  # noqa: ASYNC251 - this is what is tested
            say("awake", member.owned)
        elif command[0] == "owned":
            say("owned", member.owned)
    await member.stop()
    say("stopped")


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(*sys.argv[1:]))
