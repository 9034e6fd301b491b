"""A TCP proxy in front of a node: a long way there, answers that never arrive, a peer that stops reading."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Self, cast

_CHUNK = 1 << 18
_WINDOW_BYTES = 64 << 20


class Proxy:
    """Listens on `host:port` and passes everything on to `to` of loopback; a context manager, with its own thread.

    `delay_s` is what each byte takes in each direction, in addition to the real way; it doesn't limit the rate.
    `window_bytes` is how much may be on its way in each direction of one connection, as a socket's buffers or TCP's
    window would have it: with a delay, that limits the rate.
    """

    def __init__(
        self,
        port: int,
        to: int,
        *,
        host: str = "127.0.0.1",
        delay_s: float = 0.0,
        window_bytes: int = _WINDOW_BYTES,
    ) -> None:
        self.swallowed = 0  # bytes of answers that never arrived
        self.passed = 0  # bytes of answers that did
        self.swallowing = False
        self.stalled = False
        self.delay_s = delay_s
        self.window_bytes = window_bytes
        self.loop = asyncio.new_event_loop()
        self.ends: set[_End] = set()
        self.address = host, port
        self._to = to
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self.loop.run_forever, name=f"proxy {port}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self.loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    def swallow(self) -> None:
        """From now on no answer arrives; requests still do."""
        self._do(lambda: setattr(self, "swallowing", True))

    def heal(self) -> None:
        """Cut all connections, and pass everything on again."""

        def heal() -> None:
            self.swallowing = False
            for end in self.ends:
                end.cut()

        self._do(heal)

    def delay(self, seconds: float) -> None:
        """From now on each byte takes so long in each direction."""
        self._do(lambda: setattr(self, "delay_s", seconds))

    def stall(self) -> None:
        """Read nothing any more, from either side; connections stay open. `flow` ends it."""

        def stall() -> None:
            self.stalled = True
            for end in self.ends:
                end.hold("stalled")

        self._do(stall)

    def flow(self) -> None:
        """Read again after `stall`."""

        def flow() -> None:
            self.stalled = False
            for end in self.ends:
                end.go_on("stalled")

        self._do(flow)

    def connect(self, client: _End) -> None:
        """Find the other side of a connection that was accepted."""
        task = self.loop.create_task(self._connect(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _do(self, what: Callable[[], None]) -> None:
        self.loop.call_soon_threadsafe(what)

    async def _listen(self) -> None:
        self._server = await self.loop.create_server(lambda: _End(self, answers=False), *self.address)

    async def _connect(self, client: _End) -> None:
        try:
            _, server = await self.loop.create_connection(lambda: _End(self, answers=True), "127.0.0.1", self._to)
        except OSError:
            client.cut()
            return
        client.peer, server.peer = server, client
        client.go_on("connecting")
        server.go_on("connecting")

    async def _close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for end in self.ends:
            end.cut()


class _End(asyncio.BufferedProtocol):
    """What comes from one side of a connection, and its way to the other side."""

    def __init__(self, proxy: Proxy, *, answers: bool) -> None:
        self.peer: _End | None = None
        self._proxy = proxy
        self._answers = answers
        self._transport: asyncio.Transport | None = None
        self._buffer = memoryview(bytearray(_CHUNK))
        self._way: deque[tuple[float, bytes]] = deque()  # when it arrives, what; nothing: the connection's end
        self._under_way = 0
        self._timer: asyncio.TimerHandle | None = None
        self._held: set[str] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._proxy.ends.add(self)
        self.hold("connecting")
        if self._proxy.stalled:
            self.hold("stalled")
        if not self._answers:
            self._proxy.connect(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer[: max(1, min(_CHUNK, self._proxy.window_bytes - self._under_way))]

    def buffer_updated(self, nbytes: int) -> None:
        if self._answers:
            if self._proxy.swallowing:
                self._proxy.swallowed += nbytes
                return
            self._proxy.passed += nbytes
        self._send(bytes(self._buffer[:nbytes]))

    def connection_lost(self, exc: Exception | None) -> None:
        self._proxy.ends.discard(self)
        if not (self._answers and self._proxy.swallowing):  # the end of a connection is an answer too
            self._send(b"")

    def pause_writing(self) -> None:
        if self.peer is not None:
            self.peer.hold("writing")

    def resume_writing(self) -> None:
        if self.peer is not None:
            self.peer.go_on("writing")
            self.peer.arrive()

    def hold(self, why: str) -> None:
        """Don't read for now."""
        if not self._held and self._transport is not None:
            self._transport.pause_reading()
        self._held.add(why)

    def go_on(self, why: str) -> None:
        """Read again, unless there is another reason not to."""
        if why in self._held:
            self._held.discard(why)
            if not self._held and self._transport is not None:
                self._transport.resume_reading()

    def cut(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    def _send(self, data: bytes) -> None:
        self._way.append((self._proxy.loop.time() + self._proxy.delay_s, data))
        self._under_way += len(data)
        if self._under_way >= self._proxy.window_bytes:
            self.hold("window")
        if self._timer is None:
            self.arrive()

    def arrive(self) -> None:
        """Hand over what has come all the way, as long as the other side takes it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        peer, now = self.peer, self._proxy.loop.time()
        if peer is None or peer._transport is None:
            return
        while self._way and self._way[0][0] <= now and "writing" not in self._held:
            data = self._way.popleft()[1]
            self._under_way -= len(data)
            if data:
                peer._transport.write(data)
            else:
                peer._transport.close()
        if self._under_way < self._proxy.window_bytes:
            self.go_on("window")
        if self._way and "writing" not in self._held:
            self._timer = self._proxy.loop.call_at(self._way[0][0], self.arrive)
