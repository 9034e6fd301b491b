"""The HTTP side of a worker or a parent: `/metrics`, `/healthz`, `/readyz`, the API `/v1`, and a page at `/`.

`/healthz` and the code of `/readyz` are open to everybody, because probes have no secrets; data needs a token, if
there are any, and orders one whose role allows them. Bodies are small: anything above 64 KiB is refused.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from replicator.errors import ConfigurationError, ReplicatorError
from replicator.http.access import Access, Principal, Role, Token, is_loopback
from replicator.http.api import Api
from replicator.http.gate import Gate
from replicator.http.openapi import OPENAPI_PATH, describe
from replicator.http.page_files import add_page
from replicator.http.problems import json_answer, problem, problem_of
from replicator.http.reader import encode
from replicator.http.refusals import Refusals
from replicator.http.route import Route
from replicator.http.service import Face, Service, WorkerFace
from replicator.telemetry.prometheus import CONTENT_TYPE
from replicator.verbs.table import VERBS
from replicator.verbs.verb import Verb
from replicator.views.table import VIEWS
from replicator.views.view import View

log = structlog.get_logger(__name__)

_MAX_BODY_BYTES = 64 << 10
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "Server": "replicator",
    "X-Content-Type-Options": "nosniff",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def serve(
    service: Service | Face,
    address: str,
    token: str | None = None,
    *,
    tokens: Sequence[Token] = (),
    cert_file: str | None = None,
    key_file: str | None = None,
    metrics_partitions: int | None = None,
    views: Mapping[str, View[Any]] = VIEWS,
    verbs: Mapping[str, Verb[Any]] = VERBS,
    refusals: Refusals | None = None,
) -> web.AppRunner:
    """Serve on `host:port` or `unix:/path` until the runner's `cleanup()`; port 0 lets the system choose.

    `token` is one that may do everything. A unix socket needs neither tokens nor TLS: who may open it is a matter of
    its directory's permissions. ConfigurationError if the address can't be had, or isn't loopback and there's no token.
    """
    known = [*tokens, *([Token.of("token", token)] if token else [])]
    if address.startswith("unix:"):
        known, cert_file = [], None
    if not known and not is_loopback(address):
        raise ConfigurationError(f"service.http {address} can be reached from other machines: set service.token")
    tls = _tls(cert_file, key_file)
    face: Face = WorkerFace(service, metrics_partitions) if isinstance(service, Service) else service
    runner = web.AppRunner(
        application(
            Api(face, views, verbs),
            face,
            Access(known, check_host=not address.startswith("unix:")),
            refusals or Refusals(),
        ),
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


def application(api: Api, face: Face, access: Access, refusals: Refusals) -> web.Application:
    """The routes, without a socket."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not access.host_allowed(request):
            return problem(421, "this name isn't served here; use localhost or 127.0.0.1")
        try:
            return await handler(request)
        except web.HTTPException as error:
            return problem(error.status, error.reason)
        except ReplicatorError as error:
            log.warning("request failed", path=request.path, error=str(error))
            return problem_of(error)

    async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(_HEADERS)

    async def readyz(request: web.Request) -> web.Response:
        ready, reasons = await face.ready()
        shown = {"reasons": reasons} if access.who(request) is not None else {}
        return web.json_response({"ready": ready, **shown}, status=200 if ready else 503)

    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"alive": True})

    async def metrics(_request: web.Request, _who: Principal) -> web.Response:
        body = await face.metrics() + (generate_latest(own) if access.guards else b"")
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    own = CollectorRegistry(auto_describe=False)
    own.register(refusals)
    app = web.Application(middlewares=[guard], client_max_size=_MAX_BODY_BYTES)
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(lambda _app: api.stop())
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    routes = [Route("GET", "/metrics", Role.VIEW, metrics, "Prometheus' text format.", "text/plain"), *api.routes()]
    described = encode(describe(routes))

    async def description(_request: web.Request, _who: Principal) -> web.Response:
        return json_answer(described)

    routes.append(Route("GET", OPENAPI_PATH, Role.VIEW, description, "", dict[str, Any]))
    gate = Gate(access, refusals, api.reader)
    for route in routes:
        app.router.add_route(route.method, route.path, gate.guarded(route))
    add_page(app.router)
    return app


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
