"""The order that a link's workers leave it, in its control topic: whoever removes the link gives it.

It holds as long as the claim of who gave it does (`ledger.operations`): if they die, or give up, the workers go on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from uuid import UUID

from replicator.ledger.log import KeyValue
from replicator.ledger.operations import Operations

_KEY = b"leave/"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Leave:
    """Stop working on the link, and wait; `claim` is that of the command which `by` runs."""

    claim: UUID
    by: str


@dataclass(slots=True)
class LeaveOrders:
    """What of this kind stands in a control topic; `take` applies one record after the other."""

    orders: dict[UUID, Leave] = field(default_factory=dict)
    _operations: Operations = field(default_factory=Operations)

    def take(self, key: bytes | None, value: bytes | None) -> None:
        """Apply a record. One of another kind, or that can't be read, changes nothing."""
        self._operations.take(key, value)
        if key is None or not key.startswith(_KEY):
            return
        try:
            claim = UUID(key.removeprefix(_KEY).decode())
            held = None if value is None else json.loads(value)
            if held is None:
                self.orders.pop(claim, None)
            elif held["version"] == _VERSION:
                self.orders[claim] = Leave(claim, str(held["by"]))
        except (ValueError, KeyError, TypeError):
            return

    def standing(self, now_ms: int) -> Leave | None:
        """The order that holds now."""
        for order in self.orders.values():
            claim = self._operations.claims.get(order.claim)
            if claim is not None and claim.lives(now_ms):
                return order
        return None


def encode_leave(order: Leave) -> KeyValue:
    """The record of the order."""
    return leave_key(order.claim), json.dumps({"version": _VERSION, "by": order.by}, separators=(",", ":")).encode()


def leave_key(claim: UUID) -> bytes:
    """Its key; without a value it takes the order back."""
    return _KEY + str(claim).encode()
