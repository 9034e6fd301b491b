"""What every request to a route passes: who asks, whether they may, and whether it is meant for us."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from replicator.http.access import Access, comes_from_elsewhere
from replicator.http.problems import problem
from replicator.http.reader import Reader
from replicator.http.refusals import NO_TOKEN, ORIGIN, ROLE, WRONG_TOKEN, Refusals
from replicator.http.route import Route

_SHOWN = 200  # characters of a path

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Gate:
    """What is refused is counted, and noted in the trail of the link that it was about, or of all."""

    def __init__(self, access: Access, refusals: Refusals, reader: Reader) -> None:
        self._access = access
        self._refusals = refusals
        self._reader = reader

    def guarded(self, route: Route) -> Handler:
        """The route's handler, behind the gate."""
        role = route.role

        async def checked(request: web.Request) -> web.StreamResponse:
            who = self._access.who(request)
            if who is None:
                given = "Authorization" in request.headers
                self._note(request, WRONG_TOKEN if given else NO_TOKEN, "?")
                response = problem(401, "a bearer token is needed: Authorization: Bearer …")
                response.headers["WWW-Authenticate"] = "Bearer"
                return response
            if role is not None and not who.may(role):
                self._note(request, ROLE, who.name)
                return problem(403, f"{who.name} may only {who.role.value}: this needs the role {role.value}")
            if route.method == "POST":
                if comes_from_elsewhere(request):
                    self._note(request, ORIGIN, who.name)
                    return problem(403, "this comes from the page of another site")
                if request.content_type != "application/json":
                    return problem(415, "send JSON, with the header Content-Type: application/json")
            return await route.handle(request, who)

        return checked

    def _note(self, request: web.Request, why: str, name: str) -> None:
        links = self._reader.links()
        named = request.match_info.get("link")
        about = list(links.values()) if named is None else [links[named]] if named in links else []
        what = f"{request.method} {request.path[:_SHOWN]!a}"
        self._refusals.take(about, why, name, request.remote or "socket", what)
