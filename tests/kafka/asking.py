"""One question to each API by a raw client, the answer reduced to what permissions decide: codes, mostly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kio.schema.errors import ErrorCode

from tests.kafka.guarded import CLUSTER, CLUSTER_NAME, GROUPS, TOPIC, TRANSACTIONAL_ID, Guarded, Rule, produce, until
from tests.kafka.scene import unique
from tests.support.rawclient import RawClient, batch
from tests.support.waiting import wait_for

OK = ErrorCode.none


class Place:
    """Resources of one test's own, made when first named."""

    def __init__(self, guarded: Guarded) -> None:
        self.guarded = guarded
        self._made: dict[str, Any] = {}

    def _once(self, what: str, make: Callable[[], Any]) -> Any:
        if what not in self._made:
            self._made[what] = make()
        return self._made[what]

    @property
    def t(self) -> str:
        """A topic."""
        return str(self._once("topic", self.guarded.topic))

    @property
    def nowhere(self) -> str:
        """The name of a topic that doesn't exist."""
        return str(self._once("nowhere", lambda: unique("nowhere")))

    @property
    def g(self) -> str:
        """A group with a position in the topic."""
        return str(self._once("group", lambda: self.guarded.group(self.t)))

    @property
    def x(self) -> tuple[str, int, int]:
        """A transactional producer: id, producer id, epoch."""
        made: tuple[str, int, int] = self._once("transaction", self.guarded.transaction)
        return made

    @property
    def topic_id(self) -> Any:
        """The topic's id."""
        return self._once("topic id", lambda: self.guarded.topic_id(self.t))

    def cluster(self, operation: int) -> Rule:
        return Rule(CLUSTER, CLUSTER_NAME, operation)

    def topic(self, operation: int) -> Rule:
        return Rule(TOPIC, self.t, operation)

    def missing(self, operation: int) -> Rule:
        return Rule(TOPIC, self.nowhere, operation)

    def group(self, operation: int) -> Rule:
        return Rule(GROUPS, self.g, operation)

    def transaction(self, operation: int) -> Rule:
        return Rule(TRANSACTIONAL_ID, self.x[0], operation)


def fetch(client: RawClient, topic: Any, version: int, replica_id: int = -1) -> Any:
    row = {"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1 << 20}
    row |= {"current_leader_epoch": -1, "last_fetched_epoch": -1}
    where = {"topic_id": topic} if version >= 13 else {"topic": topic}
    session: dict[str, Any] = {"session_id": 0, "session_epoch": -1}
    if version < 15:
        session["replica_id"] = replica_id
    elif replica_id >= 0:
        session["replica_state"] = {"replica_id": replica_id, "replica_epoch": -1}
    answer = client.call(
        "fetch", version, max_wait=0, min_bytes=0, max_bytes=1 << 20, topics=[{**where, "partitions": [row]}], **session
    )
    return answer.responses[0].partitions[0].error_code


def list_offsets(client: RawClient, topic: str) -> Any:
    row = {"partition_index": 0, "timestamp": -1, "current_leader_epoch": -1}
    topics = [{"name": topic, "partitions": [row]}]
    answer = client.call("list_offsets", 7, replica_id=-1, isolation_level=0, topics=topics)
    return answer.topics[0].partitions[0].error_code


def leader_epoch(client: RawClient, topic: str) -> Any:
    topics = [{"topic": topic, "partitions": [{"partition": 0, "current_leader_epoch": -1, "leader_epoch": 0}]}]
    answer = client.call("offset_for_leader_epoch", 4, replica_id=-1, topics=topics)
    return answer.topics[0].partitions[0].error_code


def create_topic(client: RawClient, name: str) -> Any:
    topic = {"name": name, "num_partitions": 1, "replication_factor": 1}
    row = client.call("create_topics", 7, topics=[topic], timeout=10_000, validate_only=True).topics[0]
    assert bool(row.configs) == (row.num_partitions == 1)
    return row.error_code, row.topic_config_error_code, row.num_partitions


def create_partitions(client: RawClient, name: str) -> Any:
    topics = [{"name": name, "count": 2, "assignments": None}]
    answer = client.call("create_partitions", 3, topics=topics, timeout=10_000, validate_only=True)
    return answer.results[0].error_code


def delete_records(client: RawClient, name: str) -> Any:
    topics = [{"name": name, "partitions": [{"partition_index": 0, "offset": 0}]}]
    return client.call("delete_records", 2, topics=topics, timeout=10_000).topics[0].partitions[0].error_code


def describe_configs(client: RawClient, kind: int, name: str) -> Any:
    row = {"resource_type": kind, "resource_name": name, "configuration_keys": None}
    return client.call("describe_configs", 4, resources=[row]).results[0].error_code


def alter_configs(client: RawClient, kind: int, name: str, *, incremental: bool) -> Any:
    setting: dict[str, Any] = {
        2: {"name": "retention.ms", "value": "3"},
        4: {"name": "background.threads", "value": "9"},
        32: {"name": "consumer.session.timeout.ms", "value": "50000"},
    }[kind]
    if incremental:
        setting["config_operation"] = 0
    row = {"resource_type": kind, "resource_name": name, "configs": [setting]}
    api, version = ("incremental_alter_configs", 1) if incremental else ("alter_configs", 2)
    return client.call(api, version, resources=[row], validate_only=True).responses[0].error_code


def coordinator(client: RawClient, version: int, kind: int, key: str) -> Any:
    if version < 4:
        return client.call("find_coordinator", version, key_type=kind, key=key).error_code
    return client.call("find_coordinator", version, key_type=kind, coordinator_keys=[key]).coordinators[0].error_code


def join(client: RawClient, group: str) -> Any:
    return client.call(
        "join_group",
        7,
        group_id=group,
        session_timeout=10_000,
        rebalance_timeout=10_000,
        member_id="",
        protocol_type="consumer",
        protocols=[{"name": "range", "metadata": b""}],
    ).error_code


def sync(client: RawClient, group: str) -> Any:
    return client.call(
        "sync_group",
        5,
        group_id=group,
        generation_id=1,
        member_id="m",
        protocol_type="consumer",
        protocol_name="range",
        assignments=[],
    ).error_code


def beat(client: RawClient, group: str, topic: str) -> Any:
    return client.call(
        "consumer_group_heartbeat",
        1,
        group_id=group,
        member_id="m",
        member_epoch=0,
        rebalance_timeout=10_000,
        subscribed_topic_names=[topic],
        topic_partitions=[],
    ).error_code


def describe_consumer_group(client: RawClient, place: Place) -> Any:
    until(lambda: beat(place.guarded.admin, place.nowhere, place.t), OK)
    (row,) = client.call("consumer_group_describe", 1, group_ids=[place.nowhere]).groups
    return row.error_code, [member.member_id for member in row.members]


def leave(client: RawClient, group: str) -> Any:
    answer = client.call("leave_group", 4, group_id=group, members=[{"member_id": "m"}])
    return answer.error_code, [member.error_code for member in answer.members]


def offset_fetch(client: RawClient, group: str, topic: str, version: int) -> Any:
    topics = [{"name": topic, "partition_indexes": [0]}]
    if version < 8:
        answer = client.call("offset_fetch", version, group_id=group, topics=topics)
    else:
        answer = client.call("offset_fetch", version, groups=[{"group_id": group, "topics": topics}]).groups[0]
    rows = [(row.error_code, row.committed_offset) for each in answer.topics for row in each.partitions]
    return answer.error_code, *rows


def offset_delete(client: RawClient, group: str, topic: str) -> Any:
    topics = [{"name": topic, "partitions": [{"partition_index": 0}]}]
    answer = client.call("offset_delete", 0, group_id=group, topics=topics)
    return answer.error_code, *(row.error_code for each in answer.topics for row in each.partitions)


def init_producer(client: RawClient, name: str | None) -> Any:
    how = {"transaction_timeout": 60_000, "producer_id": -1, "producer_epoch": -1}
    return client.call("init_producer_id", 4, transactional_id=name, **how).error_code


def add_partitions(client: RawClient, x: tuple[str, int, int], *topics: str) -> Any:
    answer = client.call(
        "add_partitions_to_txn",
        3,
        v3_and_below_transactional_id=x[0],
        v3_and_below_producer_id=x[1],
        v3_and_below_producer_epoch=x[2],
        v3_and_below_topics=[{"name": topic, "partitions": [0]} for topic in topics],
    )
    rows = {row.name: row.results_by_partition[0] for row in answer.results_by_topic_v3_and_below}
    return tuple(rows[topic].partition_error_code for topic in topics)


def add_partitions_as_brokers_do(client: RawClient, x: tuple[str, int, int], topic: str) -> Any:
    row = {"transactional_id": x[0], "producer_id": x[1], "producer_epoch": x[2], "verify_only": True}
    topics = [{"name": topic, "partitions": [0]}]
    answer = client.call("add_partitions_to_txn", 4, transactions=[{**row, "topics": topics}])
    return answer.error_code


def add_offsets(client: RawClient, x: tuple[str, int, int], group: str) -> Any:
    how = {"transactional_id": x[0], "producer_id": x[1], "producer_epoch": x[2]}
    return client.call("add_offsets_to_txn", 3, group_id=group, **how).error_code


def txn_commit(client: RawClient, place: Place) -> Any:
    name, producer_id, epoch = place.x
    assert add_offsets(place.guarded.admin, place.x, place.g) in (OK, ErrorCode.concurrent_transactions)
    row = {"partition_index": 0, "committed_offset": 1, "committed_leader_epoch": -1, "committed_metadata": ""}
    answer = client.call(
        "txn_offset_commit",
        3,
        transactional_id=name,
        group_id=place.g,
        producer_id=producer_id,
        producer_epoch=epoch,
        generation_id=-1,
        member_id="",
        topics=[{"name": place.t, "partitions": [row]}],
    )
    return answer.topics[0].partitions[0].error_code


def end_txn(client: RawClient, place: Place) -> Any:
    name, producer_id, epoch = place.x
    if "ended" not in place._made:
        wait_for(
            lambda: add_partitions(place.guarded.admin, place.x, place.t) == (OK,), within=10, what="a transaction"
        )
    how = {"transactional_id": name, "producer_id": producer_id, "producer_epoch": epoch}
    code = client.call("end_txn", 3, committed=False, **how).error_code
    if code == OK:
        place._made["ended"] = True
    return code


def write_in_transaction(client: RawClient, place: Place) -> Any:
    name, producer_id, epoch = place.x
    add_partitions(place.guarded.admin, place.x, place.t)
    records = batch([b"v"], producer_id=producer_id, epoch=epoch, sequence=0, attributes=0x10)
    return produce(client, place.t, records, transactional_id=name)


def describe_transaction(client: RawClient, place: Place) -> Any:
    add_partitions(place.guarded.admin, place.x, place.t)
    (row,) = client.call("describe_transactions", 0, transactional_ids=[place.x[0]]).transaction_states
    return row.error_code, ["the topic" if each.topic == place.t else each.topic for each in row.topics]


def describe_producers(client: RawClient, topic: str) -> Any:
    topics = [{"name": topic, "partition_indexes": [0]}]
    return client.call("describe_producers", 0, topics=topics).topics[0].partitions[0].error_code


def elect(client: RawClient, topic: str) -> Any:
    answer = client.call(
        "elect_leaders",
        2,
        election_type=0,
        topic_partitions=[{"topic": topic, "partitions": [0]}],
        timeout=10_000,
    )
    return answer.error_code
