"""Two links in opposite directions keep one group's position in step, whatever the order of their steps."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replicator.config.models import LinkConfig, SecurityConfig
from replicator.ledger.group_state import GroupTopic, decode_group, decode_group_key
from replicator.ledger.translation import COPIED
from replicator.sync.group_client import GroupClient
from replicator.sync.group_writer import KeyValue, Store
from replicator.sync.groups import GroupSync
from replicator.sync.log_starts import LogStarts
from replicator.sync.positions import Positions, Translated, Translation
from replicator.wire import kafka_errors as codes
from replicator.wire.groups import Committed, ListedGroup
from replicator.wire.groups import Positions as GroupPositions

GROUP = "g"
AT = ("t", 0)
US, EU = "us", "eu"
BACK = {US: EU, EU: US}
BURST = st.tuples(st.sampled_from([US, EU]), st.integers(1, 14)).map(lambda burst: [burst[0]] * burst[1])
STEPS = st.lists(st.one_of(BURST, st.sampled_from([["consume us"], ["consume eu"]])), max_size=40).map(
    lambda parts: [step for part in parts for step in part]
)


class Pair:
    """One topic under one name on both clusters, offset n being offset n; and a link each way, named by its source."""

    def __init__(self, positions: Mapping[str, int]) -> None:
        self.positions = dict(positions)
        self.ledgers: dict[str, dict[tuple[str, str], GroupTopic]] = {US: {}, EU: {}}
        self.waiting: dict[str, asyncio.Queue[asyncio.Future[None]]] = {US: asyncio.Queue(), EU: asyncio.Queue()}
        self.latest = max(positions.values())
        self.syncs = {each: self._sync(each) for each in (US, EU)}

    def _sync(self, source: str) -> GroupSync:
        target = BACK[source]
        link = LinkConfig(name=f"from-{source}", source=source, target=target)
        return GroupSync(
            link, _Groups(self, source, source), _Groups(self, source, target), _Translation(self, source),
            _Starts(), _Ledger(self, source), now_ms=lambda: 0, clock=lambda: 0.0,
        )  # fmt: skip

    async def turn(self, link: str) -> None:
        """Called by a link before each of its steps: it goes on when the schedule says so."""
        future = asyncio.get_running_loop().create_future()
        self.waiting[link].put_nowait(future)
        await future

    def consume(self, where: str) -> None:
        """The group, which goes where its position is the latest, reads a record and leaves."""
        if self.positions.get(where) == self.latest:
            self.latest += 1
            self.positions[where] = self.latest

    async def play(self, script: Sequence[str]) -> None:
        """Both links run round after round, in this order of steps; then until nothing happens any more."""
        tasks = {each: asyncio.create_task(self._rounds(each)) for each in (US, EU)}
        try:
            for step in (*script, *(step for _ in range(100) for step in (US, EU))):
                if step in self.syncs:
                    (await asyncio.wait_for(self.waiting[step].get(), 5)).set_result(None)
                    for _ in range(5):  # what follows from it without another turn
                        await asyncio.sleep(0)
                else:
                    self.consume(step.split()[1])
        finally:
            for task in tasks.values():
                task.cancel()
            ended = await asyncio.gather(*tasks.values(), return_exceptions=True)
            assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended

    async def _rounds(self, link: str) -> None:
        while True:
            await self.syncs[link].apply(await self.syncs[link].plan())


class _Groups(GroupClient):
    def __init__(self, pair: Pair, way: str, where: str) -> None:
        self._pair, self._way, self._where = pair, way, where
        self.cluster: Any = SimpleNamespace(
            brokers={1: None}, topics={}, alias=where, config=SimpleNamespace(security=SecurityConfig())
        )

    async def groups(self) -> dict[str, ListedGroup]:
        return {GROUP: ListedGroup(GROUP, "consumer", "Empty", "classic")}

    async def positions(self, groups: Collection[str]) -> dict[str, GroupPositions]:
        await self._pair.turn(self._way)
        offset = self._pair.positions.get(self._where)
        return {GROUP: GroupPositions(0, {} if offset is None else {AT: Committed(offset, "")})}

    async def commit(self, group: str, positions: Mapping[tuple[str, int], tuple[int, str]]) -> dict[Any, int]:
        await self._pair.turn(self._way)
        self._pair.positions[self._where] = positions[AT][0]
        await self._pair.turn(self._way)
        return {AT: codes.NONE}


class _Translation(Positions):
    def __init__(self, pair: Pair, way: str) -> None:
        self._pair, self._way = pair, way
        self._here: dict[tuple[str, str], GroupTopic] = {}
        self._there: dict[tuple[str, str], GroupTopic] = {}

    @property
    def exists(self) -> bool:
        return True

    @property
    def groups(self) -> dict[tuple[str, str], GroupTopic]:
        return self._here

    def groups_of_opposite(self, group: str, topic: str) -> list[GroupTopic]:
        return [found] if (found := self._there.get((group, topic))) is not None else []

    async def refresh(self) -> None:
        await self._pair.turn(self._way)
        self._here = dict(self._pair.ledgers[self._way])
        self._there = dict(self._pair.ledgers[BACK[self._way]])

    def copied(self, topic: str) -> bool:
        return True

    def place(self, topic: str, partition: int) -> tuple[tuple[str, int], int] | None:
        return AT, 1

    def translate(self, topic: str, partition: int, offset: int) -> dict[tuple[str, int], Translation] | None:
        return {AT: Translated(offset, 0, COPIED, True, 1)}

    async def load(self) -> bool:
        return False


class _Starts(LogStarts):
    def __init__(self) -> None:
        pass

    async def refresh(self, wanted: Collection[tuple[str, int]]) -> None:
        pass

    def get(self, at: tuple[str, int]) -> int:
        return 0


class _Ledger(Store):
    def __init__(self, pair: Pair, way: str) -> None:
        self._pair, self._way = pair, way

    def owner(self) -> object | None:
        return self._pair

    async def write(self, pairs: Sequence[KeyValue]) -> None:
        await self._pair.turn(self._way)
        for key, value in pairs:
            at = decode_group_key(key)
            assert at is not None
            if value is None:
                self._pair.ledgers[self._way].pop(at, None)
            else:
                self._pair.ledgers[self._way][at] = decode_group(value)
        await self._pair.turn(self._way)


@settings(max_examples=400, deadline=None)
@given(STEPS)
def test_given_any_order_of_steps_when_the_group_goes_on_where_it_is_up_to_date_then_nobody_takes_it_back(
    script: list[str],
) -> None:
    pair = Pair({US: 10})
    run(pair.play(script))
    assert pair.positions == {US: pair.latest, EU: pair.latest}


def run(what: Coroutine[Any, Any, None]) -> None:
    asyncio.run(what)


@pytest.mark.parametrize("steps", range(1, 14))
@pytest.mark.parametrize("first", [US, EU])
def test_given_a_group_that_moves_over_when_one_link_is_anywhere_in_its_round_then_its_new_position_stays(
    first: str, steps: int
) -> None:
    pair = Pair({US: 10, EU: 10})
    run(pair.play([*[US, EU] * 20, "consume eu", *[first] * steps]))
    assert pair.positions == {US: 11, EU: 11}
