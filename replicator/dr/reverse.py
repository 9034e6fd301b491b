"""Turning a link's direction: what clients write to its promoted copies goes back to where these came from.

The way back is a link of its own (`reverse_of`), asleep until now. It begins at the first record that clients wrote
after the promotion; what the other direction wrote is told from it by its producers, wherever it stands. Coming home is
the same verb on the way back, once that was promoted: the first link wakes again, at its entries.

Everything is remembered in the woken link's control topic before it wakes, so a command that was interrupted is
finished by running it again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from replicator.config.mm2_names import is_heartbeats
from replicator.config.models import LinkConfig, Settings
from replicator.config.reverse import section_for
from replicator.dr.desk import Desk
from replicator.dr.holds import POLL_S, Choice, Say
from replicator.dr.standing_groups import read_groups
from replicator.errors import ConfigurationError, UnreachableError, WrongStateError
from replicator.ledger.status import LinkStatus, PartitionStatus, read_status_blocking
from replicator.ledger.turning import encode_cuts, encode_former, encode_starts
from replicator.states import State

_NAMED = 5
_BACK = {
    State.FAILED_OVER: "run `replicator restore` first: it decides about records that were written to {source} and "
    "never copied, which stand in front of what comes back",
    State.ASLEEP: "nothing of it was promoted",
}


@dataclass(frozen=True, slots=True)
class Start:
    """Where the way back begins with a partition: `offset` on its source."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Reversed:
    """What was done: `link` copies now, the other way than `of`. `waiting`: partitions that no worker has taken up in
    time; one will. `late`: records that were written to the former source after the promotion; they are copied when its
    direction comes back."""

    link: str
    of: str
    topics: tuple[str, ...]
    starts: tuple[Start, ...]
    groups: int
    late: int
    waiting: int
    took_ms: int
    steps: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def way_back(settings: Settings, link: LinkConfig) -> LinkConfig:
    """The link that is woken when this one's direction is turned. ConfigurationError with the lines that are missing
    in the file, if there is none."""
    found = settings.counterpart(link)
    if found is None:
        raise ConfigurationError(
            f"link {link.name} has no way back in the configuration. Add these lines under `links:`, have the workers "
            f"read them (`replicator apply`), and run this again:\n{lines_for(settings, link)}"
        )
    return found


def lines_for(settings: Settings, link: LinkConfig) -> str:
    """The lines to add under `links:`."""
    taken = {each.name for each in settings.links}
    named = next(name for name in _names(link) if name not in taken)
    return section_for(link.name, named)


def _names(link: LinkConfig) -> Iterable[str]:
    yield f"{link.target}-to-{link.source}"
    yield f"{link.name}-back"
    for number in range(2, 1000):
        yield f"{link.name}-back-{number}"


def prepare(settings: Settings, link: LinkConfig, choice: Choice) -> tuple[LinkStatus, list[PartitionStatus]]:
    """The partitions whose direction would be turned. WrongStateError if that can't be, and which command comes first;
    UnreachableError while the other side is away."""
    status = read_status_blocking(settings, link)
    if status.source_error is not None:
        raise UnreachableError(f"link {link.name}: {link.source} isn't back yet: {status.source_error}")
    chosen = [each for each in choice.of_status(status) if not is_heartbeats(each.topic, link.separator)]
    wrong = [each for each in chosen if each.state != State.PROMOTED]
    if wrong:
        first = wrong[0]
        names = ", ".join(sorted({each.topic for each in wrong})[:_NAMED])
        step = _BACK.get(State(first.state), f"promote it first (`replicator promote --link {link.name}`)")
        raise WrongStateError(
            f"link {link.name}: {names}: {first.state}: {step.format(source=link.source)}. Nothing was changed"
        )
    unsettled = [each for each in chosen if each.source_next >= 0 and not each.settled]
    if unsettled:
        first = unsettled[0]
        raise WrongStateError(
            f"link {link.name}: no worker has confirmed yet that {first.topic}-{first.partition} has stopped: start "
            "one (`replicator run`) and try again. Nothing was changed"
        )
    return status, chosen


def reverse(
    settings: Settings,
    link: LinkConfig,
    choice: Choice,
    *,
    wait_s: float,
    why: str = "",
    by: str = "",
    say: Say = lambda text: None,
) -> Reversed:
    """Do it: wake the way back of `link`, whose topics were promoted. Harmless to repeat."""
    began = time.monotonic()
    steps: dict[str, int] = {}
    woken = way_back(settings, link)

    def step(name: str, text: str) -> None:
        steps[name] = round((time.monotonic() - began) * 1000)
        say(f"{woken.name}: {text}")

    with ExitStack() as desks:
        opened = {
            each.name: desks.enter_context(Desk(settings, each, "reverse", f"{link.name} {choice}", by=by))
            for each in sorted((link, woken), key=lambda each: each.name)
        }
        desk, ours = opened[woken.name], opened[link.name]
        cuts = ours.turning.cuts
        _, chosen = prepare(settings, link, choice)
        topics = sorted({each.topic for each in chosen})
        there = {topic: link.remote_topic(topic) for topic in topics}
        begins = [
            Start(there[each.topic], each.partition, cuts.get(each.topic, {}).get(each.partition, each.target_next))
            for each in chosen
            if each.target_next >= 0
        ]
        late = sum(each.lag or 0 for each in chosen)
        due = [topic for topic in there.values() if desk.desired.of(topic).state is not State.COPYING]
        step("prepared", f"{len(due)} of {len(topics)} topics are to be turned")
        groups = 0
        if due:
            desk.write(encode_starts(_by_topic(begins, due)))
            step("starts", "it is written down where each partition begins")
            former = asyncio.run(read_groups(settings, woken, {woken.remote_topic(topic) for topic in due}))
            groups = len(former)
            known = desk.turning.groups
            desk.write(encode_former({group: {**known.get(group, {}), **at} for group, at in former.items()}))
            step("groups", f"where {groups} groups stood on {woken.target} is written down")
        if due or choice.pattern is None:
            desk.write(encode_cuts(dict.fromkeys(due)))
            desk.want(None if choice.pattern is None else list(there.values()), State.COPYING, why)
        step("wanted", f"copying goes from {woken.source} to {woken.target} now")
        waiting = _await_awake(settings, woken, set(there.values()), wait_s, opened.values())
        step("awake", f"{len(chosen) - waiting} of {len(chosen)} partitions copy")
        desk.detail = ours.detail = f"{len(due)} of {len(topics)} topics; {waiting} partitions wait for a worker"
        took_ms = round((time.monotonic() - began) * 1000)
        return Reversed(
            woken.name, link.name, tuple(topics), tuple(begins), groups, late, waiting, took_ms, steps
        )  # fmt: skip


def _by_topic(starts: Iterable[Start], topics: Iterable[str]) -> dict[str, dict[int, int]]:
    found: dict[str, dict[int, int]] = {topic: {} for topic in topics}
    for start in starts:
        if start.topic in found:
            found[start.topic][start.partition] = start.offset
    return found


def _await_awake(settings: Settings, woken: LinkConfig, topics: set[str], limit_s: float, desks: Iterable[Desk]) -> int:
    """How many partitions still don't copy after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while True:
        status = read_status_blocking(settings, woken, ask_source=True)
        of_topics = [each for each in status.partitions if each.topic in topics]
        left = sum(each.state not in (State.COPYING, State.FAULTED) for each in of_topics)
        if (not left and of_topics) or not topics or time.monotonic() > deadline:
            return left
        for desk in desks:
            desk.renew()
        time.sleep(POLL_S)
