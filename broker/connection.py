"""One client connection: requests in, answers out, strictly in order, as Kafka does it.

A request is answered before the next one is read, so a fetch that waits for data holds its own connection only.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from typing import TYPE_CHECKING

from broker.dispatch import dispatch
from broker.errors import CloseConnection
from broker.node import ConnectionState, Listener
from broker.security.principal_mapper import mapper
from broker.security.sasl import is_user_name
from broker.security.tls import subject_of

if TYPE_CHECKING:
    from broker.node import Node

log = logging.getLogger(__name__)

MAX_FRAME_BEFORE_AUTHENTICATION = 512 * 1024
STREAM_LIMIT = 4 * 1024 * 1024


class Connection:
    """Serves one accepted socket until either side closes it."""

    def __init__(
        self, node: Node, listener: Listener, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._node = node
        self._reader = reader
        self._writer = writer
        self.idle_since: float | None = None
        """Since when (monotonic seconds) no request has been read, or None while one is served."""
        peer = writer.get_extra_info("peername")
        self.state = ConnectionState(
            listener=listener,
            client_host=str(peer[0]) if peer else "",
            authenticated=not listener.sasl,
            ssl_object=writer.get_extra_info("ssl_object"),
        )

    def _know_the_client(self) -> None:
        """By its certificate, if it has shown one. CloseConnection where no rule makes a user's name of that."""
        subject = subject_of(self.state.ssl_object)
        if subject is None:
            return
        rules = self._node.cluster.config.get("ssl.principal.mapping.rules") or "DEFAULT"
        name = mapper(rules).name_of(subject)
        if not name or not is_user_name(name):
            raise CloseConnection(f"no rule of ssl.principal.mapping.rules makes a user's name of {subject!r}")
        self.state.principal = f"User:{name}"

    async def serve(self) -> None:
        """Read, dispatch and answer until the peer is gone, breaks the protocol, or a fault says so."""
        try:
            self._know_the_client()
            while True:
                self.idle_since = self._node.cluster.clock.monotonic()
                frame = await self._read_frame()
                self.idle_since = None
                await self._node.thawed.wait()
                parts = await dispatch(self._node, self.state, frame)
                await self._node.thawed.wait()
                if parts is not None:
                    self._writer.writelines(parts)
                    await self._writer.drain()
                if self.state.close_after_response:
                    return
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError, OSError):
            return  # the peer went away; there is nobody left to tell
        except CloseConnection as reason:
            self._node.cluster.refused_requests += 1
            log.info("closing connection of %s: %s", self.state.client_host, reason)
        except Exception:
            self._node.cluster.internal_errors += 1
            log.exception("connection of %s failed", self.state.client_host)
        finally:
            self.abort()

    def abort(self) -> None:
        """Cut the connection without flushing."""
        self.state.closed = True
        for callback in self.state.on_close:
            callback()
        self.state.on_close.clear()
        self._writer.transport.abort()

    async def _read_frame(self) -> bytes:
        (size,) = struct.unpack(">i", await self._reader.readexactly(4))
        limit = MAX_FRAME_BEFORE_AUTHENTICATION
        if self.state.authenticated:
            limit = self._node.cluster.config.get_int("socket.request.max.bytes")
        if not 0 <= size <= limit:
            raise CloseConnection(f"request of {size} bytes, the limit is {limit}")
        return await self._reader.readexactly(size)
