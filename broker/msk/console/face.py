"""The console's files and its way to the service.

Calls go to `/console/service/…`, below which all paths are the service's own: they run through the same checks,
authorization and audit log, as the account's root. Instead of a signature they show a token that is made at each start.
A page of somebody else's can't: the token is in a header of our own, and the Host header must name this machine.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

from aiohttp import web

from broker.msk.authentication import Authenticator, Signed
from broker.msk.console.monitoring import Monitoring
from broker.msk.errors import FrontDoorError, ServiceError
from broker.msk.registry import Caller
from broker.msk.replicators.park import Replicators
from replicator.http.page_files import PageFile, page_files

ROOT = "/console"
SERVICE = f"{ROOT}/service"
TOKEN_HEADER, REGION_HEADER = "X-Console-Token", "X-Console-Region"
DEFAULT_REGION = "us-east-1"
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

Serve = Callable[[web.Request, str, Authenticator], Awaitable[web.StreamResponse]]


class Console:
    """One console, with the token that opens it."""

    def __init__(self, account: str) -> None:
        self._token = secrets.token_urlsafe(24)
        self._caller = Caller(f"arn:aws:iam::{account}:root", account, "console")

    @property
    def path(self) -> str:
        """The page's address on the service's host. Browsers keep what is behind the `#` to themselves."""
        return f"{ROOT}/#token={self._token}"

    def add_to(self, app: web.Application, serve: Serve, replicators: Replicators) -> None:
        """Its routes; `serve` answers a request as the service would, for another path and another way to log in."""
        figures = Monitoring(time.monotonic)

        async def monitoring(request: web.Request) -> web.StreamResponse:
            try:
                _, region = self._check(request.headers)
                record = replicators.find(request.query.get("arn", ""), region)
            except ServiceError as error:
                problem = {"__type": error.type, "message": error.message}
                return web.json_response(problem, status=error.status, headers=_HEADERS)
            found = figures.read(record.arn, await replicators.metrics_of(record))
            return web.json_response(found, headers=_HEADERS)

        app.router.add_get(f"{ROOT}/monitoring", monitoring)
        app.router.add_get(ROOT, _redirect)
        for path, file in page_files(__package__ or "").items():
            app.router.add_get(ROOT + path, _handler(file))
        for path, file in page_files().items():
            if path != "/":
                app.router.add_get(f"{ROOT}/shared{path}", _handler(file))

        async def call(request: web.Request) -> web.StreamResponse:
            response = await serve(request, request.raw_path.removeprefix(SERVICE), self.authenticate)
            response.headers.update(_HEADERS)
            return response

        app.router.add_route("*", SERVICE + "/{path:.*}", call)

    def authenticate(self, request: Signed, now: datetime) -> tuple[Caller, str]:
        """Who shows the token is the account's root, in the region that the page is about. Raises FrontDoorError."""
        return self._check(request.headers)

    def _check(self, headers: Mapping[str, str]) -> tuple[Caller, str]:
        if not _is_here(headers.get("Host", "")):
            raise FrontDoorError("AccessDeniedException", "The console answers to names of this machine alone.", 403)
        shown = headers.get(TOKEN_HEADER, "")
        if not hmac.compare_digest(shown.encode(), self._token.encode()):
            raise FrontDoorError(
                "MissingAuthenticationTokenException",
                "The console's token is missing or that of an earlier start. Open the address that was printed.",
                403,
            )
        region = headers.get(REGION_HEADER, DEFAULT_REGION)
        if not _REGION.fullmatch(region):
            raise FrontDoorError("InvalidParameterException", "There is no such region.", 400)
        return self._caller, region


def _is_here(host: str) -> bool:
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    name = name.strip("[]")
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


async def _redirect(_request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound(f"{ROOT}/")


def _handler(file: PageFile) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handler(_request: web.Request) -> web.StreamResponse:
        return web.Response(text=file.text, content_type=file.kind, headers=_HEADERS)

    return handler
