"""Promotion: a planned move. Producers have stopped, everything is copied, and then the copies are used on their own.

Nothing is changed before the source is quiet and its end is copied. Then copying stops, and the source is looked at
once more: if somebody wrote meanwhile, everything goes on as before. Each step may be repeated.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from replicator.config.mm2_names import HEARTBEATS
from replicator.config.models import LinkConfig, Settings
from replicator.dr.cuts import note_cuts
from replicator.dr.desk import Desk
from replicator.dr.holds import POLL_S, Choice, Say, await_states
from replicator.dr.last_groups import Settled, settle_groups
from replicator.errors import UnreachableError, WrongStateError
from replicator.ledger.cluster_side import REQUEST_TIMEOUT_S, ClusterSide
from replicator.ledger.status import LinkStatus, PartitionStatus, read_status_blocking
from replicator.states import State

Key = tuple[str, int]

_NAMED = 5
_CONFIRM_S = 30.0


@dataclass(frozen=True, slots=True)
class Promoted:
    """What was done to one link. `differences` are settings and ACLs that weren't in step at the end."""

    link: str
    topics: tuple[str, ...]
    partitions: int
    groups: Settled
    differences: tuple[str, ...]
    took_ms: int
    after_quiet_ms: int  # since the source was quiet and all of it was copied
    steps: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def prepare(settings: Settings, link: LinkConfig, choice: Choice) -> list[PartitionStatus]:
    """The partitions that would be promoted. WrongStateError if that can't be, and why."""
    status = read_status_blocking(settings, link)
    if status.source_error is not None:
        raise UnreachableError(
            f"link {link.name}: a planned move needs both clusters: {status.source_error}. If {link.source} is gone "
            "for good, use `replicator failover`. Nothing was changed"
        )
    chosen = choice.of_status(status)
    if not status.workers:
        raise WrongStateError(
            f"link {link.name}: no worker runs that could copy the rest: start one (`replicator run`). Nothing was "
            "changed"
        )
    wrong = [each for each in chosen if each.state not in (State.COPYING, State.PENDING, State.PROMOTED)]
    if wrong:
        names = ", ".join(f"{p.topic}-{p.partition} ({p.reason or p.state})" for p in wrong[:_NAMED])
        more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        raise WrongStateError(
            f"link {link.name}: not everything is being copied: {names}{more}; see `replicator status`. Nothing was "
            "changed"
        )
    return chosen


def promote(
    settings: Settings,
    link: LinkConfig,
    choice: Choice,
    *,
    quiet_s: float,
    wait_s: float,
    why: str = "",
    by: str = "",
    say: Say = lambda text: None,
    plan: Callable[[], tuple[str, ...]] = tuple,
) -> Promoted:
    """Do it. `plan` says what else isn't in step.

    WrongStateError if producers don't stop within `wait_s`, naming the topics they write to, or if one of them writes
    while copying stops; then everything goes on as before.
    """
    began = time.monotonic()
    steps: dict[str, int] = {}

    def step(name: str, text: str) -> None:
        steps[name] = round((time.monotonic() - began) * 1000)
        say(f"{link.name}: {text}")

    with Desk(settings, link, "promote", str(choice), by=by) as desk:
        chosen = prepare(settings, link, choice)
        due = [each for each in chosen if each.state != State.PROMOTED]
        step("prepared", f"{len(due)} of {len(chosen)} partitions are to be promoted")
        ends = _await_quiet(settings, link, choice, quiet_s, wait_s, desk) if due else {}
        quiet = time.monotonic()
        step("quiet", "the source is quiet, and all of it is copied")
        differences = plan()
        if due or choice.pattern is None:
            desk.want(choice.names(chosen), State.PROMOTED, why)
        left = await_states(settings, link, choice, State.PROMOTED, _CONFIRM_S, desk)
        if left:
            _go_on(desk, choice, chosen)
            raise WrongStateError(
                f"link {link.name}: {left} partitions didn't stop within {_CONFIRM_S:g} s; copying goes on as before"
            )
        step("stopped", "copying has stopped")
        again = _source_ends(settings, link, list(ends))
        late = {at: end - ends[at] for at, end in again.items() if end > ends[at]}
        if late:
            _go_on(desk, choice, chosen)
            raise WrongStateError(
                f"link {link.name}: {_stragglers(late)} while copying stopped; it goes on as before. Stop the producers"
            )
        note_cuts(settings, link, choice, desk)
        groups = asyncio.run(settle_groups(settings, link, {each.topic for each in chosen}, ask_source=True))
        step("groups", f"{groups.moved} positions of {groups.groups} groups were brought up to the end")
        desk.detail = f"{len(due)} of {len(chosen)} partitions; {len(differences)} other differences"
        now = time.monotonic()
        return Promoted(
            link.name,
            tuple(sorted({each.topic for each in chosen})),
            len(chosen),
            groups,
            differences,
            round((now - began) * 1000),
            round((now - quiet) * 1000),
            steps,
        )


def _go_on(desk: Desk, choice: Choice, chosen: list[PartitionStatus]) -> None:
    desk.want(choice.names(chosen), State.COPYING)


def _await_quiet(
    settings: Settings, link: LinkConfig, choice: Choice, quiet_s: float, wait_s: float, desk: Desk
) -> dict[Key, int]:
    """Wait until nothing was written for `quiet_s`, and all is copied; where the source ends then."""
    deadline = time.monotonic() + wait_s
    seen: dict[Key, int] = {}
    since = first = time.monotonic()
    start: dict[Key, int] = {}
    while True:
        status = read_status_blocking(settings, link)
        if status.source_error is not None:
            raise UnreachableError(f"link {link.name}: {status.source_error}. Nothing was changed")
        ends = _ends(status, choice)
        now = time.monotonic()
        if ends != seen:
            seen, since = ends, now
            start = start or ends
        lags = {(p.topic, p.partition): p.lag for p in status.partitions if _counts(p, choice) and p.lag != 0}
        if not lags and now - since >= quiet_s:
            return ends
        if now > deadline:
            written = {at: end - start.get(at, end) for at, end in ends.items() if end > start.get(at, end)}
            if now - since < quiet_s and written:
                raise WrongStateError(
                    f"link {link.name}: producers still write: {_stragglers(written, now - first)}. Stop them first. "
                    "Nothing was changed"
                )
            names = ", ".join(f"{topic}-{partition}: {lag}" for (topic, partition), lag in list(lags.items())[:_NAMED])
            raise WrongStateError(
                f"link {link.name}: not all is copied yet, still to come: {names}. Nothing was changed"
            )
        desk.renew()
        time.sleep(POLL_S)


def _ends(status: LinkStatus, choice: Choice) -> dict[Key, int]:
    return {(p.topic, p.partition): p.source_end for p in status.partitions if _counts(p, choice)}


def _counts(partition: PartitionStatus, choice: Choice) -> bool:
    """Heartbeats never end, and nobody misses the last of them."""
    name = partition.topic
    return choice.has(name) and name != HEARTBEATS and not name.endswith(f".{HEARTBEATS}")


def _source_ends(settings: Settings, link: LinkConfig, places: list[Key]) -> Mapping[Key, int]:
    client_id = f"replicator-{link.name}-promote"
    return ClusterSide(settings.clusters[link.source], link.source, client_id, REQUEST_TIMEOUT_S).ends(places)


def _stragglers(written: Mapping[Key, int], seconds: float = 0.0) -> str:
    by_topic: dict[str, int] = {}
    for (topic, _), records in written.items():
        by_topic[topic] = by_topic.get(topic, 0) + records
    most = sorted(by_topic.items(), key=lambda item: -item[1])[:_NAMED]
    more = f" and {len(by_topic) - _NAMED} more topics" if len(by_topic) > _NAMED else ""
    return "somebody wrote to " + ", ".join(_much(*each, seconds) for each in most) + more


def _much(topic: str, records: int, seconds: float) -> str:
    return f"{topic} ({records / seconds:.1f} records/s)" if seconds else f"{topic} ({records} records)"
