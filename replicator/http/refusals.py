"""Requests that were refused: counted, and noted in the links' audit trails, but never so that noise drowns them.

For a link and an address there is at most one note a minute, and for a link at most ten: who asks a million times
makes no more than that. What came meanwhile is told with the next note. The trail itself keeps a hundred of them.
"""

from __future__ import annotations

import ipaddress
import queue
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from replicator.config.models import LinkConfig, Settings
from replicator.dr.desk import note_refusal
from replicator.errors import ReplicatorError
from replicator.telemetry import catalogue
from replicator.telemetry.prometheus import counter

log = structlog.get_logger(__name__)

NO_TOKEN, WRONG_TOKEN, ROLE, ORIGIN = WHYS = ("no token", "wrong token", "role", "origin")
EVERY_S = 60.0
NOTES_A_MINUTE = 10  # of one link
_ADDRESSES = 1_000  # that are remembered
_WAITING = 100  # notes that aren't written yet

Link = tuple[Settings, LinkConfig]
Note = Callable[[Settings, LinkConfig, str, str, str], None]


@dataclass(slots=True)
class _Known:
    """An address at one link: when there was a note, and how many refusals since."""

    noted_at: float
    since: int = 0


class Refusals(Collector):
    """Takes them from the event loop; a thread of its own writes the notes. Also the metric."""

    def __init__(self, note: Note = note_refusal, clock: Callable[[], float] = time.monotonic) -> None:
        self._note = note
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()
        self._notes: dict[str, list[float]] = {}  # link -> when there were notes, the last minute's
        self._waiting: queue.Queue[tuple[Link, str, str, str]] = queue.Queue(_WAITING)
        self._thread: threading.Thread | None = None

    def take(self, links: Iterable[Link], why: str, name: str, address: str, what: str) -> None:
        """Refused was `what` of `name` ("?" if nobody knows who) at `address`; `links` are those that it was about."""
        self._counts[why] += 1
        for link in links:
            since = self._due(link[1].name, _kin(address))
            if since is None:
                continue
            detail = why + (f"; {since} more from there since the last note" if since else "")
            try:
                self._waiting.put_nowait((link, f"api:{name}@{address}", what, detail))
            except queue.Full:
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="refusals", daemon=True)
                self._thread.start()

    def _due(self, link: str, address: str) -> int | None:
        """How many weren't told yet, if there is to be a note now."""
        now = self._clock()
        known = self._known.get((link, address))
        if known is not None and now - known.noted_at < EVERY_S:
            known.since += 1
            return None
        notes = [at for at in self._notes.get(link, ()) if now - at < EVERY_S]
        self._notes[link] = notes
        if len(notes) >= NOTES_A_MINUTE:
            return None
        notes.append(now)
        self._known[link, address] = _Known(now)
        self._known.move_to_end((link, address))
        while len(self._known) > _ADDRESSES:
            self._known.popitem(last=False)
        return known.since if known is not None else 0

    def _write(self) -> None:
        while True:
            (settings, link), by, what, detail = self._waiting.get()
            try:
                self._note(settings, link, by, what, detail)
            except ReplicatorError as error:
                log.warning("can't note a refused request", link=link.name, by=by, what=what, error=str(error))

    def collect(self) -> Iterable[Metric]:
        """The metric."""
        yield counter(catalogue.HTTP_REFUSED, [((why,), self._counts[why]) for why in WHYS])


def _kin(address: str) -> str:
    """Who has one IPv6 address has a whole network of them."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ipaddress.ip_network(f"{found}/64", strict=False)) if found.version == 6 else address
