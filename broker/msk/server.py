"""The HTTP face: REST-JSON as the AWS SDKs speak it.

A request is read (bounded in size and time), authenticated, matched to an operation, authorized, checked against the
operation's shape, answered, and recorded in the audit log, in this order: who mayn't ask doesn't learn what is wrong.
"""

from __future__ import annotations

import asyncio
import json
import logging
import urllib.parse
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

from broker.msk.audit import Event
from broker.msk.authentication import Authenticator, Signed
from broker.msk.authorization import Judge, needs, request_context, require, resource_of
from broker.msk.console.face import Console
from broker.msk.errors import BadRequest, FrontDoorError, InternalServerError, ServiceError
from broker.msk.model import Operation, service_model
from broker.msk.registry import HANDLERS, Call, Caller
from broker.msk.service import Service

log = logging.getLogger(__name__)
MAX_QUERY_FIELDS = 200
UNKNOWN = "Unknown"


@dataclass
class _Exchange:
    """What becomes known about a request while it is answered."""

    request_id: str
    operation: Operation | None = None
    caller: Caller | None = None
    region: str = ""
    parameters: Mapping[str, Any] | None = None
    answer: Mapping[str, Any] | None = None
    error: ServiceError | None = None
    labels: dict[str, str] = field(default_factory=dict)


class Server:
    """Answers requests for one service."""

    def __init__(
        self, service: Service, authenticator: Authenticator, judge: Judge, console: Console | None = None
    ) -> None:
        self._service = service
        self._console = console
        self._authenticate = authenticator
        self._judge = judge
        self._model = service_model()

    def app(self) -> web.Application:
        """The application, to be served by aiohttp."""
        app = web.Application()
        app.router.add_get("/health", self._health)
        if self._console is not None:
            self._console.add_to(app, self._serve, self._service.replicators)
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    async def _health(self, request: web.Request) -> web.Response:
        """Says that the control plane is up, to anybody: there is nothing else in it."""
        return web.json_response({"status": "ok"})

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, request.raw_path, self._authenticate)

    async def _serve(self, request: web.Request, raw_path: str, authenticate: Authenticator) -> web.StreamResponse:
        exchange = _Exchange(str(uuid.uuid4()))
        body: Mapping[str, Any] | None = None
        status = 200
        try:
            body, status = await self._answer(request, raw_path, authenticate, exchange)
        except ServiceError as error:
            exchange.error = error
        except OSError as error:
            log.error("request %s failed: %s", exchange.request_id, error)
            exchange.error = InternalServerError(f"What was asked can't be done: {error.strerror or error}")
        except Exception:
            log.exception(
                "request %s (%s %s) failed by a mistake of ours", exchange.request_id, request.method, request.path
            )
            exchange.error = InternalServerError(
                f"The control plane made a mistake. Look for request {exchange.request_id} in its log."
            )
        try:
            self._record(request, exchange)
        except OSError as error:
            log.error("a call can't be recorded in the audit log, so it fails: %s", error)
            exchange.error = InternalServerError(f"The call can't be recorded in the audit log: {error.strerror}")
        if exchange.error is not None:
            return _error_response(exchange.error, exchange.request_id)
        headers = {"x-amzn-RequestId": exchange.request_id}
        if status == 204:
            return web.Response(status=204, headers=headers)
        return web.json_response(body, status=status, headers=headers)

    async def _answer(
        self, request: web.Request, raw_path: str, authenticate: Authenticator, exchange: _Exchange
    ) -> tuple[Mapping[str, Any], int]:
        path, _, query_text = raw_path.partition("?")
        found = self._model.find(request.method, path)
        if found is not None:
            exchange.operation, exchange.labels = found
        content = await self._read(request)
        now = self._service.now()
        signed = Signed(request.method, path, query_text, request.headers, content)
        exchange.caller, exchange.region = authenticate(signed, now)
        if exchange.operation is None or exchange.operation.name not in HANDLERS:
            raise FrontDoorError("UnknownOperationException", f"There is no {request.method} {path} here.", 404)
        query, body = _query(query_text), _body(content)
        further = self._authorize(request, exchange, query, body)
        exchange.parameters = exchange.labels | body
        arguments = exchange.operation.read(exchange.labels, query, body)
        exchange.parameters = arguments
        call = Call(
            operation=exchange.operation.name,
            input=arguments,
            caller=exchange.caller,
            region=exchange.region,
            now=now,
            request_id=exchange.request_id,
            service=self._service,
            require=further,
        )
        answer = await HANDLERS[exchange.operation.name](call)
        exchange.answer = exchange.operation.write(answer)
        return exchange.answer, exchange.operation.status

    async def _read(self, request: web.Request) -> bytes:
        limit = self._service.settings.max_body_bytes
        too_large = FrontDoorError(
            "RequestEntityTooLargeException",
            f"The body is larger than {limit} bytes, which is more than any call needs.",
            413,
        )
        if (request.content_length or 0) > limit:
            raise too_large
        out = bytearray()
        try:
            async with asyncio.timeout(self._service.settings.body_timeout_s):
                async for chunk in request.content.iter_any():
                    out += chunk
                    if len(out) > limit:
                        raise too_large
        except TimeoutError:
            raise FrontDoorError("RequestTimeoutException", "The body didn't arrive in time.", 408) from None
        return bytes(out)

    def _authorize(
        self, request: web.Request, exchange: _Exchange, query: Mapping[str, list[str]], body: Mapping[str, Any]
    ) -> Callable[[str, str], None]:
        """Raise FrontDoorError unless the caller may; give what decides about further actions of the same caller."""
        assert exchange.caller is not None
        assert exchange.operation is not None
        caller, resource = exchange.caller, resource_of(exchange.labels)

        def allowed(action: str, target: str, about: str) -> None:
            context = request_context(
                caller=caller,
                now=self._service.now(),
                source_address=request.remote or "",
                secure=request.secure,
                user_agent=request.headers.get("User-Agent", ""),
                body=body,
                query=query,
                resource_tags=self._service.tags_of(about),
            )
            require(self._judge, caller, action, target, context, self._service.policy_of(about))

        for action, target in needs(
            exchange.operation.name, exchange.labels, body, exchange.region, exchange.caller.account
        ):
            allowed(action, target, resource if action.startswith("kafka-cluster:") else target)
        return lambda action, target: allowed(action, target, target)

    def _record(self, request: web.Request, exchange: _Exchange) -> None:
        event = Event(
            moment=self._service.now(),
            operation=exchange.operation.name if exchange.operation else UNKNOWN,
            region=exchange.region,
            request_id=exchange.request_id,
            source_address=request.remote or "",
            user_agent=request.headers.get("User-Agent", ""),
            caller=exchange.caller,
            parameters=exchange.parameters,
            answer=exchange.answer,
        )
        if exchange.error is not None:
            event = replace(event, error=(exchange.error.type.removesuffix("Exception"), exchange.error.message))
        self._service.audit.write(event)


def _query(text: str) -> dict[str, list[str]]:
    try:
        return urllib.parse.parse_qs(text, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError:
        raise BadRequest("The query has too many fields.") from None


def _body(content: bytes) -> dict[str, Any]:
    if not content.strip():
        return {}
    try:
        value = json.loads(content, parse_constant=_no_constants)
    except (ValueError, RecursionError):
        raise BadRequest("Invalid request body") from None
    if not isinstance(value, dict):
        raise BadRequest("Invalid request body")
    return value


def _no_constants(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _error_response(error: ServiceError, request_id: str) -> web.Response:
    body = {"__type": error.type, "message": error.message}
    if error.invalid_parameter is not None:
        body["invalidParameter"] = error.invalid_parameter
    return web.json_response(
        body, status=error.status, headers={"x-amzn-RequestId": request_id, "x-amzn-ErrorType": error.type}
    )
