"""A server whose links, views and verbs are made up: what tests of the API itself need."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from replicator.config.models import ClusterConfig, LinkConfig, Settings
from replicator.errors import UnreachableError, WrongStateError
from replicator.ledger.status import LinkStatus, PartitionStatus
from replicator.telemetry.counters import PartitionCounters, WorkerCounters
from replicator.verbs.verb import Hand, Order, Row, Verb
from replicator.views.view import Query, View

LINKS = ("us-to-eu", "eu-to-ap")
SETTINGS = Settings(
    clusters={alias: ClusterConfig(bootstrap_servers="127.0.0.1:1") for alias in ("us", "eu", "ap")},
    links=tuple(LinkConfig(name=name, source=name[:2], target=name[-2:]) for name in LINKS),
)


class World:
    """Looks at its own fields: how far the link is, what is broken. `looked` counts looks, by link."""

    def __init__(self) -> None:
        self.next = 10
        self.error: Exception | None = None
        self.looked: dict[str, int] = {}
        self.may_end = threading.Event()  # what a verb waits for
        self.may_end.set()
        self.orders: list[tuple[str, Order, Hand]] = []

    def ready(self) -> tuple[bool, list[str]]:
        return True, []

    def counters(self) -> WorkerCounters:
        part = PartitionCounters(link=LINKS[0], topic="orders", partition=0, records=self.next, bytes=self.next * 100)
        return WorkerCounters(partitions={(LINKS[0], "orders", 0): part})

    def links(self) -> Mapping[str, tuple[Settings, LinkConfig]]:
        return {link.name: (SETTINGS, link) for link in SETTINGS.links}

    def _read(self, settings: Settings, link: LinkConfig, query: Query) -> dict[str, Any]:
        self.looked[link.name] = self.looked.get(link.name, 0) + 1
        if self.error is not None:
            raise self.error
        row = PartitionStatus(
            topic="orders", partition=0, state="COPYING", reason=None, since=None, source_end=self.next + 3,
            source_next=self.next, target_next=self.next, lag=3, lag_ms=9,
        )  # fmt: skip
        names = {"name": link.name, "source": link.source, "target": link.target}
        return LinkStatus(workers=(), partitions=(row,), **names).model_dump(mode="json")

    @property
    def views(self) -> dict[str, View[Any]]:
        return {"": View("", "Status.", Query, self._read, LinkStatus)}

    def _ahead(self, settings: Settings, link: LinkConfig, order: Order) -> dict[str, Any]:
        if order.topic == "gone":
            raise UnreachableError("cluster us: no answer")
        if order.topic == "promoted":
            raise WrongStateError("promoted: nothing was changed")
        return {"link": link.name, "partitions": 7}

    def _run(self, settings: Settings, link: LinkConfig, order: Order, found: Row | None, hand: Hand) -> dict[str, Any]:
        self.orders.append((link.name, order, hand))
        hand.say("it has begun")
        assert self.may_end.wait(20)
        if order.topic == "late":
            raise WrongStateError("somebody else was first")
        if order.topic == "bug":
            raise ValueError("oops")
        hand.say("it has ended")
        return {"link": link.name, "done": found is not None and found["partitions"]}

    @property
    def verbs(self) -> dict[str, Verb[Any]]:
        def consequence(rows: Sequence[Row], order: Order) -> str:
            return f"{sum(row['partitions'] for row in rows)} partitions will stop."

        return {"stop": Verb("stop", "Stop it.", Order, self._ahead, consequence, self._run)}
