"""What a route is: a path, who may use it, and what its description says. Server and description read one table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from replicator.http.access import Principal, Role

Handle = Callable[[web.Request, Principal], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """`role` None: open to everybody. `answer` is the type of the JSON that comes with `status`, or a content type for
    what isn't JSON; `problems` are the other status codes, beside those that every route has."""

    method: str
    path: str
    role: Role | None
    handle: Handle
    summary: str
    answer: Any
    status: int = 200
    also: Mapping[int, Any] = field(default_factory=dict)  # other answers that aren't problems
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    problems: tuple[int, ...] = ()
