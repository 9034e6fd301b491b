"""Consumer groups of KIP-848 when nodes stop, freeze and come back, and when the whole cluster does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kio.schema.errors import ErrorCode

from broker.clock import ManualClock
from broker.cluster import Cluster
from tests.broker.calls import Caller, client_of

SMALL = {
    "offsets.topic.num.partitions": "2",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.heartbeat.interval.ms": "1000",
}


async def beat(client: Caller, group: str, member_id: str, epoch: int) -> Any:
    """A full heartbeat of a member that owns nothing yet, or a short one."""
    full = {"rebalance_timeout": 6000, "subscribed_topic_names": ["t"], "topic_partitions": []}
    short = {"rebalance_timeout": -1, "subscribed_topic_names": None, "topic_partitions": None}
    return await client.call(
        "consumer_group_heartbeat",
        1,
        group_id=group,
        member_id=member_id,
        member_epoch=epoch,
        **(short if epoch else full),
    )


async def test_given_a_coordinator_that_stops_when_another_takes_over_then_members_go_on_there() -> None:
    clock = ManualClock()
    async with Cluster(nodes=2, config=SMALL, clock=clock) as cluster:
        cluster.create_topic("t", 3, 2)
        group = next(name for name in "abcdefgh" if cluster.coordinators.offsets_log.coordinator_of(name) == 1)
        async with client_of(cluster, 0) as survivor, client_of(cluster, 1) as client:
            joined = await beat(client, group, "m", 0)
            assert (joined.error_code, joined.member_epoch) == (0, 1)
            assert (await beat(survivor, group, "m", 1)).error_code == ErrorCode.not_coordinator
            clock.advance(5)
            await cluster.stop_node(1)
            clock.advance(5)  # the new coordinator gives everybody a full session timeout
            cluster.tick()
            went_on = await beat(survivor, group, "m", 1)
            assert (went_on.error_code, went_on.member_epoch) == (0, 1)
            clock.advance(7)
            cluster.tick()
            assert cluster.coordinators.groups.groups[group].is_empty


async def test_given_a_coordinator_that_freezes_when_it_thaws_then_nobody_was_late() -> None:
    clock = ManualClock()
    async with Cluster(nodes=1, config=SMALL, clock=clock) as cluster, client_of(cluster) as client:
        await beat(client, "g", "m", 0)
        await cluster.freeze_node(0)
        clock.advance(8)
        cluster.tick()
        await cluster.thaw_node(0)
        assert (await beat(client, "g", "m", 1)).error_code == 0


async def test_given_data_on_disk_when_the_cluster_starts_again_then_group_settings_and_members_are_there(
    tmp_path: Path,
) -> None:
    resource = {"resource_type": 32, "resource_name": "g"}
    change = {"name": "consumer.heartbeat.interval.ms", "config_operation": 0, "value": "5500"}
    async with Cluster(config=SMALL, data_dir=tmp_path) as cluster, client_of(cluster) as client:
        cluster.create_topic("t", 3)
        altered = await client.call("incremental_alter_configs", 1, resources=[{**resource, "configs": [change]}])
        assert altered.responses[0].error_code == 0
        joined = await beat(client, "g", "m", 0)
        assert joined.heartbeat_interval.total_seconds() == 5.5
        before = cluster.coordinators.groups.consumer_group("g").snapshot
    async with Cluster(config=SMALL, data_dir=tmp_path) as cluster, client_of(cluster) as client:
        assert cluster.coordinators.groups.consumer_group("g").snapshot == before
        again = await beat(client, "g", "m", 1)
        assert (again.error_code, again.member_epoch, again.heartbeat_interval.total_seconds()) == (0, 1, 5.5)
        described = await client.call("consumer_group_describe", 1, group_ids=["g"])
        (topic,) = described.groups[0].members[0].assignment.topic_partitions
        assert (topic.topic_name, topic.partitions) == ("t", (0, 1, 2))
        found = await client.call("list_config_resources", 1, resource_types=[32])
        assert [row.resource_name for row in found.config_resources] == ["g"]


async def test_given_faults_when_members_call_then_each_answer_carries_them() -> None:
    async with Cluster(config=SMALL) as cluster, client_of(cluster) as client:
        cluster.create_topic("t")
        cluster.faults.fail("ConsumerGroupHeartbeat", ErrorCode.coordinator_load_in_progress)
        assert (await beat(client, "g", "m", 0)).error_code == ErrorCode.coordinator_load_in_progress
        cluster.faults.fail("ConsumerGroupDescribe", ErrorCode.not_coordinator)
        rows = (await client.call("consumer_group_describe", 1, group_ids=["g", "h"])).groups
        assert [(row.group_id, row.error_code) for row in rows] == [
            ("g", ErrorCode.not_coordinator),
            ("h", ErrorCode.not_coordinator),
        ]
        assert (await beat(client, "g", "m", 0)).member_epoch == 1
