"""Classic groups: the state machine, its timeouts, and what survives a restart."""

from __future__ import annotations

import asyncio
import struct

import pytest
from kio.schema.errors import ErrorCode

from broker.clock import ManualClock
from broker.errors import KafkaError
from broker.groups.classic_group import ClassicGroup
from broker.groups.classic_state import GroupSettings, GroupState
from broker.groups.coordinator import Commit, Committer, GroupCoordinator, OffsetSettings
from broker.groups.internal_topic import java_hash, partition_of
from broker.groups.member import JoinRequest, JoinResult, SyncResult
from broker.groups.timers import Timers
from tests.broker.fakes import ListLog

DAY = 24 * 3600


class World:
    """A coordinator on a clock that the test moves."""

    def __init__(self, log: ListLog | None = None, **settings: int) -> None:
        self.clock = ManualClock()
        self.timers = Timers(self.clock)
        self.log = log or ListLog()
        self.coordinator = GroupCoordinator(
            clock=self.clock,
            timers=self.timers,
            offsets_log=self.log,
            group_settings=lambda: GroupSettings(**{"initial_rebalance_delay_ms": 0, **settings}),
            offset_settings=OffsetSettings,
        )

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.timers.run_due()

    @property
    def group(self) -> ClassicGroup:
        return self.coordinator.groups["g"]

    def start_join(self, member_id: str = "", **changes: object) -> asyncio.Task[JoinResult]:
        values: dict[str, object] = {
            "group_instance_id": None,
            "client_id": "c",
            "client_host": "127.0.0.1",
            "session_timeout_ms": 10_000,
            "rebalance_timeout_ms": 30_000,
            "protocol_type": "consumer",
            "protocols": (("range", subscription("t")),),
        }
        request = JoinRequest(member_id=member_id, **{**values, **changes})  # type: ignore[arg-type]
        return asyncio.ensure_future(self.coordinator.join("g", request))

    async def join(self, member_id: str = "", **changes: object) -> JoinResult:
        """Join, let timers that are due run, and return the answer."""
        task = self.start_join(member_id, **changes)
        await settle()
        self.timers.run_due()
        return await asyncio.wait_for(task, 1)

    async def sync(self, joined: JoinResult, assignments: dict[str, bytes] | None = None) -> SyncResult:
        return await asyncio.wait_for(
            self.coordinator.sync("g", joined.member_id, None, joined.generation, None, None, assignments or {}), 1
        )

    async def stable(self, **changes: object) -> JoinResult:
        """A group of one member that has its assignment."""
        joined = await self.join(**changes)
        await self.sync(joined, {joined.member_id: b"all"})
        return joined


def subscription(*topics: str) -> bytes:
    names = b"".join(struct.pack(">h", len(topic)) + topic.encode() for topic in topics)
    return struct.pack(">hi", 0, len(topics)) + names + struct.pack(">i", -1)


async def settle() -> None:
    """Let tasks that were just created reach their first wait."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_given_no_member_id_when_joining_with_kip_394_then_an_id_is_given_first() -> None:
    world = World()
    first = await world.join(requires_known_member_id=True)
    assert first.error is ErrorCode.member_id_required
    assert first.member_id.startswith("c-")
    second = await world.join(first.member_id, requires_known_member_id=True)
    assert (second.error, second.generation, second.leader) == (ErrorCode.none, 1, first.member_id)
    assert [member.member_id for member in second.members] == [first.member_id]


async def test_given_two_members_when_leader_syncs_then_each_gets_its_assignment() -> None:
    world = World(initial_rebalance_delay_ms=100)
    tasks = [world.start_join(), world.start_join()]
    await settle()
    world.pass_time(0.1)
    world.pass_time(0.1)  # the second member prolongs the delay once
    a, b = [await asyncio.wait_for(task, 1) for task in tasks]
    assert a.generation == b.generation == 1
    assert a.leader == b.leader == a.member_id
    assert len(a.members) == 2
    assert not b.members
    waiting = asyncio.ensure_future(world.sync(b))
    await settle()
    assert (await world.sync(a, {a.member_id: b"0", b.member_id: b"1"})).assignment == b"0"
    assert (await waiting).assignment == b"1"
    assert world.group.state is GroupState.STABLE


async def test_given_stable_group_when_a_member_joins_then_the_others_are_told_by_heartbeat_to_rejoin() -> None:
    world = World()
    a = await world.stable()
    newcomer = world.start_join()
    await settle()
    with pytest.raises(KafkaError) as told:
        world.coordinator.heartbeat("g", a.member_id, None, a.generation)
    assert told.value.code is ErrorCode.rebalance_in_progress
    rejoined = await world.join(a.member_id)
    b = await asyncio.wait_for(newcomer, 1)
    assert rejoined.generation == b.generation == 2


async def test_given_a_member_that_stops_when_its_session_ends_then_the_others_rebalance_without_it() -> None:
    world = World()
    a = await world.stable()
    newcomer = world.start_join()
    await settle()
    a2 = await world.join(a.member_id)
    b = await newcomer
    waiting = asyncio.ensure_future(world.sync(b))
    await world.sync(a2, {})
    await waiting
    world.pass_time(9)
    world.coordinator.heartbeat("g", a.member_id, None, 2)
    world.pass_time(2)
    assert list(world.group.members) == [a.member_id]
    assert world.group.state is GroupState.PREPARING_REBALANCE
    assert (await world.join(a.member_id)).generation == 3


async def test_given_a_member_that_never_rejoins_when_rebalance_timeout_passes_then_it_is_removed() -> None:
    world = World()
    a = await world.stable(session_timeout_ms=60_000)
    newcomer = world.start_join()
    await settle()
    world.pass_time(30)
    b = await asyncio.wait_for(newcomer, 1)
    assert list(world.group.members) == [b.member_id]
    assert a.member_id not in world.group.members
    assert b.leader == b.member_id


async def test_given_a_member_that_never_syncs_when_time_is_up_then_it_is_removed() -> None:
    world = World()
    a = await world.join(session_timeout_ms=60_000)
    world.pass_time(31)
    assert world.group.state is GroupState.EMPTY
    assert a.member_id not in world.group.members


async def test_given_wrong_credentials_when_calling_then_kafkas_codes_come_back() -> None:
    world = World()
    a = await world.stable()
    heartbeat = world.coordinator.heartbeat
    for arguments, code in (
        (("g", "nobody", None, 1), ErrorCode.unknown_member_id),
        (("g", a.member_id, None, 7), ErrorCode.illegal_generation),
        (("other", a.member_id, None, 1), ErrorCode.unknown_member_id),
    ):
        with pytest.raises(KafkaError) as refused:
            heartbeat(*arguments)
        assert refused.value.code is code
    assert (await world.join("nobody")).error is ErrorCode.unknown_member_id
    assert (await world.join(session_timeout_ms=1)).error is ErrorCode.invalid_session_timeout
    assert (await world.join(protocols=(("other", b""),))).error is ErrorCode.inconsistent_group_protocol
    assert (await world.join(protocol_type="connect")).error is ErrorCode.inconsistent_group_protocol
    stale = await world.coordinator.sync("g", a.member_id, None, 9, None, None, {})
    assert stale.error is ErrorCode.illegal_generation


async def test_given_a_static_member_when_it_returns_without_id_then_it_takes_over_without_a_rebalance() -> None:
    world = World()
    a = await world.stable(group_instance_id="i1")
    again = await world.join(group_instance_id="i1", supports_skipping_assignment=True)
    assert again.error is ErrorCode.none
    assert again.generation == a.generation
    assert again.member_id != a.member_id
    assert again.skip_assignment
    with pytest.raises(KafkaError) as fenced:
        world.coordinator.heartbeat("g", a.member_id, "i1", a.generation)
    assert fenced.value.code is ErrorCode.fenced_instance_id
    assert (await world.sync(again)).assignment == b"all"


async def test_given_members_when_they_leave_then_the_group_becomes_empty() -> None:
    world = World()
    a = await world.stable()
    assert world.coordinator.leave("g", [(a.member_id, None), ("ghost", None)]) == [
        ErrorCode.none,
        ErrorCode.unknown_member_id,
    ]
    assert world.group.state is GroupState.EMPTY
    assert world.group.generation == 2


async def test_given_protocol_preferences_when_voting_then_the_common_favourite_wins() -> None:
    world = World(initial_rebalance_delay_ms=100)
    both = (("sticky", b"s"), ("range", b"r"))
    tasks = [world.start_join(protocols=both), world.start_join(protocols=(("range", b"r"),))]
    await settle()
    world.pass_time(0.1)
    world.pass_time(0.1)
    joined = await asyncio.wait_for(tasks[0], 1)
    assert joined.protocol_name == "range"
    await tasks[1]


def commit(world: World, offset: int, committer: Committer | None = None) -> list[ErrorCode]:
    return world.coordinator.commit("g", committer or Committer(), [Commit("t", 0, offset)])


async def test_given_commits_when_credentials_are_wrong_then_they_are_refused() -> None:
    world = World()
    assert commit(world, 5) == [ErrorCode.none]
    with pytest.raises(KafkaError) as missing:
        world.coordinator.commit("new", Committer("m", None, 3), [Commit("t", 0, 1)], api_version=8)
    assert missing.value.code is ErrorCode.illegal_generation
    a = await world.stable()
    for committer, code in (
        (Committer(), ErrorCode.unknown_member_id),
        (Committer(a.member_id, None, 9), ErrorCode.illegal_generation),
        (Committer("x", None, 1), ErrorCode.unknown_member_id),
    ):
        with pytest.raises(KafkaError) as refused:
            commit(world, 6, committer)
        assert refused.value.code is code
    assert commit(world, 7, Committer(a.member_id, None, a.generation)) == [ErrorCode.none]
    assert world.coordinator.offsets.positions("g")["t", 0].offset == 7
    too_large = [Commit("t", 1, 1, metadata="x" * 5000)]
    assert world.coordinator.commit("h", Committer(), too_large) == [ErrorCode.offset_metadata_too_large]


async def test_given_offsets_in_a_transaction_when_it_ends_then_they_count_only_if_committed() -> None:
    world = World()
    partition = world.log.partition_for("g")
    offsets = world.coordinator.offsets
    for offset, committed in ((5, True), (9, False)):
        world.coordinator.commit_in_transaction("g", Committer(), 4000, 0, [Commit("t", 0, offset)])
        assert offsets.is_pending("g", "t", 0)
        world.log.end_transaction(partition, 4000, commit=committed)
        world.coordinator.end_transaction(partition, 4000, commit=committed)
        assert offsets.positions("g")["t", 0].offset == 5
        assert not offsets.is_pending("g", "t", 0)


async def test_given_a_restart_when_loading_then_members_and_positions_are_back() -> None:
    world = World()
    a = await world.stable()
    commit(world, 41, Committer(a.member_id, None, 1))
    world.coordinator.commit("simple", Committer(), [Commit("t", 1, 3, 2, "note")])
    world.coordinator.commit("gone", Committer(), [Commit("t", 1, 3)])
    world.coordinator.delete_group("gone")
    world.coordinator.commit_in_transaction("g", Committer(a.member_id, None, 1), 4000, 0, [Commit("t", 2, 8)])
    restarted = World(log=world.log)
    restarted.coordinator.load()
    assert set(restarted.coordinator.groups) == {"g", "simple"}
    group = restarted.group
    assert (group.state, group.generation, group.protocol_name) == (GroupState.STABLE, 1, "range")
    assert group.members[a.member_id].assignment == b"all"
    assert group.is_subscribed_to("t")
    restarted.coordinator.heartbeat("g", a.member_id, None, 1)
    offsets = restarted.coordinator.offsets
    assert offsets.positions("g")["t", 0].offset == 41
    assert offsets.is_pending("g", "t", 2)
    kept = offsets.positions("simple")["t", 1]
    assert (kept.offset, kept.leader_epoch, kept.metadata) == (3, 2, "note")
    restarted.pass_time(11)
    assert group.state is GroupState.EMPTY


async def test_given_an_empty_group_when_retention_passes_then_positions_and_group_go() -> None:
    world = World()
    a = await world.stable()
    commit(world, 1, Committer(a.member_id, None, 1))
    world.pass_time(1)
    world.coordinator.heartbeat("g", a.member_id, None, 1)
    for _ in range(8 * DAY // 9):  # a live member keeps its positions for as long as it lives
        world.pass_time(9)
        world.coordinator.heartbeat("g", a.member_id, None, 1)
    world.coordinator.expire_offsets()
    assert world.coordinator.offsets.positions("g")
    world.coordinator.leave("g", [(a.member_id, None)])
    world.pass_time(7 * DAY - 1)
    world.coordinator.expire_offsets()
    assert world.coordinator.offsets.positions("g")
    world.pass_time(1)
    world.coordinator.expire_offsets()
    assert "g" not in world.coordinator.groups
    reloaded = World(log=world.log)
    reloaded.coordinator.load()
    assert not reloaded.coordinator.groups


async def test_given_subscribed_topic_when_deleting_offsets_then_only_other_topics_go() -> None:
    world = World()
    a = await world.stable()
    both = [Commit("t", 0, 1), Commit("u", 0, 1)]
    world.coordinator.commit("g", Committer(a.member_id, None, 1), both)
    codes = world.coordinator.delete_offsets("g", [("t", 0), ("u", 0), ("v", 0)])
    assert codes == [ErrorCode.group_subscribed_to_topic, ErrorCode.none, ErrorCode.none]
    assert list(world.coordinator.offsets.positions("g")) == [("t", 0)]
    with pytest.raises(KafkaError) as busy:
        world.coordinator.delete_group("g")
    assert busy.value.code is ErrorCode.non_empty_group
    with pytest.raises(KafkaError) as unknown:
        world.coordinator.delete_group("nope")
    assert unknown.value.code is ErrorCode.group_id_not_found


def test_given_strings_when_hashing_then_the_result_is_javas() -> None:
    assert java_hash("") == 0
    assert java_hash("hello") == 99162322
    assert java_hash("polygenelubricants") == -(2**31)
    assert java_hash("\U0001f600") == 1772899


def test_given_keys_when_a_partition_is_chosen_then_it_is_kafkas() -> None:
    assert partition_of("hello", 50) == 22
    assert partition_of("polygenelubricants", 50) == 0  # its hash has no positive counterpart
    assert java_hash("zzzzzz") == -685785664
    assert partition_of("zzzzzz", 50) == 14  # of the absolute value, not of the lower 31 bits
