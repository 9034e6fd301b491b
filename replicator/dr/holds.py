"""Pausing and resuming: what is wanted of topics changes, and the owners of their lanes obey."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from replicator.config.models import LinkConfig, Settings
from replicator.dr.desk import Desk
from replicator.errors import ConfigurationError, WrongStateError
from replicator.ledger.status import LinkStatus, PartitionStatus, read_status_blocking
from replicator.states import State

POLL_S = 0.3
_NAMED = 5

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Choice:
    """Source topics, by full match; `pattern` None: all, also those that come later."""

    pattern: re.Pattern[str] | None = None

    @classmethod
    def of(cls, topic: str | None, everything: bool) -> Choice:
        """As `--topic REGEX` and `--all` say; ConfigurationError if neither or both do."""
        if (topic is None) == (not everything):
            raise ConfigurationError("name the topics: either --topic REGEX or --all")
        try:
            return cls(None if topic is None else re.compile(topic))
        except re.error as error:
            raise ConfigurationError(f"--topic {topic!r} isn't a regular expression: {error}") from error

    def has(self, topic: str) -> bool:
        """Whether it is chosen."""
        return self.pattern is None or self.pattern.fullmatch(topic) is not None

    def of_status(self, status: LinkStatus) -> list[PartitionStatus]:
        """The chosen partitions; WrongStateError if a pattern chooses none."""
        chosen = [partition for partition in status.partitions if self.has(partition.topic)]
        if not chosen and self.pattern is not None:
            raise WrongStateError(f"link {status.name}: no topic that it copies matches {self.pattern.pattern!r}")
        return chosen

    def names(self, partitions: list[PartitionStatus]) -> list[str] | None:
        """The topics to be named in the control topic; None: all."""
        return None if self.pattern is None else sorted({partition.topic for partition in partitions})

    def __str__(self) -> str:
        return "--all" if self.pattern is None else f"--topic {self.pattern.pattern}"


@dataclass(frozen=True, slots=True)
class Held:
    """What a verb did to a link: these partitions are in `state` now, `changed` of them since then; `waiting` will be
    when a worker runs."""

    link: str
    state: State
    partitions: tuple[tuple[str, int], ...]
    changed: int
    waiting: int


def pause(settings: Settings, link: LinkConfig, choice: Choice, *, why: str = "", wait_s: float, by: str = "") -> Held:
    """Let partitions stand still; what they have sent is acknowledged and recorded when it is done.

    WrongStateError, and nothing is changed, if one of them is promoted or failed over: it doesn't copy anyway.
    """
    return _change(settings, link, choice, "pause", State.PAUSED, why=why, wait_s=wait_s, by=by)


def resume(settings: Settings, link: LinkConfig, choice: Choice, *, wait_s: float, by: str = "") -> Held:
    """Let paused partitions go on from where they stopped. WrongStateError if one of them is promoted or failed over:
    its copy may hold records of its own by now."""
    return _change(settings, link, choice, "resume", State.COPYING, why="", wait_s=wait_s, by=by)


def _change(
    settings: Settings, link: LinkConfig, choice: Choice, verb: str, state: State, *, why: str, wait_s: float, by: str
) -> Held:
    with Desk(settings, link, verb, str(choice), by=by) as desk:
        status = read_status_blocking(settings, link)
        chosen = choice.of_status(status)
        refuse_released(link, chosen, verb)
        keys = tuple((partition.topic, partition.partition) for partition in chosen)
        if state is State.COPYING:
            due = [partition for partition in chosen if partition.state == State.PAUSED]
        else:
            due = [partition for partition in chosen if partition.state != state]
        wanted_already = choice.pattern is not None or desk.desired.of_all.state is state
        if due or not wanted_already:
            desk.want(choice.names(chosen), state, why)
        waiting = len(due)
        if due and status.workers:
            waiting = await_states(settings, link, choice, state, wait_s, desk)
        desk.detail = f"{len(due)} of {len(chosen)} partitions; {waiting} wait for a worker"
        return Held(link.name, state, keys, len(due), waiting)


def refuse_released(link: LinkConfig, chosen: list[PartitionStatus], verb: str) -> None:
    """WrongStateError if one of these is promoted or failed over."""
    released = {p.topic: p for p in chosen if p.state in (State.PROMOTED, State.FAILED_OVER)}
    if not released:
        return
    first = next(iter(released.values()))
    more = f" and {len(released) - _NAMED} more" if len(released) > _NAMED else ""
    raise WrongStateError(
        f"link {link.name}: can't {verb} {', '.join(list(released)[:_NAMED])}{more}: {first.state} ({first.detail}) "
        f"Its copy on {link.target} is used on its own. Nothing was changed"
    )


def await_states(settings: Settings, link: LinkConfig, choice: Choice, state: State, limit_s: float, desk: Desk) -> int:
    """Wait until workers have confirmed it for all; how many partitions still aren't in this state after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while True:
        status = read_status_blocking(settings, link, ask_source=False)
        left = [p for p in status.partitions if choice.has(p.topic) and not _is(p, state)]
        if not left or not status.workers or time.monotonic() > deadline:
            return len(left)
        desk.renew()
        time.sleep(POLL_S)


def _is(partition: PartitionStatus, state: State) -> bool:
    if state is State.COPYING:
        return partition.state != State.PAUSED
    waits_for_people = partition.state == State.FAULTED
    return (partition.state == state and partition.confirmed) or waits_for_people
