"""The API's description: it is OpenAPI, it has every route, and what it describes answers so."""

from __future__ import annotations

import re
from typing import Any

import aiohttp
import jsonschema
from aiohttp import web
from openapi_spec_validator import OpenAPIV31SpecValidator

from replicator.http.access import Access
from replicator.http.api import Api
from replicator.http.openapi import OPENAPI_PATH
from replicator.http.refusals import Refusals
from replicator.http.server import application
from replicator.http.service import WorkerFace
from replicator.verbs.table import VERBS
from replicator.views.table import VIEWS
from tests.http.conftest import Serving
from tests.http.world import World


async def described(client: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    async with client.get(url + OPENAPI_PATH) as answer:
        assert answer.status == 200
        found: dict[str, Any] = await answer.json()
        return found


def real() -> web.Application:
    """The server as it is, with all its views and verbs."""
    face = WorkerFace(World())
    return application(Api(face, VIEWS, VERBS), face, Access((), check_host=True), Refusals())


async def test_given_the_description_then_it_is_openapi_and_has_every_route(client: aiohttp.ClientSession) -> None:
    app = real()
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        document = await described(client, f"http://{host}:{port}")
    finally:
        await runner.cleanup()
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    routes = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    known = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert {route for route in routes if route[1].startswith(("/v1", "/metrics"))} - {("GET", OPENAPI_PATH)} == known
    assert {f"/v1/links/{{link}}/{verb}" for verb in VERBS} <= document["paths"].keys()
    names = [each["operationId"] for methods in document["paths"].values() for each in methods.values()]
    assert len(names) == len(set(names))


async def test_given_the_description_then_each_path_answers_as_it_says(
    world: World, serving: Serving, client: aiohttp.ClientSession
) -> None:
    url = await serving()
    document = await described(client, url)
    asked = 0
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            filled = re.sub(r"{link}", "us-to-eu", re.sub(r"{operation}", "none", path))
            body = {"json": {"all": True, "dry_run": True}} if method == "post" else {}
            async with client.request(method, url + filled, **body) as answer:
                assert str(answer.status) in operation["responses"], f"{method} {path}: {answer.status}"
                (kind,) = operation["responses"][str(answer.status)]["content"]
                assert answer.content_type == kind
                if kind == "application/json":
                    schema = operation["responses"][str(answer.status)]["content"][kind]["schema"]
                    jsonschema.validate(await answer.json(), {**schema, "components": document["components"]})
                asked += 1
    assert asked >= 10
