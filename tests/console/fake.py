"""A made-up service: the console's real files with the real headers, and the API's answers from a `world`."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, Self

from aiohttp import web

from replicator.http import server
from replicator.http.page_files import add_page
from tests.console.world import LinkWorld, clock, differences, iso, obstacles

_START_TIMEOUT_S = 10.0
_STEPS = [
    "{link}: the status was saved to failover-{link}.json",
    "{link}: from now on nothing is copied",
    "{link}: {n} of {n} partitions have stopped",
    "{link}: 24 positions of 4 groups were brought up to the end",
]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Fake:
    """Runs in a thread of its own: a context manager. `token`, `role` and `up` may change while it runs."""

    def __init__(self, links: list[LinkWorld], *, token: str | None = None, role: str = "operate") -> None:
        self.links = {link.name: link for link in links}
        self.token = token
        self.role = role
        self.up = True
        self.events_s = 1.0
        self.line_s = 0.15  # between two lines of an operation
        self.orders: list[dict[str, Any]] = []
        self.url = ""
        self.listeners = 0  # of events, now
        self.asked = 0  # how often views of a link were asked for
        self._operations: dict[str, dict[str, Any]] = {}
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(_START_TIMEOUT_S)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._stop is not None
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_START_TIMEOUT_S)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = "http://{}:{}".format(*runner.addresses[0][:2])
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    def _application(self) -> web.Application:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            response = self._refusal(request) or await self._answer(request, handler)
            if not response.prepared:
                response.headers.update(server._HEADERS)
            return response

        app = web.Application(middlewares=[guard])
        add_page(app.router)
        get, views = app.router.add_get, "/v1/links/{link}/{view}"
        get("/v1/me", self._me)
        get("/v1/links", self._all)
        get("/v1/events", self._events)
        get("/v1/openapi.json", self._description)
        get("/v1/operations", self._operation_list)
        get("/v1/operations/{id}", self._operation)
        get("/v1/operations/{id}/snapshot", self._snapshot)
        get("/v1/links/{link}", self._view)
        get(views, self._view)
        app.router.add_post(views, self._verb)
        return app

    def _refusal(self, request: web.Request) -> web.StreamResponse | None:
        if not request.path.startswith("/v1/"):
            return None
        if not self.up:
            if request.transport is not None:
                request.transport.close()
            return _json({"error": "down"}, 503)
        if self.token is not None and request.headers.get("Authorization") != f"Bearer {self.token}":
            return _json({"error": "a bearer token is needed: Authorization: Bearer …", "exit_code": 2}, 401)
        if request.method == "POST" and self.role != "operate":
            return _json({"error": "token ci has the role view", "exit_code": 2}, 403)
        link = request.match_info.get("link")
        if link is not None and link not in self.links:
            near = min(self.links, default="")
            return _json({"error": f"there is no link {link!r}; did you mean {near}?", "exit_code": 2}, 404)
        return None

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _json({"error": error.reason}, error.status)

    async def _me(self, _request: web.Request) -> web.StreamResponse:
        return _json({"name": "ci" if self.token else "local", "role": self.role})

    async def _description(self, _request: web.Request) -> web.StreamResponse:
        common = {key: {"type": "string"} for key in ("topic", "all", "why", "dry_run", "confirm")}
        body = {"properties": {**common, "speed": {"type": "integer", "description": "Bytes per second", "default": 9}}}
        schema = {"$ref": "#/components/schemas/VerifyBody"}
        verify = {
            "summary": "Compare both sides.",
            "requestBody": {"content": {"application/json": {"schema": schema}}},
        }
        drill = {
            "summary": "Move a canary.",
            "requestBody": {"content": {"application/json": {"schema": {"properties": common, "x-whole-link": True}}}},
        }
        verbs = {"verify": verify, "drill": drill, "pause": {}}
        paths = {f"/v1/links/{{link}}/{verb}": {"post": about} for verb, about in verbs.items()} | {"/v1/me": {}}
        return _json({"paths": paths, "components": {"schemas": {"VerifyBody": body}}})

    async def _snapshot(self, request: web.Request) -> web.StreamResponse:
        return _json({"link": self._operations[request.match_info["id"]]["link"], "losses": []})

    def _summaries(self) -> dict[str, Any]:
        links = [link.summary(link.status()) for link in self.links.values()]
        return {"at": int(clock() * 1000), "links": links}

    async def _all(self, _request: web.Request) -> web.StreamResponse:
        return _json(self._summaries())

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={**server._HEADERS, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        assert self._stop is not None
        self.listeners += 1
        while self.up and not self._stop.is_set():
            event = f": {iso(time.time())}\n\nevent: links\ndata: {json.dumps(self._summaries())}\n\n"
            try:
                await response.write(event.encode())
            except ConnectionResetError:  # the page is gone
                break
            for _ in range(round(self.events_s / 0.05)):
                if self.up:
                    await asyncio.sleep(0.05)
        self.listeners -= 1
        if request.transport is not None:
            request.transport.close()
        return response

    async def _view(self, request: web.Request) -> web.StreamResponse:
        link = self.links[request.match_info["link"]]
        view = request.match_info.get("view", "")
        self.asked += 1
        query = request.query
        if view in ("", "lag"):
            return _json(link.status())
        if view == "failover":
            return _json(link.outlook())
        if view == "translate":
            there = {"cluster": link.target, "topic": f"{link.source}.{query['topic']}"}
            to = {**there, "partition": int(query["partition"]), "offset": int(query["offset"]) + 3}
            return _json({"link": link.name, "to": to, "exact": True, "error_bound": 0, "where": "inside"})
        if view == "groups":
            rows = [row for row in link.group_rows() if query.get("group") in (None, row["group"])]
            head = {"name": link.name, "source": link.source, "target": link.target, "synced": True}
            return _json({**head, "groups": rows, "held": []})
        found = obstacles(link)
        answers = {
            "topics": {"name": link.name, "topics": link.topic_rows()},
            "workers": {"name": link.name, "workers": link.worker_rows()},
            "differences": differences(link),
            "audit": {"audit": link.audit},
            "ready": {"link": link.name, "ready": not found, "obstacles": found},
        }
        return _json(answers[view]) if view in answers else _json({"error": "Not Found"}, 404)

    async def _verb(self, request: web.Request) -> web.StreamResponse:
        link, verb, body = self.links[request.match_info["link"]], request.match_info["view"], await request.json()
        self.orders.append({"verb": verb, **body})
        many = len(link.status()["partitions"])
        if body.get("dry_run"):
            said = f"{many} partitions: {verb}."
            places = [[row["topic"], row["partition"]] for row in link.status()["partitions"]]
            return _json({"link": link.name, "partitions": places, "consequence": said, "dry_run": True})
        if body.get("confirm") != link.name:
            return _json({"error": f"confirm must be {link.name}: …", "exit_code": 2}, 400)
        made = f"{len(self._operations):08d}-0000-4000-8000-000000000000"
        lines = [step.format(link=link.name, n=many) for step in _STEPS]
        self._operations[made] = {
            "began": time.time(), "verb": verb, "link": link.name, "lines": lines, "arguments": body,
            "outlook": link.outlook(),
        }  # fmt: skip
        return _json({"operation": made}, 202)

    def _shown(self, made: str) -> dict[str, Any]:
        held = self._operations[made]
        done = min(len(held["lines"]), int((time.time() - held["began"]) / self.line_s))
        ended = done == len(held["lines"])
        steps = {"snapshot": 41, "wanted": 96, "stopped": 1210, "groups": 1540}
        outlook = held["outlook"]
        result = {
            "link": held["link"], "losses": outlook["losses"], "lost_records": outlook["lost_records"],
            "unknown_partitions": outlook["unknown_partitions"], "source_seen": outlook["source_seen"],
            "source_error": outlook["source_error"], "snapshot": f"failover-{held['link']}.json",
            "groups": {"groups": 4, "moved": 24}, "waiting": 0, "took_ms": 1544, "steps": steps,
        }  # fmt: skip
        return {
            "id": made,
            "link": held["link"],
            "verb": held["verb"],
            "by": "api:local@127.0.0.1",
            "arguments": held["arguments"],
            "started": iso(held["began"]),
            "ended": iso(held["began"] + 2) if ended else None,
            "state": "done" if ended else "running",
            "lines": held["lines"][:done],
            "result": result if ended else None,
            "error": None,
            "exit_code": 0 if ended else None,
        }

    async def _operation_list(self, _request: web.Request) -> web.StreamResponse:
        return _json({"operations": [self._shown(made) for made in reversed(self._operations)]})

    async def _operation(self, request: web.Request) -> web.StreamResponse:
        made = request.match_info["id"]
        if made not in self._operations:
            return _json({"error": f"there is no operation {made}"}, 404)
        return _json(self._shown(made))


def _json(found: dict[str, Any], status: int = 200) -> web.StreamResponse:
    return web.json_response(found, status=status, dumps=lambda value: json.dumps(value, separators=(",", ":")))
