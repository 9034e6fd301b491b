"""Groups when nodes stop, freeze and come back."""

from __future__ import annotations

import asyncio
from typing import Any

from kio.schema.errors import ErrorCode

from broker.clock import ManualClock
from broker.cluster import Cluster
from broker.groups.classic_state import GroupState
from tests.broker.calls import Caller, client_of

SMALL = {"offsets.topic.num.partitions": "2", "group.initial.rebalance.delay.ms": "0"}


def group_coordinated_by(cluster: Cluster, node_id: int) -> str:
    """A group whose coordinator is this node."""
    return next(name for name in "abcdefgh" if cluster.coordinators.offsets_log.coordinator_of(name) == node_id)


async def join(cluster: Cluster, client: Caller, group: str, member_id: str = "") -> Any:
    """JoinGroup without the round for a member id; time stands still, so due timers are run by hand."""
    asked = asyncio.create_task(
        client.call(
            "join_group",
            3,
            group_id=group,
            session_timeout=6000,
            rebalance_timeout=6000,
            member_id=member_id,
            protocol_type="consumer",
            protocols=[{"name": "range", "metadata": b""}],
        )
    )
    async with asyncio.timeout(5):
        while True:
            cluster.coordinators.timers.run_due()
            done, _ = await asyncio.wait([asked], timeout=0.02)
            if done:
                return asked.result()


async def stable(cluster: Cluster, client: Caller, group: str) -> Any:
    """The answer to the join of a group's only member, which has its assignment."""
    joined = await join(cluster, client, group)
    rows = [{"member_id": joined.member_id, "assignment": b"all"}]
    synced = await client.call(
        "sync_group", 2, group_id=group, generation_id=1, member_id=joined.member_id, assignments=rows
    )
    assert (joined.error_code, synced.error_code, synced.assignment) == (0, 0, b"all")
    return joined


async def heartbeat(client: Caller, group: str, member_id: str) -> int:
    answer = await client.call("heartbeat", 2, group_id=group, generation_id=1, member_id=member_id)
    return int(answer.error_code)


async def test_given_a_coordinator_that_stops_when_another_takes_over_then_members_go_on_there() -> None:
    clock = ManualClock()
    async with Cluster(nodes=2, config=SMALL, clock=clock) as cluster:
        group = group_coordinated_by(cluster, 1)
        async with client_of(cluster, 0) as survivor, client_of(cluster, 1) as client:
            joined = await stable(cluster, client, group)
            assert await heartbeat(survivor, group, joined.member_id) == ErrorCode.not_coordinator
            clock.advance(5)
            await cluster.stop_node(1)
            clock.advance(5)  # the new coordinator gives everybody a full session timeout
            cluster.tick()
            assert await heartbeat(survivor, group, joined.member_id) == 0
            clock.advance(7)
            cluster.tick()
            assert cluster.coordinators.groups.groups[group].state is GroupState.EMPTY


async def test_given_a_coordinator_that_freezes_when_it_thaws_then_nobody_was_late() -> None:
    clock = ManualClock()
    async with Cluster(nodes=1, config=SMALL, clock=clock) as cluster:
        async with client_of(cluster) as client:
            joined = await stable(cluster, client, "g")
            await cluster.freeze_node(0)
            clock.advance(8)
            cluster.tick()
            await cluster.thaw_node(0)
            assert await heartbeat(client, "g", joined.member_id) == 0


async def test_given_a_parked_join_when_the_coordinator_moves_then_it_is_told_to_look_for_it() -> None:
    clock = ManualClock()
    async with Cluster(nodes=2, config=SMALL, clock=clock) as cluster:
        group = group_coordinated_by(cluster, 0)
        async with client_of(cluster, 0) as member, client_of(cluster, 0) as newcomer:
            joined = await stable(cluster, member, group)
            waiting = asyncio.create_task(join(cluster, newcomer, group))
            async with asyncio.timeout(5):
                while await heartbeat(member, group, joined.member_id) != ErrorCode.rebalance_in_progress:
                    continue
            index = cluster.coordinators.offsets_log.partition_for(group)
            await cluster.move_leader("__consumer_offsets", index, 1)
            assert (await waiting).error_code == ErrorCode.not_coordinator


async def test_given_a_topic_that_is_deleted_when_positions_are_asked_then_they_are_gone() -> None:
    async with Cluster(config=SMALL) as cluster:
        topic = cluster.create_topic("t", 1)
        async with client_of(cluster) as client:
            row = {"partition_index": 0, "committed_offset": 7, "committed_leader_epoch": -1}
            topics = [{"name": "t", "partitions": [row]}]
            await client.call("offset_commit", 9, group_id="g", generation_id_or_member_epoch=-1, topics=topics)
            assert cluster.coordinators.groups.offsets.positions("g")
            cluster.delete_topic(topic)
            assert not cluster.coordinators.groups.offsets.positions("g")
