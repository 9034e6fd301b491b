"""Reads views for all who ask: each at most once a second, in threads, encoded where nobody waits for it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from replicator.config.explain import nearest
from replicator.config.models import LinkConfig, Settings
from replicator.errors import ConfigurationError
from replicator.http.once import Shared
from replicator.http.threads import Threads
from replicator.verbs.verb import what_is_wrong
from replicator.views.view import View

Link = tuple[Settings, LinkConfig]

_THREADS = 8
_SLOW_THREADS = 4


class UnknownLinkError(ConfigurationError):
    """There is no link of this name; the message names the nearest."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A view as it was `at_ms`: for us, and as it goes over the wire."""

    value: Any
    body: bytes
    at_ms: int
    took_s: float


class Reader:
    """`links` are those that there are now, by name."""

    def __init__(self, links: Callable[[], Mapping[str, Link]]) -> None:
        self._links = links
        self._shared: Shared[Answer] = Shared()
        self._threads = Threads(_THREADS)
        self._slow = Threads(_SLOW_THREADS)

    def links(self) -> Mapping[str, Link]:
        """All links."""
        return self._links()

    def link(self, name: str) -> Link:
        """One of them."""
        links = self._links()
        try:
            return links[name]
        except KeyError:
            known = ", ".join(links) or "none"
            raise UnknownLinkError(f"there is no link {name[:100]!r}{nearest(name, links)} (known: {known})") from None

    async def read(self, view: View[Any], name: str, asked: Mapping[str, str] | None = None) -> Answer:
        """The view of this link; ReplicatorError if it can't be read, or makes no sense."""
        settings, link = self.link(name)
        try:
            query = view.query.model_validate(dict(asked or {}))
        except ValidationError as error:
            raise ConfigurationError(what_is_wrong(error)) from None

        def work() -> Answer:
            began = time.monotonic()
            at_ms = int(time.time() * 1000)
            value = view.read(settings, link, query)
            return Answer(value, encode(value), at_ms, time.monotonic() - began)

        threads = self._slow if view.slow else self._threads
        return await self._shared.get((view.name, name, query), lambda: threads.run(work))

    async def run(self, call: Callable[[], Any]) -> Any:
        """Something else that blocks."""
        return await self._threads.run(call)


def encode(value: object) -> bytes:
    """As it goes over the wire."""
    return json.dumps(value, default=str, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")
