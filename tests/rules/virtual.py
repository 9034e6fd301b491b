"""An event loop whose time and network are a simulation: nothing waits, and the same seed gives the same course.

Time stands still while something is ready to run, and jumps to the next deadline when nothing is. Connections are
pairs of transports in memory with a latency drawn from the seed; `Network` delays, cuts and refuses them. Work belongs
to owners (a context variable that tasks and callbacks inherit), and an owner can be frozen as a process is by SIGSTOP,
or killed, at any point between two callbacks.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import time
from collections.abc import Callable, Coroutine, Iterator
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any
from unittest import mock

OWNER: ContextVar[int] = ContextVar("OWNER", default=0)
"""Whose work this is; 0: nobody's, it always runs."""

START_S = 1000.0
WALL_S = 1_700_000_000.0
LONGEST_S = 3600.0  # a simulation that takes longer doesn't end


class StalledError(AssertionError):
    """Nothing is left that could happen, or what was waited for never does."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Run it with `simulate`."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self.network = Network(self, random)
        self._now = START_S
        self._frozen: set[int] = set()
        self._held: dict[int, list[asyncio.Handle]] = {}
        self._all: list[asyncio.Task[Any]] = []
        self.failures: list[str] = []
        self.set_task_factory(self._remember)
        self.set_exception_handler(self._note_failure)

    def time(self) -> float:
        """Seconds, virtual."""
        return self._now

    # owners

    def freeze(self, owner: int) -> None:
        """Nothing of this owner's runs until `thaw`."""
        self._frozen.add(owner)

    def thaw(self, owner: int) -> None:
        """Let the owner go on where it stopped."""
        self._frozen.discard(owner)
        self._ready.extend(self._held.pop(owner, ()))

    def kill(self, owner: int, *, deliver: bool) -> None:
        """End a process: nothing of it runs any more, its connections are cut.

        `deliver`: what it had sent still arrives at the other end, as with a killed process; else it doesn't, as with
        a machine that lost its power.
        """
        self.freeze(owner)
        self.network.cut(owner, deliver=deliver)

    def _remember(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **more: Any) -> Any:
        task = asyncio.Task(work, loop=loop, **more)
        if len(self._all) > 5000:
            self._all = [known for known in self._all if not known.done()]
        self._all.append(task)  # what was killed must not be collected while others run
        return task

    def _note_failure(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.failures.append(f"{context.get('message')}: {error!r}")

    def end(self) -> None:
        """Let what is left be cancelled, the killed too."""
        for owner in list(self._frozen):
            self.thaw(owner)
        self.network.closed = True
        for _ in range(100):
            left = [task for task in self._all if not task.done()]
            if not left:
                break
            for task in left:
                task.cancel()
            self._turn(0.0)

    # what BaseEventLoop leaves to its children

    def _run_once(self) -> None:
        if not self._ready:
            self._drop_cancelled()
            if not self._scheduled:
                raise StalledError("nothing is left that could happen")
            self._now = max(self._now, self._scheduled[0]._when)
            if self._now > START_S + LONGEST_S:
                raise StalledError("the simulation doesn't end")
        self._turn(self._now)

    def _turn(self, until: float) -> None:
        self._drop_cancelled()
        while self._scheduled and self._scheduled[0]._when <= until:
            handle = heapq.heappop(self._scheduled)
            handle._scheduled = False
            self._ready.append(handle)
        for _ in range(len(self._ready)):
            ready = self._ready.popleft()
            if ready._cancelled:
                continue
            owner = ready._context.get(OWNER, 0)
            if owner in self._frozen:
                self._held.setdefault(owner, []).append(ready)
                continue
            self.execute(ready, owner)

    def execute(self, handle: asyncio.Handle, owner: int) -> None:
        """Run one callback."""
        handle._run()

    def _drop_cancelled(self) -> None:
        while self._scheduled and self._scheduled[0]._cancelled:
            heapq.heappop(self._scheduled)._scheduled = False

    def _write_to_self(self) -> None: ...

    def _process_events(self, events: Any) -> None: ...

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        """Connect to a server of this loop."""
        return await self.network.connect(protocol_factory, int(port))

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        """Serve in this loop."""
        return self.network.serve(protocol_factory, int(port or 0))


class Network:
    """The connections of one loop. `port` numbers are given from 1 on."""

    def __init__(self, loop: VirtualLoop, random: Random) -> None:
        self.closed = False
        self._loop = loop
        self._random = random
        self._servers: dict[int, Server] = {}
        self._transports: list[Transport] = []
        self._next_port = 1

    def latency(self) -> float:
        """Seconds that the next message travels: mostly a fraction of a millisecond, sometimes more."""
        return self._random.choice((0.0002, 0.0005, 0.001, 0.001, 0.002, 0.02))

    def serve(self, factory: Callable[[], asyncio.BaseProtocol], port: int) -> Server:
        """Listen on this port, or on any."""
        if not port:
            port = self._next_port
            self._next_port += 1
        self._servers[port] = server = Server(self, port, factory, copy_context())
        return server

    def forget(self, server: Server) -> None:
        """Refuse connections from now on."""
        if self._servers.get(server.port) is server:
            del self._servers[server.port]

    async def connect(self, factory: Callable[[], asyncio.BaseProtocol], port: int) -> Any:
        """As `loop.create_connection`."""
        await asyncio.sleep(self.latency())
        server = self._servers.get(port)
        if server is None or self.closed:
            raise ConnectionRefusedError(f"nobody listens on port {port}")
        ours = Transport(self, factory(), copy_context())
        theirs = Transport(self, server.factory(), server.context)
        ours.peer, theirs.peer = theirs, ours
        self._transports = [known for known in self._transports if not known.gone] + [ours, theirs]
        theirs.call(theirs.protocol.connection_made, theirs)
        ours.protocol.connection_made(ours)
        return ours, ours.protocol

    def slow(self, owner: int, seconds: float) -> int:
        """What this owner sends now on the connections that it has arrives so much later; how many that are."""
        found = [t for t in self._transports if t.owner == owner and not t.gone]
        for transport in found:
            transport.hold_until = self._loop.time() + seconds
        return len(found)

    def cut(self, owner: int, *, deliver: bool) -> None:
        """Cut all connections of this owner."""
        for transport in self._transports:
            if transport.owner == owner and not transport.gone:
                if not deliver:
                    transport.lost = True
                transport.abort()


class Server:
    """What `asyncio.start_server` wants to see of a server."""

    def __init__(
        self, network: Network, port: int, factory: Callable[[], asyncio.BaseProtocol], context: Context
    ) -> None:
        self.port = port
        self.factory = factory
        self.context = context
        self.sockets = [self]
        self._network = network

    def getsockname(self) -> tuple[str, int]:
        """Address and port."""
        return "127.0.0.1", self.port

    def close(self) -> None:
        """Stop listening."""
        self._network.forget(self)

    async def wait_closed(self) -> None: ...


class Transport(asyncio.Transport):
    """One end of a connection. What it sends arrives in order, each message after the network's latency."""

    def __init__(self, network: Network, protocol: asyncio.BaseProtocol, context: Context) -> None:
        super().__init__()
        self.protocol: Any = protocol
        self.owner = context.get(OWNER, 0)
        self.peer: Transport
        self.gone = False
        self.lost = False  # what is on its way doesn't arrive
        self.hold_until = 0.0
        self._context = context
        self._network = network
        self._loop = network._loop
        self._arrives = 0.0

    def call(self, what: Callable[..., Any], *arguments: Any) -> None:
        """Have something done at this end, as this end's owner."""
        self._loop.call_soon(what, *arguments, context=self._context)

    def write(self, data: Any) -> None:
        if not self.gone:
            self._travel(self.peer._receive, bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def abort(self) -> None:
        if self.gone:
            return
        self.gone = True
        self._travel(self.peer._cut, None)
        self.call(self.protocol.connection_lost, None)

    close = abort

    def is_closing(self) -> bool:
        return self.gone

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def _travel(self, deliver: Callable[[Any], None], what: Any) -> None:
        now = self._loop.time()
        # Never at the same time: deadlines that are equal come in any order.
        self._arrives = max(self._arrives + 1e-9, now + self._network.latency(), self.hold_until)
        self._loop.call_at(self._arrives, self._arrive, deliver, what, context=self.peer._context)

    def _arrive(self, deliver: Callable[[Any], None], what: Any) -> None:
        if what is None or not self.lost:
            deliver(what)

    def _receive(self, data: bytes) -> None:
        if self.gone:
            return
        if not isinstance(self.protocol, asyncio.BufferedProtocol):
            self.protocol.data_received(data)
            return
        position = 0
        while position < len(data) and not self.gone:
            buffer = self.protocol.get_buffer(-1)
            size = min(len(buffer), len(data) - position)
            buffer[:size] = data[position : position + size]
            self.protocol.buffer_updated(size)
            position += size

    def _cut(self, _: None) -> None:
        if not self.gone:
            self.gone = True
            self.protocol.connection_lost(ConnectionResetError("connection reset by peer"))


@contextlib.contextmanager
def _clocks(loop: VirtualLoop) -> Iterator[None]:
    def wall() -> float:
        return WALL_S + loop.time()

    def any_clock(_: int) -> float:
        return loop.time()

    with (
        mock.patch.object(time, "monotonic", loop.time),
        mock.patch.object(time, "time", wall),
        mock.patch.object(time, "clock_gettime", any_clock),
    ):
        yield


def simulate(
    random: Random,
    work: Callable[[Any], Coroutine[Any, Any, Any]],
    make: Callable[[Random], VirtualLoop] = VirtualLoop,
) -> Any:
    """Run `work` to its end in a loop of its own, with the program's clocks on the loop's time; its result."""
    loop = make(random)
    try:
        with _clocks(loop):
            asyncio.set_event_loop(loop)
            try:
                return loop.run_until_complete(work(loop))
            finally:
                asyncio.events._set_running_loop(loop)
                loop.end()
                asyncio.events._set_running_loop(None)
    finally:
        asyncio.set_event_loop(None)
        loop.close()
