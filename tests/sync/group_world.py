"""Both sides of a link, and its ledger, in memory: what the group syncer calls may crash, fail or come late."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from replicator.config.models import LinkConfig, SecurityConfig
from replicator.errors import ReplicatorError, UnreachableError
from replicator.ledger.group_state import GroupTopic, decode_group, decode_group_key
from replicator.ledger.translation import COPIED
from replicator.sync.group_client import GroupClient
from replicator.sync.group_writer import LATE_S, KeyValue, Store
from replicator.sync.groups import GroupSync
from replicator.sync.log_starts import LogStarts
from replicator.sync.positions import Positions, Translated, Translation
from replicator.wire import kafka_errors as codes
from replicator.wire.groups import Committed, ListedGroup
from replicator.wire.groups import Positions as GroupPositions

Key = tuple[str, int]

LINK = LinkConfig(name="l", source="us", target="eu")
GROUP = "g"


class Crashed(BaseException):
    """The process is gone."""


class World:
    """One group, topic `t` on the source and `us.t` on the target. Offset n of the source is offset 2n of the target;
    what users write is odd, so that it is known for theirs."""

    def __init__(self, partitions: int = 2) -> None:
        self.source: dict[int, int] = {}
        self.target: dict[int, int] = {}
        self.ledger: dict[tuple[str, str], GroupTopic] = {}
        self.active = False
        self.clock = 0.0
        self.before: Callable[[str], None] = lambda what: None  # called before each call of the syncer
        self.lose: str = ""  # of the next commit: its answer ("after"), all of it ("before"), or it comes late ("late")
        self.late: list[tuple[float, dict[int, int]]] = []  # when it was sent, and what
        self.seen: dict[int, int] = {}  # of the source's positions, when the syncer looked last
        self.problems: list[str] = []
        self.commits = 0
        self.log_start = 0
        self.clamped = False
        self.code = codes.NONE
        self.final = True
        self.opposite: list[GroupTopic] = []
        self.sync = self.start()

    def start(self) -> GroupSync:
        """Another worker becomes the controller."""
        self.sync = GroupSync(
            LINK, _Groups(self, here=True), _Groups(self, here=False), _Translation(self), _Starts(self), _Ledger(self),
            now_ms=lambda: int(self.clock * 1000), clock=lambda: self.clock,
        )  # fmt: skip
        return self.sync

    async def round(self) -> None:
        """Plan and apply; what fails is tried again in another round."""
        try:
            plan = await self.sync.plan()
            await self.sync.apply(plan)
        except ReplicatorError:
            return
        finally:
            self.clock += 5

    def arrive(self) -> None:
        """What was sent and not answered gets there, unless it took longer than anything is expected to."""
        for sent, positions in self.late:
            if not self.active and self.clock - sent < LATE_S:
                self.target.update(positions)
        self.late.clear()

    def commit(self, positions: Mapping[int, int]) -> dict[int, int]:
        """What the target's broker does."""
        self.commits += 1
        lose, self.lose = self.lose, ""
        if lose == "before":
            raise UnreachableError("lost")
        for partition, offset in positions.items():
            held = self.target.get(partition)
            if held is not None and held % 2:
                self.problems.append(f"partition {partition}: a user's {held} would be overwritten with {offset}")
            if not self.clamped and offset != 2 * self.seen.get(partition, -1):
                self.problems.append(f"partition {partition}: {offset} isn't where {self.seen.get(partition)} belongs")
        if lose == "late":
            self.late.append((self.clock, dict(positions)))
            raise UnreachableError("lost")
        if self.code:
            return dict.fromkeys(positions, self.code)
        if self.active:
            return dict.fromkeys(positions, codes.UNKNOWN_MEMBER_ID)
        self.target.update(positions)
        if lose == "after":
            raise UnreachableError("lost")
        return dict.fromkeys(positions, codes.NONE)


class _Groups(GroupClient):
    def __init__(self, world: World, *, here: bool) -> None:
        self._world, self._here = world, here
        self.cluster: Any = SimpleNamespace(
            topics={},
            brokers={1: None},
            alias="us" if here else "eu",
            config=SimpleNamespace(security=SecurityConfig()),
        )

    async def groups(self) -> dict[str, ListedGroup]:
        self._world.before("groups")
        state = "Stable" if self._world.active and not self._here else "Empty"
        return {GROUP: ListedGroup(GROUP, "consumer", state, "classic")}

    async def positions(self, groups: Collection[str]) -> dict[str, GroupPositions]:
        self._world.before("positions")
        topic = "t" if self._here else "us.t"
        at = self._world.source if self._here else self._world.target
        if self._here:
            self._world.seen = dict(at)
        return {GROUP: GroupPositions(0, {(topic, p): Committed(offset, "") for p, offset in at.items()})}

    async def commit(self, group: str, positions: Mapping[Key, tuple[int, str]]) -> dict[Key, int]:
        answer = self._world.commit({partition: offset for (_, partition), (offset, _) in positions.items()})
        self._world.before("answer")
        return {("us.t", partition): code for partition, code in answer.items()}


class _Translation(Positions):
    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def exists(self) -> bool:
        return True

    @property
    def groups(self) -> dict[tuple[str, str], GroupTopic]:
        return dict(self._world.ledger)

    def groups_of_opposite(self, group: str, topic: str) -> list[GroupTopic]:
        return self._world.opposite

    async def refresh(self) -> None:
        self._world.before("refresh")

    def copied(self, topic: str) -> bool:
        return True

    def place(self, topic: str, partition: int) -> tuple[Key, int] | None:
        return (f"us.{topic}", partition), 7

    def translate(self, topic: str, partition: int, offset: int) -> dict[Key, Translation] | None:
        return {(f"us.{topic}", partition): Translated(2 * offset, 0, COPIED, self._world.final, 7)}

    async def load(self) -> bool:
        return False


class _Starts(LogStarts):
    def __init__(self, world: World) -> None:
        self._world = world

    async def refresh(self, wanted: Collection[Key]) -> None:
        pass

    def get(self, at: Key) -> int:
        return self._world.log_start


class _Ledger(Store):
    def __init__(self, world: World) -> None:
        self._world = world
        self._owner = object()

    def owner(self) -> object | None:
        return self._owner

    async def write(self, pairs: Sequence[KeyValue]) -> None:
        self._world.before("write")
        for key, value in pairs:
            at = decode_group_key(key)
            assert at is not None
            if value is None:
                self._world.ledger.pop(at, None)
            else:
                self._world.ledger[at] = decode_group(value)
        self._world.before("written")
