"""The rules of group positions under any order of crashes, lost answers, and users who move positions."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replicator.config.models import GroupsConfig
from replicator.ledger.group_state import GroupTopic, Mark
from replicator.sync.group_filter import GroupFilter
from replicator.sync.group_rules import Pair, Verdict, judge
from replicator.sync.groups import REWRITE_MS
from replicator.sync.plan import Why
from replicator.wire.groups import ListedGroup
from replicator.wire.kafka_errors import GROUP_AUTHORIZATION_FAILED
from tests.sync.group_world import Crashed, World

PARTITIONS = st.integers(0, 1)
EVENT = st.one_of(
    st.tuples(st.just("consume"), PARTITIONS, st.integers(0, 20)),
    st.tuples(st.just("move"), PARTITIONS, st.integers(0, 20)),
    st.tuples(st.sampled_from(["delete", "active", "crash", "crash"]), PARTITIONS, st.just(0)),
    st.tuples(st.sampled_from(["lose-before", "lose-after", "lose-late", "arrive"]), PARTITIONS, st.just(0)),
)
# After how many more calls of the syncer something happens.
SCRIPT = st.lists(st.tuples(st.integers(0, 12), EVENT), max_size=40)


def happen(world: World, event: tuple[str, int, int]) -> None:
    what, partition, offset = event
    if what == "consume":
        world.source[partition] = offset
    elif what == "move":
        world.target[partition] = 2 * offset + 1
    elif what == "delete":
        world.target.pop(partition, None)
    elif what == "active":
        world.active = bool(partition)
    elif what == "arrive":
        world.arrive()
    elif what == "crash":
        raise Crashed
    else:
        world.lose = what.removeprefix("lose-")


async def play(world: World, script: list[tuple[int, tuple[str, int, int]]]) -> None:
    left = list(script)
    calls = 0

    def before(what: str) -> None:
        nonlocal calls
        calls += 1
        while left and calls > left[0][0]:
            calls = 0
            happen(world, left.pop(0)[1])

    world.source = {0: 5, 1: 6}
    world.before = before
    while left:
        try:
            await world.round()
        except Crashed:
            world.start()
    world.active, world.lose = False, ""
    world.arrive()
    for _ in range(3):
        await world.round()


@settings(max_examples=150)
@given(SCRIPT)
def test_given_any_schedule_then_no_moved_position_is_overwritten_and_the_others_end_up_exact(
    script: list[tuple[int, tuple[str, int, int]]],
) -> None:
    world = World()
    asyncio.run(play(world, script))
    assert world.problems == []
    for partition, offset in world.source.items():
        held = world.target.get(partition)
        assert held == 2 * offset or (held is not None and held % 2), f"{partition}: {held}, not {2 * offset}"
    commits = world.commits
    asyncio.run(world.round())
    assert world.commits == commits, "in step, and written again"


def test_given_a_planted_overwriting_then_the_model_tells() -> None:
    world = World()
    world.source[0], world.target[0] = 4, 7
    world.commit({0: 8})
    assert world.problems


def rounds(world: World, count: int = 1) -> None:
    for _ in range(count):
        asyncio.run(world.round())


def test_given_a_rewind_on_the_source_then_it_follows_back() -> None:
    world = World()
    world.source[0] = 9
    rounds(world)
    world.source[0] = 2
    rounds(world)
    assert world.target[0] == 4


def test_given_a_moved_position_then_it_stays_until_it_is_deleted() -> None:
    world = World()
    world.source[0] = 9
    rounds(world)
    world.target[0] = 5
    world.source[0] = 10
    plan = asyncio.run(world.sync.plan())
    assert [held.why for held in plan.held] == [Why.DIVERGED]
    assert "delete" in plan.held[0].detail
    rounds(world)
    assert world.target[0] == 5
    del world.target[0]
    rounds(world)
    assert world.target[0] == 20


def test_given_a_moved_position_when_it_is_where_it_would_be_then_it_follows_from_there() -> None:
    world = World()
    world.source[0], world.target[0] = 9, 18
    rounds(world)
    assert world.commits == 0
    world.source[0] = 10
    rounds(world)
    assert world.target[0] == 20


def test_given_members_on_the_target_then_nothing_is_tried_and_it_says_so() -> None:
    world = World()
    world.source[0], world.active = 9, True
    plan = asyncio.run(world.sync.plan())
    assert [held.why for held in plan.held] == [Why.ACTIVE]
    rounds(world)
    assert world.commits == 0
    assert world.sync.positions_written == 0
    world.active = False
    rounds(world)
    assert world.target[0] == 18
    assert world.sync.positions_written == 1


def test_given_nothing_changed_for_most_of_a_day_then_positions_are_written_again() -> None:
    world = World()
    world.source = {0: 9, 1: 3}
    rounds(world, 2)
    assert world.commits == 1
    world.clock += REWRITE_MS / 1000
    rounds(world, 2)
    assert world.commits == 2
    assert world.target == {0: 18, 1: 6}


def test_given_what_the_other_direction_wrote_when_the_group_goes_on_there_then_it_follows() -> None:
    # The other link wrote 4 on our source from 9 on our target (they aren't each other's translation: a gap).
    world = World()
    world.opposite = [GroupTopic({0: Mark(source=9, target=4)})]
    world.source[0], world.target[0] = 4, 9
    rounds(world)
    assert world.target[0] == 9
    assert world.commits == 0
    world.source[0] = 6
    world.problems.clear()
    rounds(world)
    assert world.target[0] == 12


@pytest.mark.parametrize(
    ("held", "mark", "late", "pair", "expected"),
    [
        (None, None, (), None, Verdict.WRITE),
        (20, None, (), None, Verdict.ADOPT),
        (20, Mark(10, 20), (), None, Verdict.IN_STEP),
        (20, Mark(10, 20, also=(18,)), (), None, Verdict.ADOPT),
        (18, Mark(9, 18), (), None, Verdict.WRITE),
        (18, Mark(10, 20, also=(18,)), (), None, Verdict.WRITE),
        (18, None, (18,), None, Verdict.WRITE),
        (18, None, (), None, Verdict.DIVERGED),
        (18, None, (), Pair(there=10, here=18), Verdict.IN_STEP),
        (18, None, (), Pair(there=9, here=18), Verdict.WRITE),
        (18, Mark(9, 18), (), Pair(there=10, here=18), Verdict.IN_STEP),
        (18, None, (), Pair(there=10, here=16), Verdict.DIVERGED),
    ],
)
def test_given_a_position_that_belongs_at_20_then_the_rules_say(
    held: int | None, mark: Mark | None, late: tuple[int, ...], pair: Pair | None, expected: Verdict
) -> None:
    assert judge(10, 20, held, mark, late, pair) is expected


@pytest.mark.parametrize(
    ("former", "pair", "expected"),
    [
        (18, None, Verdict.WRITE),
        (17, None, Verdict.DIVERGED),
        (18, Pair(there=9, here=16), Verdict.WRITE),
        (18, Pair(there=10, here=16), Verdict.IN_STEP),
    ],
)
def test_given_a_turned_direction_then_a_position_from_before_follows_once_the_group_has_gone_on(
    former: int, pair: Pair | None, expected: Verdict
) -> None:
    assert judge(10, 20, 18, None, (), pair, former) is expected


def test_given_a_position_from_before_the_copy_s_log_then_it_is_where_that_begins() -> None:
    world = World()
    world.source[0], world.log_start = 4, 100
    world.clamped = True
    rounds(world, 3)
    assert world.target[0] == 100
    assert world.commits == 1
    world.log_start = 150  # what is older has expired: the position would make a consumer start over
    rounds(world, 2)
    assert world.target[0] == 150


def test_given_a_group_that_is_refused_then_it_is_let_be_for_a_while_and_still_shown() -> None:
    world = World()
    world.source[0], world.code = 4, GROUP_AUTHORIZATION_FAILED
    rounds(world, 3)
    assert world.commits == 1
    plan = asyncio.run(world.sync.plan())
    assert [held.why for held in plan.held] == [Why.NOT_AUTHORIZED]
    world.code = 0
    world.clock += 60
    rounds(world)
    assert world.target[0] == 8


@pytest.mark.parametrize(
    ("group", "protocol", "kind", "taken"),
    [
        ("orders", "consumer", "classic", True),
        ("orders", "consumer", "consumer", True),
        ("orders", "", "", True),
        ("orders", "connect", "classic", False),
        ("orders", "", "share", False),
        ("replicator.us-to-eu", "consumer", "classic", False),
        ("console-consumer-17", "consumer", "classic", False),
        ("", "", "classic", False),
    ],
)
def test_given_a_group_on_the_source_then_the_filter_says(group: str, protocol: str, kind: str, taken: bool) -> None:
    found = GroupFilter(GroupsConfig()).choose([ListedGroup(group, protocol, "Empty", kind)])
    assert found == ([group] if taken else [])
