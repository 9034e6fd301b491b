"""What stands between now and a promotion, found without changing anything."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from replicator.config.mm2_names import HEARTBEATS
from replicator.dr.holds import Choice
from replicator.errors import ConfigurationError
from replicator.ledger.status import LinkStatus, PartitionStatus
from replicator.states import State
from replicator.sync.plan import Change, Held, Kind, Why

IGNORABLE = frozenset({"acl", "clock", "config", "group", "quota", "user"})


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One thing: `kind` says what it is about, `next_step` what to do. `blocks`: it isn't ready with it."""

    kind: str
    where: str
    what: str
    next_step: str = ""
    blocks: bool = True
    unknown: bool = False  # it couldn't be asked


def obstacles(status: LinkStatus, choice: Choice, changes: Iterable[Change], held: Iterable[Held]) -> list[Obstacle]:
    """By what the clusters say (`status`), and what isn't in step (`changes` to be made, `held` that can't be)."""
    found: list[Obstacle] = []
    if status.source_error is not None:
        found.append(
            Obstacle("source", status.source, status.source_error, "Without it there is `replicator failover`.")
        )
    if not status.workers:
        found.append(Obstacle("workers", status.name, "no worker runs", "Start one: `replicator run`."))
    chosen = choice.of_status(status)
    found += [each for partition in chosen if (each := _of_partition(partition)) is not None]
    for change in changes:
        kind, said = change.kind.value, f"{change.what}: {change.before} -> {change.after}"
        found.append(Obstacle(kind, change.resource, said, "A worker does this within seconds; wait."))
    for item in held:
        if item.why is not Why.NO_AUTHORIZER:
            blocks = item.kind is not Kind.GROUP or item.why is not Why.ACTIVE
            what = f"{item.why.value}: {item.detail}"
            unasked = item.why is Why.NOT_AUTHORIZED
            found.append(Obstacle(item.kind.value, item.resource, what, _NEXT[item.why], blocks, unasked))
    return found


_NEXT = {
    Why.NOT_AUTHORIZED: "Grant what it names.",
    Why.UNSUPPORTED: "Upgrade the target, or exclude the setting (sync.config_exclude).",
    Why.REFUSED: "See what the target says; set it there by hand.",
    Why.NO_AUTHORIZER: "",
    Why.ACTIVE: "Stop its members on the target, or let them be.",
    Why.DIVERGED: "`replicator groups GROUP` shows both sides; delete the group there to have it follow again.",
    Why.NOT_COPIED: "Wait until its topics are copied.",
    Why.INEXACT: "Nothing: it reads a few records again.",
}


def without(found: Iterable[Obstacle], ignored: Collection[str]) -> list[Obstacle]:
    """The same, but those of kinds that are ignored don't block."""
    return [replace(each, blocks=False) if each.kind in ignored else each for each in found]


def ignored_kinds(text: str) -> frozenset[str]:
    """The kinds that a list such as `quotas,users` names. ConfigurationError for one that can't be ignored."""
    names = {part.strip().lower() for part in text.split(",") if part.strip()}
    kinds = {name if name in IGNORABLE else name.removesuffix("s") for name in names}
    if wrong := sorted(kinds - IGNORABLE):
        listed = ", ".join(sorted(IGNORABLE))
        raise ConfigurationError(f"--ignore {wrong[0]}: what can be ignored is: {listed}")
    return frozenset(kinds)


def _of_partition(partition: PartitionStatus) -> Obstacle | None:
    where = f"{partition.topic}-{partition.partition}"
    if partition.state in (State.PROMOTED, State.FAILED_OVER):
        return Obstacle("state", where, f"{partition.state}: {partition.detail}", "Nothing: it doesn't copy any more.")
    if partition.state != State.COPYING:
        return Obstacle("state", where, " ".join(filter(None, (partition.state, partition.reason, partition.detail))),
                        partition.next_step or "See `replicator status`.")  # fmt: skip
    if partition.lag and partition.topic != HEARTBEATS and not partition.topic.endswith(f".{HEARTBEATS}"):
        return Obstacle("lag", where, f"{partition.lag} records behind", "Wait, or stop its producers.")
    return None


def ready(found: Sequence[Obstacle]) -> bool:
    """Whether a promotion would go through now."""
    return not any(each.blocks for each in found)
