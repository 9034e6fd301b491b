"""What the group syncer finds and plans."""

from __future__ import annotations

from dataclasses import dataclass, field

from replicator.ledger.group_state import Mark
from replicator.sync.plan import Change, Kind, SyncPlan, Why
from replicator.sync.positions import Translated

Key = tuple[str, int]


@dataclass(slots=True)
class View:
    """One position, on both sides. Offsets are None where they don't exist or aren't known."""

    group: str
    topic: str
    partition: int
    offset: int
    metadata: str = ""
    target_topic: str | None = None
    held: int | None = None
    wanted: Translated | None = None
    offset_there: int | None = None  # `wanted`, or where the target's log begins
    why: Why | None = None
    detail: str = ""

    @property
    def at(self) -> Key:
        """The partition on the target."""
        assert self.target_topic is not None
        return self.target_topic, self.partition


@dataclass(frozen=True, slots=True)
class Move:
    """A position to be written (`write`), or only to be remembered as ours. `two_way`: another link may have written
    the source's position since it was looked at."""

    view: View
    offset: int
    before: Mark | None
    write: bool
    two_way: bool = False

    @property
    def final(self) -> bool:
        """Whether what is written is exact, and stays so."""
        wanted = self.view.wanted
        return wanted is not None and wanted.final and wanted.offset == self.offset

    @property
    def basis(self) -> int:
        """What that depends on."""
        return 0 if self.view.wanted is None else self.view.wanted.basis

    @property
    def again(self) -> bool:
        """Whether it is only written again, before it expires."""
        return self.view.topic == ""

    @property
    def change(self) -> Change | None:
        """As plans show it; None if it makes no difference."""
        if not self.write or self.view.held == self.offset:
            return None
        topic, partition = self.view.at
        held = None if self.view.held is None else str(self.view.held)
        return Change(Kind.GROUP, self.view.group, f"{topic}-{partition}", held, str(self.offset))


@dataclass(frozen=True, slots=True)
class GroupPlan(SyncPlan):
    """What is to be done, group by group; and the groups that are gone from the source: whose positions are to go as
    well, and of which nothing is left to be remembered."""

    moves: dict[str, list[Move]] = field(default_factory=dict)
    gone: tuple[str, ...] = ()
    forgotten: tuple[str, ...] = ()
