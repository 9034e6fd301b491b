"""Failover: the source is gone, or is given up. Copying ends where it has got to, and the copies are used on their own.

In this order: the status is saved to a file; what is lost is told; what is wanted is written down, from which on no
worker copies a record or changes a setting or position of these topics; then positions are brought up to what is
copied. Each step may be repeated: a failover that was interrupted is finished by running it again.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from replicator.config.models import LinkConfig, Settings
from replicator.dr.cuts import note_cuts
from replicator.dr.desk import Desk
from replicator.dr.holds import Choice, Say, await_states
from replicator.dr.last_groups import Settled, settle_groups
from replicator.dr.loss import Loss, estimate, total
from replicator.errors import WrongStateError
from replicator.ledger.status import LinkStatus, PartitionStatus, read_status_blocking
from replicator.states import State

_STATUS_TIMEOUT_S = 3.0  # of the source: it is expected not to answer


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a failover would do and lose, as of now."""

    status: LinkStatus
    chosen: tuple[PartitionStatus, ...]
    losses: tuple[Loss, ...]

    @property
    def due(self) -> tuple[PartitionStatus, ...]:
        """Those that aren't failed over yet."""
        return tuple(each for each in self.chosen if each.state != State.FAILED_OVER)


@dataclass(frozen=True, slots=True)
class FailedOver:
    """What was done to one link. `waiting`: partitions whose worker hasn't confirmed in time; it will."""

    link: str
    losses: tuple[Loss, ...]
    source_seen: str | None
    source_error: str | None
    snapshot: str
    groups: Settled
    waiting: int
    took_ms: int
    steps: dict[str, int] = field(default_factory=dict)  # what took how many ms

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        records, unknown = total(self.losses)
        return {**asdict(self), "lost_records": records, "unknown_partitions": unknown}


def outlook(settings: Settings, link: LinkConfig, choice: Choice, *, ask_source: bool = True) -> Outlook:
    """What would be done; without `ask_source` by what workers saw last.

    WrongStateError if one of the topics was promoted: nothing of it can be lost any more.
    """
    status = read_status_blocking(settings, link, timeout_s=_STATUS_TIMEOUT_S, ask_source=ask_source)
    chosen = choice.of_status(status)
    promoted = sorted({each.topic for each in chosen if each.state == State.PROMOTED})
    if promoted:
        more = f" and {len(promoted) - 1} more" if len(promoted) > 1 else ""
        raise WrongStateError(
            f"link {link.name}: {promoted[0]}{more} was promoted: its copy on {link.target} is used already, and "
            "nothing of it was lost. Nothing was changed"
        )
    return Outlook(status, tuple(chosen), tuple(estimate(status, chosen)))


def failover(
    settings: Settings,
    link: LinkConfig,
    choice: Choice,
    *,
    snapshot: Path,
    wait_s: float,
    why: str = "",
    by: str = "",
    ask_source: bool = True,
    say: Say = lambda text: None,
) -> FailedOver:
    """Do it. Works while the source can't be reached, and while no worker runs; without `ask_source` it isn't even
    tried. ReplicatorError if the target doesn't answer."""
    began = time.monotonic()
    steps: dict[str, int] = {}

    def step(name: str, text: str) -> None:
        steps[name] = round((time.monotonic() - began) * 1000)
        say(text)

    with Desk(settings, link, "failover", str(choice), by=by) as desk:
        found = outlook(settings, link, choice, ask_source=ask_source)
        _save(snapshot, link, found)
        step("snapshot", f"{link.name}: the status was saved to {snapshot}")
        if found.due or choice.pattern is None:
            desk.want(choice.names(list(found.chosen)), State.FAILED_OVER, why)
        step("wanted", f"{link.name}: from now on nothing is copied")
        waiting = await_states(settings, link, choice, State.FAILED_OVER, wait_s, desk) if found.status.workers else 0
        step("stopped", f"{link.name}: {len(found.chosen) - waiting} of {len(found.chosen)} partitions have stopped")
        note_cuts(settings, link, choice, desk)
        groups = asyncio.run(settle_groups(settings, link, {each.topic for each in found.chosen}))
        step("groups", f"{link.name}: {groups.moved} positions of {groups.groups} groups were brought up to the end")
        records, unknown = total(found.losses)
        desk.detail = f"{len(found.due)} of {len(found.chosen)} partitions; {records} records lost, as far as is known"
        desk.detail += f"; of {unknown} partitions nothing is known" if unknown else ""
        desk.detail += f"; {link.source} seen last at {found.status.source_seen}" if found.status.source_seen else ""
        took_ms = round((time.monotonic() - began) * 1000)
        status = found.status
        return FailedOver(
            link.name,
            found.losses,
            status.source_seen,
            status.source_error,
            str(snapshot),
            groups,
            waiting,
            took_ms,
            steps,
        )


def _save(file: Path, link: LinkConfig, found: Outlook) -> None:
    """Before anything is changed: what was there, for those who have to explain it afterwards."""
    document = {
        "link": link.name,
        "at_ms": int(time.time() * 1000),
        "status": found.status.model_dump(mode="json"),
        "losses": [asdict(loss) for loss in found.losses],
    }
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as out:
            json.dump(document, out, indent=1)
    except OSError as error:
        raise WrongStateError(
            f"link {link.name}: the status can't be saved to {file}: {error.strerror}; name another file with "
            "--snapshot. Nothing was changed"
        ) from error
