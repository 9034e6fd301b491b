"""A plaintext TCP connection for `Connection`: as asyncio's transport, with fewer steps for large frames.

What it does otherwise, and why (asyncio before Python 3.12 does neither, *measured* in `bench/RESULTS.md`):
- What the socket doesn't take at once waits as the parts that were given, and goes out with `sendmsg`: asyncio joins
  them into one buffer, and moves the rest of it up with each write.
- The size of a frame and the frame's beginning are read in one turn of the loop instead of two.

TLS goes through asyncio's own transport, and so does everything in loops of other makes.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Iterable
from typing import Any, cast

from replicator.wire.primitives import Bytes

_PARTS_AT_ONCE = 512  # IOV_MAX is 1024 on Linux and macOS
_READS_AT_ONCE = 8  # then others have their turn
_WOULD_BLOCK = (BlockingIOError, InterruptedError)


class PlainTransport(asyncio.Transport):
    """Reads into its protocol's buffers and writes parts, until `abort` or the peer ends it.

    The parts of `writelines` must not change before they are sent; nobody is told when that is. There is no limit on
    what waits to be sent: `Connection`'s users bound what they have in flight.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, protocol: asyncio.BufferedProtocol):
        super().__init__({"socket": sock, "peername": sock.getpeername()})
        self._loop = loop
        self._socket = sock
        self._protocol = protocol
        self._unsent: deque[Bytes] = deque()
        self._closing = False
        protocol.connection_made(self)
        loop.add_reader(sock, self._readable)

    # asyncio.Transport

    def is_closing(self) -> bool:
        """Whether it is over."""
        return self._closing

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Whom it reads for."""
        return self._protocol

    def write(self, data: Bytes) -> None:
        """Send this behind what waits."""
        self.writelines((data,))

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        """Send these parts, one behind the other, without copying them."""
        if self._closing:
            return
        if self._unsent:
            self._unsent.extend(list_of_data)
            return
        self._unsent.extend(list_of_data)
        self._send()
        if self._unsent and not self._closing:
            self._loop.add_writer(self._socket, self._writable)

    def close(self) -> None:
        """As `abort`: nobody closes a connection here while waiting for it to send something."""
        self.abort()

    def abort(self) -> None:
        """Drop the connection, and what waits to be sent."""
        self._end(None)

    # the loop

    def _readable(self) -> None:
        protocol, receive = self._protocol, self._socket.recv_into
        for _ in range(_READS_AT_ONCE):
            room = cast(memoryview, protocol.get_buffer(-1))  # what `Connection` gives
            try:
                count = receive(room)
            except _WOULD_BLOCK:
                return
            except OSError as error:
                self._end(error)
                return
            if not count:
                protocol.eof_received()
                self._end(None)
                return
            protocol.buffer_updated(count)
            # A frame's size has few bytes, and the frame follows. Whoever got less than there was room for has it all.
            if self._closing or count < len(room) or count > 4:
                return

    def _writable(self) -> None:
        self._send()
        if not self._unsent and not self._closing:
            self._loop.remove_writer(self._socket)

    def _send(self) -> None:
        unsent = self._unsent
        parts = list(unsent) if len(unsent) <= _PARTS_AT_ONCE else [unsent[index] for index in range(_PARTS_AT_ONCE)]
        try:
            sent = self._socket.sendmsg(parts)
        except _WOULD_BLOCK:
            return
        except OSError as error:
            self._end(error)
            return
        for part in parts:
            if sent < len(part):
                if sent:
                    unsent[0] = memoryview(part)[sent:]
                return
            sent -= len(part)
            unsent.popleft()

    def _end(self, error: Exception | None) -> None:
        if self._closing:
            return
        self._closing = True
        self._unsent.clear()
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        self._loop.call_soon(self._protocol.connection_lost, error)


async def connect_plainly(
    loop: asyncio.AbstractEventLoop, protocol: asyncio.BufferedProtocol, host: str, port: int
) -> PlainTransport:
    """Connect to the first of the name's addresses that answers; OSError of the last one if none does."""
    last: OSError | None = None
    for family, kind, number, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        made = socket.socket(family, kind, number)
        try:
            made.setblocking(False)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(made, address)
            return PlainTransport(loop, made, protocol)
        except OSError as error:
            made.close()
            last = error
        except BaseException:
            made.close()
            raise
    raise last or OSError(f"{host} has no address")
