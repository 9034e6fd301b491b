"""The HTTP side of a worker or a parent: `/metrics`, `/healthz`, `/readyz`, `/v1/status`, and a page at `/`.

`/healthz` and the code of `/readyz` are open to everybody, because probes have no secrets; data needs the token, if
there is one. Requests have no body worth reading: anything above 64 KiB is refused.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
from aiohttp import web

from replicator.errors import ConfigurationError, ReplicatorError
from replicator.http.access import Access, is_loopback
from replicator.http.page_files import add_page
from replicator.http.service import Face, Service, WorkerFace
from replicator.telemetry.prometheus import CONTENT_TYPE

log = structlog.get_logger(__name__)

_MAX_BODY_BYTES = 64 << 10
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "Server": "replicator",
    "X-Content-Type-Options": "nosniff",
}

_STATUS_AGE_S = 1.0  # a status reads both clusters; many open pages must not do so many times

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def serve(
    service: Service | Face,
    address: str,
    token: str | None = None,
    *,
    cert_file: str | None = None,
    key_file: str | None = None,
    metrics_partitions: int | None = None,
) -> web.AppRunner:
    """Serve on `host:port` or `unix:/path` until the runner's `cleanup()`; port 0 lets the system choose.

    A unix socket needs neither token nor TLS: who may open it is a matter of its directory's permissions.
    ConfigurationError if the address can't be had, or isn't loopback and there's no token.
    """
    if address.startswith("unix:"):
        token = cert_file = None
    if not token and not is_loopback(address):
        raise ConfigurationError(f"service.http {address} can be reached from other machines: set service.token")
    tls = _tls(cert_file, key_file)
    face: Face = WorkerFace(service, metrics_partitions) if isinstance(service, Service) else service
    runner = web.AppRunner(
        application(face, token, check_host=not address.startswith("unix:")),
        access_log=None,
        handle_signals=False,
        shutdown_timeout=1.0,
        keepalive_timeout=30.0,
    )
    await runner.setup()
    try:
        await _site(runner, address, tls).start()
    except OSError as error:
        await runner.cleanup()
        raise ConfigurationError(
            f"service.http {address}: can't listen there: {error.strerror or error}; is another worker running?"
        ) from error
    log.info("serving", address=urls(runner)[0] if urls(runner) else address)
    return runner


def urls(runner: web.AppRunner) -> list[str]:
    """Where the runner can be reached, with the ports that the system chose."""
    found: list[str] = []
    for site, address in zip(runner.sites, runner.addresses, strict=False):
        scheme = "https" if site.name.startswith("https") else "http"
        if isinstance(address, str):
            found.append(f"unix:{address}")
        else:
            host = f"[{address[0]}]" if ":" in address[0] else address[0]
            found.append(f"{scheme}://{host}:{address[1]}")
    return found


def application(face: Face, token: str | None, *, check_host: bool = True) -> web.Application:
    """The routes, without a socket."""
    access = Access(token, check_host=check_host)

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not access.host_allowed(request):
            return _problem(421, "this name isn't served here; use localhost or 127.0.0.1")
        try:
            response = await handler(request)
        except web.HTTPException as error:
            response = _problem(error.status, error.reason)
        except ReplicatorError as error:
            log.warning("request failed", path=request.path, error=str(error))
            response = _problem(503, str(error))
        response.headers.update(_HEADERS)
        return response

    def data(handler: Handler) -> Handler:
        async def checked(request: web.Request) -> web.StreamResponse:
            if not access.authorized(request):
                response = _problem(401, "a bearer token is needed: Authorization: Bearer …")
                response.headers["WWW-Authenticate"] = "Bearer"
                return response
            return await handler(request)

        return checked

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=await face.metrics(), headers={"Content-Type": CONTENT_TYPE})

    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"alive": True})

    async def readyz(request: web.Request) -> web.Response:
        ready, reasons = await face.ready()
        shown = {"reasons": reasons} if access.authorized(request) else {}
        return web.json_response({"ready": ready, **shown}, status=200 if ready else 503)

    cached_status = OneAtATime(face.status)

    async def status(_request: web.Request) -> web.Response:
        return web.json_response(await cached_status(), dumps=_dumps)

    app = web.Application(middlewares=[guard], client_max_size=_MAX_BODY_BYTES)
    app.router.add_get("/metrics", data(metrics))
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/v1/status", data(status))
    add_page(app.router)
    return app


class OneAtATime:
    """Calls `ask` once for all who wait for it, and not again while its answer is younger than a second."""

    def __init__(
        self, ask: Callable[[], Awaitable[dict[str, object]]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._lock = asyncio.Lock()
        self._answer: dict[str, object] | None = None
        self._at = 0.0

    async def __call__(self) -> dict[str, object]:
        async with self._lock:
            if self._answer is None or self._clock() - self._at >= _STATUS_AGE_S:
                self._answer = await self._ask()
                self._at = self._clock()
            return self._answer


def _dumps(value: object) -> str:
    return json.dumps(value, default=str, separators=(",", ":"))


def _problem(status: int, text: str) -> web.Response:
    return web.json_response({"error": text}, status=status)


def _site(runner: web.AppRunner, address: str, tls: ssl.SSLContext | None) -> web.BaseSite:
    if address.startswith("unix:"):
        path = Path(address.removeprefix("unix:"))
        if path.is_socket() and not _answers(path):
            path.unlink()  # left behind by a process that was killed
        return web.UnixSite(runner, os.fspath(path), ssl_context=tls)
    host, _, port = address.rpartition(":")
    return web.TCPSite(runner, host.strip("[]"), int(port), ssl_context=tls, reuse_address=True)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return False
    return True


def _tls(cert_file: str | None, key_file: str | None) -> ssl.SSLContext | None:
    if cert_file is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert_file, key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"service.cert_file {cert_file}: can't be used: {error}") from error
    return context
