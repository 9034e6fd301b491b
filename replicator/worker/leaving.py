"""One link's part in its removal: hears the order to leave, and looks later what has become of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from enum import Enum

from replicator.config.librdkafka import client_properties
from replicator.config.models import LinkConfig, Settings
from replicator.ledger.control_client import ControlClient
from replicator.ledger.leaving import Leave, LeaveOrders


class Fate(Enum):
    """What has become of an order to leave."""

    STANDS = "stands"
    TAKEN_BACK = "taken back"  # or who gave it died: the link goes on
    REMOVED = "removed"  # the link has no control topic any more


class Leaving:
    """`asked` is called once for each order that holds."""

    def __init__(self, asked: Callable[[Leave], None], now_ms: Callable[[], int]) -> None:
        self._asked = asked
        self._now_ms = now_ms
        self._orders = LeaveOrders()
        self._passed_on: set[Leave] = set()

    def hear(self, pairs: Sequence[tuple[bytes | None, bytes | None]]) -> None:
        """What the control topic says, from its start on."""
        for key, value in pairs:
            self._orders.take(key, value)
        order = self._orders.standing(self._now_ms()) if self._orders.orders else None
        if order is not None and order not in self._passed_on:
            self._passed_on.add(order)
            self._asked(order)


def fate_of_order(settings: Settings, link: LinkConfig) -> Fate:
    """What the control topic says now. Blocking; ReplicatorError if it can't be read."""
    properties = client_properties(settings.clusters[link.target], client_id=f"replicator-{link.name}-leaving")
    with ControlClient(properties, link.name, cluster=link.target) as control:
        if not control.exists():
            return Fate.REMOVED
        orders = LeaveOrders()
        for key, value in control.read():
            orders.take(key, value)
    return Fate.STANDS if orders.standing(int(time.time() * 1000)) is not None else Fate.TAKEN_BACK
