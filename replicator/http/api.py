"""The API `/v1`: views of links, events, and verbs. Everything in it stands in the table `routes`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from replicator.errors import ConfigurationError
from replicator.http.access import Principal, Role
from replicator.http.operations import OperationRow, OperationsDesk, OperationShape
from replicator.http.orders import body_model, read_order
from replicator.http.problems import json_answer, problem
from replicator.http.reader import Reader, encode
from replicator.http.route import Route
from replicator.http.service import Face
from replicator.http.summary import Summary
from replicator.http.watch import Links, TooManyError, Watch
from replicator.ledger.status import LinkStatus
from replicator.verbs.verb import Verb
from replicator.views.view import View

PATIENCE_S = 10.0  # for a listener that doesn't read


class Me(TypedDict):
    """Who asks, as far as the token tells, and the names of the links; `ways_back` are those with `reverse_of`."""

    name: str
    role: str
    links: list[str]
    ways_back: list[str]


class Statuses(TypedDict):
    """All links, with every partition."""

    links: list[LinkStatus]


class Summaries(TypedDict):
    """All links from afar; `at` is now, in ms since 1970."""

    at: int
    links: list[Summary]


class Started(TypedDict):
    """The id of an operation that has begun."""

    operation: str


class Operations(TypedDict):
    """Those that this process remembers, the newest first."""

    operations: list[OperationRow]


class Copied(TypedDict):
    """What this address' workers have copied so far, of one link."""

    records: int
    bytes: int


class After(BaseModel, extra="forbid"):
    """Which lines."""

    after: int = Field(default=0, ge=0, description="Leave out so many lines of progress: they are known already.")


class Api:
    """One server's. `views` and `verbs` are the tables that it offers."""

    def __init__(self, face: Face, views: Mapping[str, View[Any]], verbs: Mapping[str, Verb[Any]]) -> None:
        self._face = face
        self._views = views
        self._verbs = verbs
        self.reader = Reader(face.links)
        self._links = Links(self.reader, views[""], face.counts)
        self._watch = Watch(self._links)
        self._operations = OperationsDesk()

    async def stop(self) -> None:
        """End what listens. Operations go on until the process ends."""
        await self._watch.stop()

    def routes(self) -> list[Route]:
        """All of them."""
        view = Role.VIEW
        return [
            Route("GET", "/v1/me", view, self._me, "Who you are, and which links there are.", Me),
            Route("GET", "/v1/status", view, self._statuses, "All links, with every partition.", Statuses,
                  problems=(503,)),
            Route("GET", "/v1/links", view, self._summaries, "All links from afar.", Summaries),
            Route("GET", "/v1/events", view, self._events,
                  "Server-Sent Events: about every second one `event: links` with what `/v1/links` answers. Who reads "
                  "too slowly misses some; who doesn't read at all is dropped.", "text/event-stream", problems=(503,)),
            *(self._view_route(each) for each in self._views.values()),
            *(self._verb_route(each) for each in self._verbs.values()),
            Route("GET", "/v1/operations", view, self._list, "What was begun here, the newest first.", Operations),
            Route("GET", "/v1/operations/{operation}", view, self._operation, "How far one of them is.",
                  OperationShape, query=After, problems=(404,)),
            Route("GET", "/v1/operations/{operation}/snapshot", view, self._snapshot,
                  "What it has saved to a file: the status of a failover, the audit trail of a link that is removed.",
                  dict[str, Any], problems=(404,)),
            Route("GET", "/v1/counts", view, self._counts, "What this address' workers have copied so far.",
                  dict[str, Copied]),
        ]  # fmt: skip

    def _view_route(self, view: View[Any]) -> Route:
        async def handle(request: web.Request, _: Principal) -> web.Response:
            return json_answer((await self.reader.read(view, request.match_info["link"], _asked(request))).body)

        path = "/v1/links/{link}" + (f"/{view.name}" if view.name else "")
        problems = (400, 404, 409, 503)
        return Route("GET", path, Role.VIEW, handle, view.summary, view.answer, query=view.query, problems=problems)

    def _verb_route(self, verb: Verb[Any]) -> Route:
        model = body_model(verb)

        async def handle(request: web.Request, who: Principal) -> web.Response:
            settings, link = self.reader.link(request.match_info["link"])
            order, body = await read_order(request, verb, model)
            meant = body.confirm == link.name
            if meant and not body.dry_run:
                self._operations.refuse_second(link.name)
            look = body.dry_run or verb.looks_first
            found = await self.reader.run(lambda: verb.ahead(settings, link, order)) if look else None
            consequence = verb.consequence([found] if found is not None else [], order)
            if body.dry_run:
                return json_answer(encode({**(found or {}), "dry_run": True, "consequence": consequence}))
            if not meant:
                raise ConfigurationError(f"`confirm` must be the link's name, {link.name!r}: {consequence}")
            if found is not None:
                verb.check(found, order)
            by = f"api:{who.name}@{request.remote or 'socket'}"
            operation = self._operations.start(settings, link, verb, order, found, by)
            return json_answer(encode({"operation": operation.id}), 202)

        path = f"/v1/links/{{link}}/{verb.name}"
        problems = (400, 404, 409, 415, 503)
        return Route("POST", path, Role.OPERATE, handle, verb.summary, Started, 202,
                     {200: dict[str, Any]}, body=model, problems=problems)  # fmt: skip

    async def _me(self, _: web.Request, who: Principal) -> web.Response:
        links = self._face.links()
        back = [name for name, (_, link) in links.items() if link.reverse_of is not None]
        return json_answer(encode({"name": who.name, "role": who.role.value, "links": list(links), "ways_back": back}))

    async def _statuses(self, _: web.Request, who: Principal) -> web.Response:
        names = list(self._face.links())
        found = await asyncio.gather(*(self.reader.read(self._views[""], name) for name in names))
        return json_answer(b'{"links":[' + b",".join(each.body for each in found) + b"]}")

    async def _summaries(self, _: web.Request, who: Principal) -> web.Response:
        return json_answer(self._links.event_data(await self._links.all()))

    async def _events(self, request: web.Request, who: Principal) -> web.StreamResponse:
        try:
            async with self._watch.listen() as following:
                response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
                await response.prepare(request)
                while True:
                    await asyncio.wait_for(response.write(await following()), PATIENCE_S)
        except TooManyError as error:
            return problem(503, str(error), error.exit_code)
        except (ConnectionError, TimeoutError):
            if request.transport is not None:
                request.transport.abort()  # nobody reads what is still to be sent
            return response

    async def _list(self, _: web.Request, who: Principal) -> web.Response:
        return json_answer(encode({"operations": self._operations.rows()}))

    async def _operation(self, request: web.Request, who: Principal) -> web.Response:
        operation = self._operations.get(request.match_info["operation"])
        after = request.query.get("after", "0")
        if operation is None:
            return problem(404, "no such operation here: it ran elsewhere, or long ago; see the audit trail")
        if not after.isascii() or not after.isdigit() or len(after) > 9:
            raise ConfigurationError(f"after: {after[:20]!r} isn't a number of lines")
        return json_answer(encode(operation.shape(int(after))))

    async def _snapshot(self, request: web.Request, who: Principal) -> web.Response:
        operation = self._operations.get(request.match_info["operation"])
        if operation is None or operation.snapshot is None or not self._verbs[operation.verb].saves:
            return problem(404, "there is no such snapshot here")
        try:
            return json_answer(await self.reader.run(operation.snapshot.read_bytes))
        except OSError:
            return problem(404, "there is no such snapshot here (any more)")

    async def _counts(self, _: web.Request, who: Principal) -> web.Response:
        counts = await self._face.counts()
        return json_answer(encode({link: {"records": one[0], "bytes": one[1]} for link, one in counts.items()}))


def _asked(request: web.Request) -> dict[str, str]:
    return dict(request.query.items())
