"""A node of the cluster: its addresses, its state, and what a handler gets to know about a request."""

from __future__ import annotations

import asyncio
import enum
import errno
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from broker.metrics.counts import NodeCounts
from broker.security.access import Access

if TYPE_CHECKING:
    from broker.cluster import Cluster
    from broker.connection import Connection


_BACKLOG = 512  # many clients come at once after a restart


@dataclass(frozen=True, slots=True)
class Listener:
    """How clients may connect: node i listens on `port + i`, or on any free port when that is 0.

    A node with a host of its own in `hosts` listens there, on `port` itself. `mechanisms` None: all that the cluster's
    SASL server has.
    """

    host: str = "127.0.0.1"
    port: int = 0
    name: str = "PLAINTEXT"
    ssl_context: ssl.SSLContext | None = None
    sasl: bool = False
    advertised_host: str | None = None
    mechanisms: tuple[str, ...] | None = None
    hosts: Mapping[int, str] = field(default_factory=dict)
    advertised_hosts: Mapping[int, str] = field(default_factory=dict)

    def place(self, node_id: int) -> tuple[str, int]:
        """Where this node is to listen; port 0: any."""
        own = self.hosts.get(node_id)
        if own is not None:
            return own, self.port
        return self.host, self.port + node_id if self.port else 0


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
        self.hosts: dict[str, str] = {}
        self.connections: set[Connection] = set()
        self.counts = NodeCounts()
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def alive(self) -> bool:
        """Whether the cluster counts it as a live broker (a frozen one is, until its session times out)."""
        return self.state is not NodeState.STOPPED and not self.fenced

    def address(self, listener_name: str) -> tuple[str, int]:
        """Host and port that clients of this listener are told."""
        listener = next(item for item in self.listeners if item.name == listener_name)
        host, port = listener.place(self.node_id)
        told = listener.advertised_hosts.get(self.node_id) or listener.advertised_host
        return told or self.hosts.get(listener_name, host), self.ports.get(listener_name, port)

    def names(self, listener: Listener) -> frozenset[str]:
        """What clients may call this node on a listener: where it is, and what they are told. Java looks up the name
        of an address that it is given, and then signs for that."""
        host, _ = listener.place(self.node_id)
        bound = self.hosts.get(listener.name, host)
        told = listener.advertised_hosts.get(self.node_id) or listener.advertised_host
        local = "localhost" if bound.startswith("127.") or bound == "::1" else None
        return frozenset(name for name in (host, bound, told, local) if name)

    async def listen(self) -> None:
        """Bind all listeners; a restarted node comes back on its former ports."""
        from broker.connection import STREAM_LIMIT, Connection

        self.thawed.set()
        for listener in self.listeners:
            host, port = listener.place(self.node_id)
            host, wanted = self.hosts.get(listener.name, host), self.ports.get(listener.name, port)

            async def accept(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener: Listener = listener
            ) -> None:
                connection = Connection(self, listener, reader, writer)
                if self._too_many(connection.state.client_host):
                    self.cluster.refused_connections += 1
                    connection.abort()
                    return
                task = asyncio.current_task()
                assert task is not None
                self._tasks.add(task)
                self.connections.add(connection)
                self.counts.connections_made.count += 1
                try:
                    await connection.serve()
                except asyncio.CancelledError:
                    connection.abort()
                finally:
                    self.connections.discard(connection)
                    self.counts.connections_closed.count += 1
                    self._tasks.discard(task)

            async def serve(
                host: str, port: int, listener: Listener = listener, accept: Any = accept
            ) -> asyncio.Server:
                return await asyncio.start_server(
                    accept, host, port, ssl=listener.ssl_context, limit=STREAM_LIMIT, backlog=_BACKLOG
                )

            try:
                server = await serve(host, wanted)
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL or listener.hosts.get(self.node_id) != host:
                    raise
                # Systems but Linux have 127.0.0.1 alone until somebody adds another one to their loopback interface.
                host = "127.0.0.1"
                server = await serve(host, 0)
            self.hosts[listener.name] = host
            self._servers.append(server)
            self.ports[listener.name] = server.sockets[0].getsockname()[1]
        self.state = NodeState.RUNNING

    def _too_many(self, client_host: str) -> bool:
        """Whether another connection is over `max.connections` or `max.connections.per.ip`. Kafka lets those over the
        first one wait, and closes those over the second; here both are closed."""
        config = self.cluster.config
        if len(self.connections) >= config.get_int("max.connections"):
            return True
        per_host = config.get_int("max.connections.per.ip")
        if len(self.connections) < per_host:
            return False
        return sum(each.state.client_host == client_host for each in self.connections) >= per_host

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
