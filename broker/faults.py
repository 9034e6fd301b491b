"""Make any API fail, stall or vanish on request.

    broken = cluster.faults.fail("Produce", ErrorCode.not_leader_or_follower, topic="orders", times=3)
    ...
    assert broken.hits == 3

A rule applies to the next `times` requests that match (None: until `remove()`), optionally of one node, client or
topic. Produce and Fetch fail partition by partition (each is a hit), the other APIs the whole request.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field

from kio.schema.errors import ErrorCode


class Action(enum.Enum):
    """What happens to a request that a rule matches."""

    FAIL = "fail"
    FAIL_AFTER = "fail_after"
    DELAY = "delay"
    DROP = "drop"
    DROP_RESPONSE = "drop_response"


@dataclass(eq=False, slots=True)
class Fault:
    """A rule and, for tests, how often it has struck."""

    action: Action
    api: str
    error: ErrorCode = ErrorCode.none
    seconds: float = 0.0
    topic: str | None = None
    node: int | None = None
    client_id: str | None = None
    times: int | None = 1
    hits: int = 0
    _owner: Faults | None = field(default=None, repr=False)

    @property
    def exhausted(self) -> bool:
        """Whether it has struck as often as it may."""
        return self.times is not None and self.hits >= self.times

    def remove(self) -> None:
        """Stop striking. Does nothing the second time."""
        if self._owner is not None:
            self._owner.discard(self)


class Faults:
    """The rules in force, tried in the order they were added."""

    def __init__(self) -> None:
        self._rules: list[Fault] = []

    def fail(
        self,
        api: str,
        error: ErrorCode | int,
        *,
        topic: str | None = None,
        node: int | None = None,
        client_id: str | None = None,
        times: int | None = 1,
    ) -> Fault:
        """Answer with `error` instead of doing it. `api` is Kafka's name, such as "Produce", or "*"."""
        return self._add(Fault(Action.FAIL, api, ErrorCode(error), 0.0, topic, node, client_id, times))

    def fail_after(
        self,
        error: ErrorCode | int,
        *,
        topic: str | None = None,
        node: int | None = None,
        client_id: str | None = None,
        times: int | None = 1,
    ) -> Fault:
        """Append what is produced, and answer with `error`: as a broker that stops leading before all replicas have
        it. Only of Produce."""
        return self._add(Fault(Action.FAIL_AFTER, "Produce", ErrorCode(error), 0.0, topic, node, client_id, times))

    def delay(
        self,
        api: str,
        seconds: float,
        *,
        topic: str | None = None,
        node: int | None = None,
        client_id: str | None = None,
        times: int | None = 1,
    ) -> Fault:
        """Do it, but only after `seconds`; the connection waits meanwhile."""
        return self._add(Fault(Action.DELAY, api, ErrorCode.none, seconds, topic, node, client_id, times))

    def drop(
        self,
        api: str,
        *,
        topic: str | None = None,
        node: int | None = None,
        client_id: str | None = None,
        times: int | None = 1,
    ) -> Fault:
        """Close the connection instead of doing it."""
        return self._add(Fault(Action.DROP, api, ErrorCode.none, 0.0, topic, node, client_id, times))

    def drop_response(
        self,
        api: str,
        *,
        topic: str | None = None,
        node: int | None = None,
        client_id: str | None = None,
        times: int | None = 1,
    ) -> Fault:
        """Do it, then close the connection without answering."""
        return self._add(Fault(Action.DROP_RESPONSE, api, ErrorCode.none, 0.0, topic, node, client_id, times))

    def clear(self) -> None:
        """Remove all rules."""
        self._rules.clear()

    def discard(self, fault: Fault) -> None:
        """Remove one rule, if it is still there."""
        if fault in self._rules:
            self._rules.remove(fault)

    @property
    def active(self) -> tuple[Fault, ...]:
        """The rules that can still strike."""
        return tuple(rule for rule in self._rules if not rule.exhausted)

    def strike(
        self, action: Action, api: str, *, node: int, client_id: str | None, topics: Iterable[str] = ()
    ) -> Fault | None:
        """The first rule of this kind that matches the request, counted as a hit; called by the dispatcher."""
        if not self._rules:
            return None
        names: frozenset[str] | None = None
        for rule in self._rules:
            if rule.action is not action or rule.exhausted or rule.api not in (api, "*"):
                continue
            if rule.node not in (None, node) or rule.client_id not in (None, client_id):
                continue
            if rule.topic is not None:
                names = names if names is not None else frozenset(topics)
                if rule.topic not in names:
                    continue
            rule.hits += 1
            return rule
        return None

    def _add(self, fault: Fault) -> Fault:
        fault._owner = self
        self._rules.append(fault)
        return fault
