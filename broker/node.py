"""A node of the cluster: its addresses, its state, and what a handler gets to know about a request."""

from __future__ import annotations

import asyncio
import enum
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from broker.security.access import Access

if TYPE_CHECKING:
    from broker.cluster import Cluster
    from broker.connection import Connection


@dataclass(frozen=True, slots=True)
class Listener:
    """How clients may connect: node i listens on `port + i`, or on any free port when that is 0."""

    host: str = "127.0.0.1"
    port: int = 0
    name: str = "PLAINTEXT"
    ssl_context: ssl.SSLContext | None = None
    sasl: bool = False
    advertised_host: str | None = None


@dataclass(eq=False, slots=True)
class ConnectionState:
    """What is known about the client behind a connection. The SASL handlers change `principal` and the like."""

    listener: Listener
    client_host: str = ""
    principal: str = "User:ANONYMOUS"
    authenticated: bool = True
    client_id: str | None = None
    ssl_object: ssl.SSLObject | None = None
    session_expires_at: float | None = None
    """Monotonic seconds after which only re-authentication is answered (KIP-368); None means never."""
    close_after_response: bool = False
    closed: bool = False
    sasl: object = None
    """The exchange in progress, owned by `broker.security`."""
    on_close: list[Callable[[], None]] = field(default_factory=list)
    """Called once when the connection ends."""


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The request at hand, apart from its body."""

    cluster: Cluster
    node: Node
    connection: ConnectionState
    api_key: int
    api_version: int
    correlation_id: int
    client_id: str | None
    access: Access
    """What the client may do; every API asks it."""


class NodeState(enum.Enum):
    """FROZEN accepts connections and answers nothing, like a process that was sent SIGSTOP."""

    RUNNING = "running"
    FROZEN = "frozen"
    STOPPED = "stopped"


class Node:
    """One broker of the cluster with its own port on each listener. Data lives in the cluster, not here."""

    def __init__(
        self, cluster: Cluster, node_id: int, listeners: tuple[Listener, ...], rack: str | None = None
    ) -> None:
        self.cluster = cluster
        self.node_id = node_id
        self.listeners = listeners
        self.rack = rack
        self.state = NodeState.STOPPED
        self.thawed = asyncio.Event()
        self.frozen_since: float | None = None
        self.fenced = False
        self.ports: dict[str, int] = {}
        self.connections: set[Connection] = set()
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def alive(self) -> bool:
        """Whether the cluster counts it as a live broker (a frozen one is, until its session times out)."""
        return self.state is not NodeState.STOPPED and not self.fenced

    def address(self, listener_name: str) -> tuple[str, int]:
        """Host and port that clients of this listener are told."""
        listener = next(item for item in self.listeners if item.name == listener_name)
        return listener.advertised_host or listener.host, self.ports.get(listener_name, listener.port)

    async def listen(self) -> None:
        """Bind all listeners; a restarted node comes back on its former ports."""
        from broker.connection import STREAM_LIMIT, Connection

        self.thawed.set()
        for listener in self.listeners:
            wanted = self.ports.get(listener.name, listener.port + self.node_id if listener.port else 0)

            async def accept(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener: Listener = listener
            ) -> None:
                connection = Connection(self, listener, reader, writer)
                task = asyncio.current_task()
                assert task is not None
                self._tasks.add(task)
                self.connections.add(connection)
                try:
                    await connection.serve()
                except asyncio.CancelledError:
                    connection.abort()
                finally:
                    self.connections.discard(connection)
                    self._tasks.discard(task)

            server = await asyncio.start_server(
                accept, listener.host, wanted, ssl=listener.ssl_context, limit=STREAM_LIMIT
            )
            self._servers.append(server)
            self.ports[listener.name] = server.sockets[0].getsockname()[1]
        self.state = NodeState.RUNNING

    async def close(self) -> None:
        """Close the listeners and cut every connection."""
        self.state = NodeState.STOPPED
        self.frozen_since = None
        for server in self._servers:
            server.close()
        self._servers.clear()
        for connection in list(self.connections):
            connection.abort()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=5)

    def close_idle(self, longest_seconds: float) -> None:
        """Cut connections that haven't asked anything for so long, as Kafka does (connections.max.idle.ms)."""
        now = self.cluster.clock.monotonic()
        for connection in list(self.connections):
            if connection.idle_since is not None and now - connection.idle_since > longest_seconds:
                connection.abort()

    def freeze(self) -> None:
        """Stop answering; sockets stay open."""
        if self.state is NodeState.RUNNING:
            self.state = NodeState.FROZEN
            self.frozen_since = self.cluster.clock.monotonic()
            self.thawed.clear()

    def thaw(self) -> None:
        """Go on where `freeze` stopped: requests that came in meanwhile are served now."""
        if self.state is NodeState.FROZEN:
            self.state = NodeState.RUNNING
            self.frozen_since = None
            self.thawed.set()
