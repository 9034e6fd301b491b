"""One connection to a broker: pipelined requests, responses matched in order, SASL, and re-authentication.

Invariants:
- A: responses are handed out in the order of their requests, each to exactly one future (Kafka answers in order).
- B: a future always ends: with its response, or with UnreachableError when the connection goes.
- C: no byte of a response is copied: the frame is read into a buffer of its announced size and given away whole.
- D: memory for a frame is taken only after its size was found within `max_frame_bytes`.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import sys
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, cast

from replicator.config.models import SecurityConfig
from replicator.errors import (
    AuthenticationError,
    ProtocolError,
    ReplicatorError,
    UnreachableError,
    UnsupportedVersionError,
)
from replicator.wire.kafka_errors import (
    NONE,
    SASL_AUTHENTICATION_FAILED,
    UNSUPPORTED_SASL_MECHANISM,
    error_name,
    is_retriable,
)
from replicator.wire.plain_transport import PlainTransport, connect_plainly
from replicator.wire.primitives import INT32, NO_TAGS, Bytes, Reader, string
from replicator.wire.sasl import SaslClient, sasl_client
from replicator.wire.security import tls_context

MAX_FRAME_BYTES = 128 << 20
REQUEST_TIMEOUT_S = 40.0  # Kafka's request.timeout.ms (30 s) and a margin: the broker answers timeouts itself
QUESTION_TIMEOUT_S = 10.0  # for small questions, which any broker answers at once: don't wait long for a frozen one
CONNECT_TIMEOUT_S = 10.0
REAUTHENTICATE_AT = 0.85, 0.9  # of the session's lifetime (KIP-368); by chance, so that not all connections do at once

API_VERSIONS = 18
SASL_HANDSHAKE = 17
SASL_AUTHENTICATE = 36

_TOKEN_RETRY_S = 1.0
_TO_SPARE_S = 2.0
_SEPARATE_WRITE_BYTES = 32 << 10
_GATHERS = sys.version_info >= (3, 12)  # asyncio's own `writelines` joins all parts (a copy) before


class _Waiting(NamedTuple):
    """A request on its way: the bytes of the response's header to skip, who waits for it, and until when."""

    correlation: int
    skip: int
    future: asyncio.Future[memoryview]
    api: int
    deadline: float  # of the loop's clock


class Connection(asyncio.BufferedProtocol):
    """A pipelined connection. Use `open_connection`; `request` and `close` are what callers need."""

    def __init__(self, cluster: str, address: str, client_id: str, max_frame_bytes: int) -> None:
        self.cluster = cluster
        self.address = address
        self.versions: dict[int, tuple[int, int]] = {}
        self.in_flight = 0
        self._max_frame_bytes = max_frame_bytes
        self._client_id = string(client_id)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._gathers = _GATHERS
        self._size = memoryview(bytearray(4))
        self._frame: memoryview | None = None
        self._filled = 0
        self._pending: deque[_Waiting] = deque()
        self._correlation = 0
        self._error: ReplicatorError | None = None
        self._held: list[tuple[_Waiting, Sequence[Bytes]]] | None = None  # requests made while we re-authenticate
        self._reauthentication: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._watch: asyncio.TimerHandle | None = None  # one for all requests: most are answered long before
        self.closed: asyncio.Future[None] = self._loop.create_future()

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's isn't a subclass
        self._gathers = _GATHERS or isinstance(transport, PlainTransport)

    def get_buffer(self, sizehint: int) -> memoryview:
        # Always a memoryview: with a bytearray, TLS loses data (cpython#156275).
        return (self._size if self._frame is None else self._frame)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        if self._frame is None:
            if self._filled == 4:
                self._start_frame(INT32.unpack(self._size)[0])
        elif self._filled == len(self._frame):
            frame, self._frame, self._filled = self._frame, None, 0
            self._deliver(frame)

    def eof_received(self) -> None:
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc)

    # requests

    def request(
        self, api: int, version: int, body: Sequence[Bytes], *, flexible: bool, timeout_s: float = REQUEST_TIMEOUT_S
    ) -> asyncio.Future[memoryview]:
        """Send a request; the future gives the response from after its header.

        The parts of `body` must not change until the future is done. Fails with UnreachableError when the connection
        is lost or no answer came within `timeout_s` (which closes the connection: nothing behind it would come either).
        """
        future: asyncio.Future[memoryview] = self._loop.create_future()
        if self._error is not None:
            future.set_exception(self._error)
            return future
        self._correlation = (self._correlation + 1) & 0x7FFFFFFF
        header = api.to_bytes(2, "big") + version.to_bytes(2, "big") + INT32.pack(self._correlation) + self._client_id
        if flexible:
            header += NO_TAGS
        size = len(header) + sum(map(len, body))
        deadline = self._loop.time() + timeout_s
        if self._watch is None or deadline < self._watch.when():
            self._watch_until(deadline)
        skip = 5 if flexible and api != API_VERSIONS else 4  # correlation id, and in flexible versions tagged fields
        self.in_flight += 1
        message = [INT32.pack(size) + header, *body]
        waiting = _Waiting(self._correlation, skip, future, api, deadline)
        if self._held is not None and api not in (SASL_HANDSHAKE, SASL_AUTHENTICATE):
            self._held.append((waiting, message))
        else:
            self._pending.append(waiting)
            self._write(message)
        return future

    def close(self) -> None:
        """Drop the connection; whatever is in flight fails with UnreachableError."""
        self._fail(None)

    @property
    def is_closed(self) -> bool:
        return self._error is not None

    def supports(self, api: int, version: int) -> bool:
        """Whether the broker offers this version of this API."""
        low, high = self.versions.get(api, (0, -1))
        return low <= version <= high

    def pick(self, api: int, low: int, high: int) -> int:
        """The highest version of an API that both sides speak; UnsupportedVersionError if none."""
        offered = self.versions.get(api)
        if offered is None or offered[0] > high or offered[1] < low:
            raise UnsupportedVersionError(
                f"cluster {self.cluster}: broker {self.address} offers API {api} in versions {offered}, needed is "
                f"{low} to {high}; Replicator needs Apache Kafka 2.8 or newer"
            )
        return min(high, offered[1])

    # internals

    def _start_frame(self, size: int) -> None:
        if not 4 <= size <= self._max_frame_bytes:
            self._fail(
                ProtocolError(
                    f"cluster {self.cluster}: {self.address} announced a response of {size} bytes, accepted are 4 to "
                    f"{self._max_frame_bytes}; is this a Kafka listener, and the security.protocol right?"
                )
            )
            return
        self._frame, self._filled = memoryview(bytearray(size)), 0

    def _deliver(self, frame: memoryview) -> None:
        if not self._pending:
            self._fail(ProtocolError(f"cluster {self.cluster}: {self.address} answered without a request"))
            return
        waiting = self._pending[0]
        (correlation,) = INT32.unpack_from(frame)
        if waiting.skip == 5 and frame[4:5] != NO_TAGS:
            self._fail(
                ProtocolError(f"cluster {self.cluster}: {self.address} sent a response header with tagged fields")
            )
            return
        if correlation != waiting.correlation:
            self._fail(
                ProtocolError(
                    f"cluster {self.cluster}: {self.address} answered request {correlation}, not {waiting.correlation}"
                )
            )
            return
        self._pending.popleft()
        self.in_flight -= 1
        if not self._pending:
            self._idle.set()
        if not waiting.future.done():
            waiting.future.set_result(frame[waiting.skip :])

    def _write(self, message: Sequence[Bytes]) -> None:
        transport = self._transport
        if transport is None or self._error is not None:
            return
        self._idle.clear()
        if self._gathers:
            transport.writelines(message)
            return
        small: list[Bytes] = []
        for part in message:
            if len(part) < _SEPARATE_WRITE_BYTES:
                small.append(part)
                continue
            if small:
                transport.write(b"".join(small))
                small = []
            transport.write(part)
        if small:
            transport.write(b"".join(small))

    def _watch_until(self, deadline: float) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._watch = self._loop.call_at(deadline, self._look)

    def _look(self) -> None:
        """Whether an answer is overdue; if not, look again when the next one would be."""
        self._watch = None
        first = min(self._waiting(), key=lambda waiting: waiting.deadline, default=None)
        if first is None:
            return
        if first.deadline > self._loop.time():
            self._watch_until(first.deadline)
            return
        why = f"cluster {self.cluster}: {self.address} didn't answer (API {first.api}) in time"
        self._fail(UnreachableError(why))

    def _waiting(self) -> list[_Waiting]:
        return [*self._pending, *(waiting for waiting, _ in self._held or ())]

    def _fail(self, cause: Exception | None) -> None:
        if self._error is not None:
            return
        if isinstance(cause, ReplicatorError):
            self._error = cause
        else:
            reason = str(cause) or type(cause).__name__ if cause else "connection closed"
            self._error = UnreachableError(f"cluster {self.cluster}: connection to {self.address} lost: {reason}")
        if self._reauthentication is not None:
            self._reauthentication.cancel()
        if self._transport is not None:
            self._transport.abort()
        if self._watch is not None:
            self._watch.cancel()
        abandoned = self._waiting()
        self._pending.clear()
        self._held = None
        self.in_flight = 0
        self._idle.set()
        for waiting in abandoned:
            if not waiting.future.done():
                waiting.future.set_exception(self._error)
        if not self.closed.done():
            self.closed.set_result(None)

    # authentication

    async def authenticate(self, client: SaslClient, security: SecurityConfig) -> None:
        """Run the SASL exchange; plans the next one when the broker limits the session (KIP-368)."""
        lifetime_ms = await self._sasl(client)
        if lifetime_ms > 0:
            self._reauthentication = asyncio.create_task(self._reauthenticate(security, lifetime_ms))

    async def _reauthenticate(self, security: SecurityConfig, lifetime_ms: int) -> None:
        """Before the session ends: hold new requests, let those in flight be answered, authenticate, go on."""
        try:
            while lifetime_ms > 0:
                began = self._loop.time()
                await asyncio.sleep(_lasts_s(lifetime_ms / 1000))
                client = await self._next_client(security, began + lifetime_ms / 1000)
                self._held = []
                while self._pending:
                    self._idle.clear()
                    await self._idle.wait()
                lifetime_ms = await self._sasl(client)
                self._release_held()
        except ReplicatorError as error:
            self._fail(error)

    async def _next_client(self, security: SecurityConfig, ends: float) -> SaslClient:
        """What logs in again. Nothing is held meanwhile; without a new token it is tried until the session ends."""
        while True:
            try:
                client = await sasl_client(security)
                assert client is not None
                return client
            except ReplicatorError as error:
                left = ends - self._loop.time()
                if left <= 0:
                    raise type(error)(
                        f"cluster {self.cluster}: can't log in to {self.address} again: {error}"
                    ) from error
                await asyncio.sleep(min(_TOKEN_RETRY_S, left))

    def _release_held(self) -> None:
        held, self._held = self._held or [], None
        for waiting, message in held:
            self._pending.append(waiting)
            self._write(message)

    async def _sasl(self, client: SaslClient) -> int:
        reply = Reader(await self.request(SASL_HANDSHAKE, 1, [string(client.mechanism)], flexible=False))
        code = reply.int16()
        if code == UNSUPPORTED_SASL_MECHANISM:
            offered = ", ".join(reply.string() for _ in range(reply.array_length()))
            raise AuthenticationError(
                f"cluster {self.cluster}: {self.address} doesn't offer {client.mechanism} but "
                f"{offered or 'nothing'}; set security.mechanism"
            )
        if code != NONE:
            raise AuthenticationError(f"cluster {self.cluster}: SASL handshake with {self.address}: {error_name(code)}")
        message: bytes | None = client.first()
        lifetime_ms = 0
        while message is not None:
            body = [INT32.pack(len(message)), message]
            reply = Reader(await self.request(SASL_AUTHENTICATE, 1, body, flexible=False))
            code, said = reply.int16(), reply.string()
            if code != NONE:
                why = said or error_name(code)
                for secret in client.secrets:
                    why = why.replace(secret, "…") if secret else why
                raise AuthenticationError(
                    f"cluster {self.cluster}: {self.address} refused {client.mechanism} authentication: {why}; "
                    f"check {client.check}"
                    if code == SASL_AUTHENTICATION_FAILED
                    else f"cluster {self.cluster}: {self.address}: {client.mechanism}: {why}"
                )
            challenge = bytes(reply.bytes32())
            lifetime_ms = reply.int64()
            try:
                message = client.next(challenge)
            except AuthenticationError as error:
                raise AuthenticationError(f"cluster {self.cluster}: {self.address}: {error}") from error
        return lifetime_ms


def _lasts_s(lifetime_s: float) -> float:
    """How long to use a session of this lifetime: a busy machine needs a moment, too, where it is short."""
    share = random.uniform(*REAUTHENTICATE_AT) * lifetime_s
    return max(lifetime_s / 2, min(share, lifetime_s - _TO_SPARE_S))


async def open_connection(
    cluster: str,
    host: str,
    port: int,
    *,
    security: SecurityConfig,
    client_id: str,
    max_frame_bytes: int = MAX_FRAME_BYTES,
    timeout_s: float = CONNECT_TIMEOUT_S,
) -> Connection:
    """Connect, authenticate, and learn the broker's API versions.

    UnreachableError if nobody answers in time, AuthenticationError if TLS or SASL fails; both name cluster and address.
    """
    address = f"{host}:{port}"
    connection: Connection | None = None
    try:
        client = await sasl_client(security)  # a token may take a while: the broker isn't kept waiting
    except ReplicatorError as error:
        raise type(error)(f"cluster {cluster}: can't log in to {address}: {error}") from error
    try:
        async with asyncio.timeout(timeout_s):
            context = tls_context(security)
            made = Connection(cluster, address, client_id, max_frame_bytes)
            loop = asyncio.get_running_loop()
            if context is None and isinstance(loop, asyncio.SelectorEventLoop):
                await connect_plainly(loop, made, host, port)
            else:
                name = host if context else None
                await loop.create_connection(lambda: made, host, port, ssl=context, server_hostname=name)
            connection = made
            if client is not None:
                await connection.authenticate(client, security)
            connection.versions = await _api_versions(connection)
            return connection
    except (TimeoutError, OSError, ReplicatorError, UnicodeError, OverflowError) as error:  # the last: no such port
        if connection is not None:
            connection.close()
        if isinstance(error, ssl.SSLError):
            raise AuthenticationError(
                f"cluster {cluster}: TLS with {address} failed: {error.reason or error}; check security.protocol, "
                "security.ca_file and that the broker's certificate names this host"
            ) from error
        if isinstance(error, ReplicatorError) and not isinstance(error, UnreachableError):
            raise
        why = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        raise UnreachableError(
            f"cluster {cluster}: can't connect to {address} ({security.protocol}): {why}; check bootstrap_servers, "
            "that the broker runs, and that security.protocol fits this listener"
        ) from error
    except BaseException:
        if connection is not None:
            connection.close()
        raise


async def _api_versions(connection: Connection) -> dict[int, tuple[int, int]]:
    reply = Reader(await connection.request(API_VERSIONS, 0, [], flexible=False))
    code = reply.int16()
    if is_retriable(code):
        raise UnreachableError(f"ApiVersions: {error_name(code)}")  # another broker may know, or this one in a moment
    if code != NONE:
        raise ProtocolError(f"cluster {connection.cluster}: ApiVersions: {error_name(code)}")
    return {reply.int16(): (reply.int16(), reply.int16()) for _ in range(reply.array_length())}
