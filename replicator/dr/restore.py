"""After a failover, when the old source is back: what was written there and never copied is saved, or copied now.

Which records these are the ledger knows exactly, once a worker has found out what its predecessors had copied.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from replicator.config.models import LinkConfig, Settings
from replicator.dr.cuts import note_cuts
from replicator.dr.desk import Desk
from replicator.dr.holds import POLL_S, Choice, Say, await_states
from replicator.dr.reader import Side
from replicator.dr.saving import Files, RecoveryTopic, Saver, Stranded
from replicator.errors import ConfigurationError, ReplicatorError, UnreachableError, WrongStateError
from replicator.ledger.desired import DesiredStates
from replicator.ledger.status import LinkStatus, PartitionStatus, read_status_blocking
from replicator.states import State

_NAMED = 5
_CONFIRM_S = 30.0


@dataclass(frozen=True, slots=True)
class Restored:
    """What was found, and what became of it: `files` or the `recovery_topic` that it was saved to (None if there was
    nothing to save), or `merged`: it is in the copies now."""

    link: str
    stranded: tuple[Stranded, ...]
    files: tuple[str, ...]
    recovery_topic: str | None
    merged: bool
    took_ms: int

    @property
    def records(self) -> int:
        """All of them together."""
        return sum(each.records for each in self.stranded)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "records": self.records}


def find(
    settings: Settings, link: LinkConfig, choice: Choice, *, wait_s: float, desired: DesiredStates | None = None
) -> list[Stranded]:
    """What is stranded, exactly. WrongStateError where no failover was, or no worker can tell yet how far copying got;
    UnreachableError while the old source is away. `desired` tells of a restore that was interrupted."""
    chosen = _settled(settings, link, choice, wait_s, desired or DesiredStates())
    with _reader(settings, link) as reader:
        places = [(each.topic, each.partition) for each in chosen]
        starts, ends = reader.starts(places), reader.ends(places)
        found: list[Stranded] = []
        for each in chosen:
            at = each.topic, each.partition
            first, end = max(each.source_next, starts[at]), ends[at]  # retention may have taken some
            if end > first:
                found.append(Stranded(*at, first, end, sum(1 for _ in reader.read(at, first, end))))
        return found


def restore(
    settings: Settings,
    link: LinkConfig,
    choice: Choice,
    *,
    export: Path | None = None,
    recovery_topic: str | None = None,
    wait_s: float,
    why: str = "",
    by: str = "",
    say: Say = lambda text: None,
) -> Restored:
    """Save what is stranded to files in the directory `export`, or to the `recovery_topic` on the target, or, without
    either, have it copied now, behind what the copies hold; afterwards the topics are promoted. Harmless to repeat:
    what was copied isn't stranded any more, what was saved isn't saved twice.

    Settings, ACLs and positions of the copies are left alone.
    """
    if export is not None and recovery_topic is not None:
        raise ConfigurationError("save to files or to a recovery topic: one of the two")
    began = time.monotonic()
    with Desk(settings, link, "restore", str(choice), by=by) as desk:
        found = find(settings, link, choice, wait_s=wait_s, desired=desk.desired)
        records = sum(each.records for each in found)
        say(f"{link.name}: {records} records of {len(found)} partitions were never copied")
        files: tuple[str, ...] = ()
        status = read_status_blocking(settings, link, ask_source=False)
        names = choice.names(choice.of_status(status))
        place = _place(settings, link, status, export, recovery_topic)
        if place is not None and found:
            with place, _reader(settings, link) as reader:
                saved = tuple(place.save(reader, each) for each in found)
            files = saved if export is not None else ()
            say(f"{link.name}: they were saved to {place}")
        elif found:
            note_cuts(settings, link, choice, desk)
            desk.want(names, State.COPYING, why, apart=True)
            _await_copied(settings, link, found, wait_s, desk)
            say(f"{link.name}: they were copied")
        desk.want(names, State.PROMOTED, why)
        left = await_states(settings, link, choice, State.PROMOTED, _CONFIRM_S, desk)
        done = "copied" if place is None else f"saved to {place}" if found else "nothing to save"
        desk.detail = f"{records} records, {done}; {left} partitions haven't confirmed yet"
        took_ms = round((time.monotonic() - began) * 1000)
        into = recovery_topic if found else None
        return Restored(link.name, tuple(found), files, into, place is None, took_ms)


def _place(
    settings: Settings, link: LinkConfig, status: LinkStatus, export: Path | None, recovery_topic: str | None
) -> Saver | None:
    """Where to save; None: nowhere."""
    if export is not None:
        return Files(export)
    if recovery_topic is not None:
        return RecoveryTopic(settings, link, recovery_topic, {link.remote_topic(p.topic) for p in status.partitions})
    return None


def _settled(
    settings: Settings, link: LinkConfig, choice: Choice, wait_s: float, desired: DesiredStates
) -> list[PartitionStatus]:
    deadline = time.monotonic() + wait_s
    while True:
        status = read_status_blocking(settings, link)
        if status.source_error is not None:
            raise UnreachableError(f"link {link.name}: {link.source} isn't back yet: {status.source_error}")
        chosen = [each for each in choice.of_status(status) if each.source_next >= 0]
        _refuse(link, status, [each for each in chosen if not desired.of(each.topic).apart])
        left = [each for each in chosen if each.state == State.FAILED_OVER and not each.settled]
        if not left:
            return chosen
        if time.monotonic() > deadline:
            names = ", ".join(f"{each.topic}-{each.partition}" for each in left[:_NAMED])
            raise WrongStateError(
                f"link {link.name}: no worker has found out yet how far {names} were copied: start one (`replicator "
                "run`) and try again. Nothing was changed"
            )
        time.sleep(POLL_S)


def _refuse(link: LinkConfig, status: LinkStatus, chosen: list[PartitionStatus]) -> None:
    wrong = [each for each in chosen if each.state not in (State.FAILED_OVER, State.PROMOTED)]
    if wrong:
        first = wrong[0]
        raise WrongStateError(
            f"link {link.name}: {first.topic}-{first.partition} is {first.state}: only what was failed over can have "
            "left records behind. Nothing was changed"
        )
    if not status.workers:
        raise WrongStateError(f"link {link.name}: no worker runs: start one (`replicator run`). Nothing was changed")


def _await_copied(settings: Settings, link: LinkConfig, found: list[Stranded], wait_s: float, desk: Desk) -> None:
    wanted = {(each.topic, each.partition): each.source_to for each in found}
    deadline = time.monotonic() + wait_s
    while True:
        status = read_status_blocking(settings, link, ask_source=False)
        behind = [p for p in status.partitions if p.source_next < wanted.get((p.topic, p.partition), -1)]
        if not behind:
            return
        if time.monotonic() > deadline:
            first = behind[0]
            raise ReplicatorError(
                f"link {link.name}: {len(behind)} partitions aren't copied to their ends yet, the first of them "
                f"{first.topic}-{first.partition} ({first.reason or first.state}); it goes on: run this again"
            )
        desk.renew()
        time.sleep(POLL_S)


@contextmanager
def _reader(settings: Settings, link: LinkConfig) -> Iterator[Side]:
    client_id = f"replicator-{link.name}-restore"
    group = f"replicator.{link.name}.reader"
    with Side(link.source, settings.clusters[link.source], client_id=client_id, group=group) as reader:
        yield reader
