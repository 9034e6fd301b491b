"""A small Kafka server for tests of the connection: it answers what it is told to, well-formed or not."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, NamedTuple, Self

from kio.index import load_response_schema
from scramp import ScramMechanism

from broker.protocol import encode_entity, entity, request_is_flexible, response_parts

API_VERSIONS, SASL_HANDSHAKE, SASL_AUTHENTICATE = 18, 17, 36
VERSIONS = {0: (9, 13), 1: (12, 17), 2: (6, 7), 3: (10, 12), 17: (0, 1), 18: (0, 4), 22: (2, 4), 36: (0, 2)}


class Request(NamedTuple):
    """One request: the header's fields, and the body's bytes."""

    api: int
    version: int
    correlation: int
    body: bytes


Answer = dict[str, Any] | bytes | None  # fields of the response, whole bytes to send, or nothing at all
Handler = Callable[[Request, asyncio.StreamWriter], Answer | Awaitable[Answer]]


def frame(request: Request, fields: dict[str, Any]) -> bytes:
    """The response with these fields, as kio encodes it."""
    response = entity(load_response_schema(request.api, request.version), fields)
    return b"".join(response_parts(request.api, request.version, request.correlation, response))


def body_of(api: int, version: int, fields: dict[str, Any]) -> memoryview:
    """A response's body alone, as kio encodes it."""
    return memoryview(encode_entity(entity(load_response_schema(api, version), fields)))


class FakeBroker:
    """Listens on loopback; `handlers` say per API what to answer. ApiVersions is answered unless they say otherwise."""

    def __init__(self, tls: ssl.SSLContext | None = None, node_id: int = 0) -> None:
        self.handlers: dict[int, Handler] = {}
        self.requests: list[Request] = []
        self.versions = dict(VERSIONS)
        self.connections = 0
        self.node_id = node_id
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Stop listening and cut all connections."""
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def count(self, api: int) -> int:
        """How many requests of this API have come."""
        return sum(request.api == api for request in self.requests)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                data = await reader.readexactly(size)
                api, version, correlation, length = struct.unpack_from(">hhih", data)
                start = 10 + max(0, length) + request_is_flexible(api, version)
                request = Request(api, version, correlation, data[start:])
                self.requests.append(request)
                answer = self._answer(request, writer)
                if isinstance(answer, Awaitable):
                    answer = await answer
                if answer is not None:
                    writer.write(answer if isinstance(answer, bytes) else frame(request, answer))
                    await writer.drain()
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass  # the client has gone, or the test is over
        finally:
            self._tasks.discard(task)
            writer.close()

    def _answer(self, request: Request, writer: asyncio.StreamWriter) -> Answer | Awaitable[Answer]:
        handler = self.handlers.get(request.api)
        if handler is not None:
            return handler(request, writer)
        if request.api == API_VERSIONS:
            keys = [{"api_key": k, "min_version": a, "max_version": b} for k, (a, b) in self.versions.items()]
            return {"error_code": 0, "api_keys": keys}
        raise AssertionError(f"nobody said how to answer API {request.api}")


class SaslServer:
    """The broker's side of PLAIN and SCRAM, one user; `lifetime_ms` limits the session (KIP-368)."""

    def __init__(self, mechanism: str, username: str, password: str, lifetime_ms: int = 0) -> None:
        self.mechanism = mechanism
        self.lifetime_ms = lifetime_ms
        self.exchanges = 0
        self._plain = b"\x00".join((b"", username.encode(), password.encode()))
        self._username = username
        self._exchange: Any = None
        if mechanism != "PLAIN":
            self._scram = ScramMechanism(mechanism)
            self._secret = self._scram.make_auth_info(password, iteration_count=4096)

    def attach(self, broker: FakeBroker) -> None:
        """Let this broker ask for authentication."""
        broker.handlers[SASL_HANDSHAKE] = self.handshake
        broker.handlers[SASL_AUTHENTICATE] = self.authenticate

    def handshake(self, request: Request, _: asyncio.StreamWriter) -> Answer:
        asked = request.body[2:].decode()
        self._exchange = None
        return {"error_code": 0 if asked == self.mechanism else 33, "mechanisms": [self.mechanism]}

    def authenticate(self, request: Request, _: asyncio.StreamWriter) -> Answer:
        message = request.body[4:]
        try:
            reply, done = self._next(message)
        except Exception:  # noqa: BLE001 - whatever scramp finds wrong
            return {"error_code": 58, "error_message": "Authentication failed: invalid credentials", "auth_bytes": b""}
        self.exchanges += done
        lifetime = self.lifetime_ms if done else 0
        return {"error_code": 0, "error_message": None, "auth_bytes": reply, "session_lifetime": lifetime}

    def _next(self, message: bytes) -> tuple[bytes, bool]:
        if self.mechanism == "PLAIN":
            if message != self._plain:
                raise ValueError(message)
            return b"", True
        if self._exchange is None:
            self._exchange = self._scram.make_server(self._secret_of)
            self._exchange.set_client_first(message.decode())
            return self._exchange.get_server_first().encode(), False
        self._exchange.set_client_final(message.decode())
        return self._exchange.get_server_final().encode(), True

    def _secret_of(self, username: str) -> Any:
        if username != self._username:
            raise ValueError(username)
        return self._secret


class BearerServer:
    """The broker's side of OAUTHBEARER: takes every token but those in `refused`. A session is as long as its token.

    `tokens` are those that were shown, `extensions` what came with the last one.
    """

    def __init__(self, lifetime_ms: int = 0) -> None:
        self.lifetime_ms = lifetime_ms
        self.tokens: list[str] = []
        self.refused: set[str] = set()
        self.extensions: dict[str, str] = {}
        self.challenge = b'{"status":"invalid_token","scope":"kafka"}'

    def attach(self, broker: FakeBroker) -> None:
        """Let this broker ask for authentication."""
        broker.handlers[SASL_HANDSHAKE] = lambda request, _: {
            "error_code": 0 if request.body[2:] == b"OAUTHBEARER" else 33,
            "mechanisms": ["OAUTHBEARER"],
        }
        broker.handlers[SASL_AUTHENTICATE] = self.authenticate

    def authenticate(self, request: Request, _: asyncio.StreamWriter) -> Answer:
        start, *fields = request.body[4:].decode().split("\x01")
        assert start == "n,,"
        assert fields[-2:] == ["", ""]
        pairs = dict(field.split("=", 1) for field in fields[:-2])
        token = pairs.pop("auth").removeprefix("Bearer ")
        self.tokens.append(token)
        self.extensions = pairs
        if token in self.refused:
            return {"error_code": 0, "error_message": None, "auth_bytes": self.challenge}
        return {"error_code": 0, "error_message": None, "auth_bytes": b"", "session_lifetime": self.lifetime_ms}
