"""A coordinator of consumer groups on a clock and topics that the test owns, and members that behave like clients."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

from kio.schema.errors import ErrorCode

from broker.clock import ManualClock
from broker.errors import KafkaError
from broker.groups.classic_state import GroupSettings
from broker.groups.consumer_group import ConsumerGroup, ConsumerSettings
from broker.groups.consumer_heartbeat import ConsumerHeartbeat, HeartbeatResult
from broker.groups.consumer_member import JOINING, LEAVING, NOTHING, Assignment
from broker.groups.coordinator import GroupCoordinator, OffsetSettings
from broker.groups.internal_topic import Pair
from broker.groups.timers import Timers
from tests.broker.fakes import ListLog

GROUP = "g"


class Topics:
    """Topics by name."""

    def __init__(self, **partitions: int) -> None:
        self.known = {name: (uuid.uuid4(), count) for name, count in partitions.items()}

    def find(self, name: str) -> tuple[uuid.UUID, int] | None:
        return self.known.get(name)

    def names(self) -> Iterable[str]:
        return list(self.known)

    def make(self, name: str, count: int) -> None:
        self.known[name] = (uuid.uuid4(), count)

    def grow(self, name: str, count: int) -> None:
        self.known[name] = (self.known[name][0], count)

    def partitions(self, *names: str) -> Assignment:
        return frozenset((self.known[name][0], index) for name in names for index in range(self.known[name][1]))


class BreakableLog(ListLog):
    """A log that refuses to be written to while `broken`."""

    broken = False

    def append(self, partition: int, pairs: Sequence[Pair], *, producer: tuple[int, int] | None = None) -> int:
        if self.broken:
            raise KafkaError(ErrorCode.coordinator_not_available)
        return super().append(partition, pairs, producer=producer)


class World:
    """A coordinator; `restart` puts another one in its place that knows only the log."""

    def __init__(self, topics: Topics | None = None, **settings: object) -> None:
        self.clock = ManualClock()
        self.topics = topics or Topics(t=6)
        self.log = BreakableLog()
        self.settings = ConsumerSettings(**settings)  # type: ignore[arg-type]
        self._start()

    def _start(self) -> None:
        self.timers = Timers(self.clock)
        self.coordinator = GroupCoordinator(
            clock=self.clock,
            timers=self.timers,
            offsets_log=self.log,
            group_settings=lambda: GroupSettings(initial_rebalance_delay_ms=0),
            offset_settings=OffsetSettings,
            consumer_settings=lambda _: self.settings,
            topics=self.topics,
        )

    def restart(self) -> None:
        self._start()
        self.coordinator.load()

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.timers.run_due()

    @property
    def group(self) -> ConsumerGroup:
        return self.coordinator.consumer_group(GROUP)

    def call(self, member_id: str, epoch: int, version: int = 1, **values: object) -> HeartbeatResult:
        request = ConsumerHeartbeat(GROUP, member_id, epoch, **values)  # type: ignore[arg-type]
        result = self.coordinator.consumer_heartbeat(request, version)
        self.timers.run_due()
        return result


class Client:
    """A member as a consumer plays it: what it is told to give up, it gives up and says so by its next heartbeat."""

    def __init__(
        self,
        world: World,
        member_id: str = "",
        *topics: str,
        regex: str | None = None,
        instance: str | None = None,
        assignor: str | None = None,
        rebalance_timeout_ms: int = 60_000,
    ) -> None:
        self.world = world
        self.member_id = member_id or str(uuid.uuid4())
        self.topics = None if regex is not None else frozenset(topics or ("t",))
        self.regex = regex
        self.instance = instance
        self.assignor = assignor
        self.rebalance_timeout_ms = rebalance_timeout_ms
        self.epoch = JOINING
        self.owned: Assignment = NOTHING
        self.joined = False

    def join(self) -> HeartbeatResult:
        self.epoch, self.owned, self.joined = JOINING, NOTHING, False
        return self.beat()

    def beat(self, *, gives_up: bool = True) -> HeartbeatResult:
        """One heartbeat that says everything; `gives_up` is whether partitions to be revoked are let go at once."""
        result = self.world.call(
            self.member_id,
            self.epoch,
            instance_id=self.instance,
            rebalance_timeout_ms=self.rebalance_timeout_ms,
            topics=self.topics,
            regex=self.regex,
            assignor=self.assignor,
            owned=self.owned,
        )
        self.joined = True
        self.epoch = result.member_epoch
        assert result.assignment is not None
        self.owned = result.assignment if gives_up else self.owned | result.assignment
        return result

    def leave(self, epoch: int = LEAVING) -> HeartbeatResult:
        result = self.world.call(self.member_id, epoch, instance_id=self.instance)
        self.owned, self.joined = NOTHING, False
        return result


def settle(*clients: Client, rounds: int = 6) -> None:
    """Let everybody send heartbeats until nothing moves any more."""
    for _ in range(rounds):
        for client in clients:
            client.beat()
