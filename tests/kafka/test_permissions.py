"""Which permission each API needs, step by step: the exact code before and after each ACL, on both brokers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from kio.schema.errors import ErrorCode

from tests.kafka.guarded import (
    ALTER,
    ALTER_CONFIGS,
    CLUSTER,
    CLUSTER_ACTION,
    CLUSTER_NAME,
    CREATE,
    DELETE,
    DESCRIBE,
    DESCRIBE_CONFIGS,
    GROUPS,
    IDEMPOTENT_WRITE,
    READ,
    TOPIC,
    TRANSACTIONAL_ID,
    WRITE,
    Guarded,
    Rule,
    commit,
    produce,
    until,
)
from tests.kafka.scene import unique
from tests.support.rawclient import RawClient, batch
from tests.support.waiting import wait_for

TOPIC_FAILED = ErrorCode.topic_authorization_failed
GROUP_FAILED = ErrorCode.group_authorization_failed
CLUSTER_FAILED = ErrorCode.cluster_authorization_failed
TXN_FAILED = ErrorCode.transactional_id_authorization_failed
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


Call = Callable[[RawClient, Place], Any]
Step = tuple[Callable[[Place], Rule], Any]


def fetch(client: RawClient, topic: Any, version: int) -> Any:
    row = {"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1 << 20}
    row |= {"current_leader_epoch": -1, "last_fetched_epoch": -1}
    where = {"topic_id": topic} if version >= 13 else {"topic": topic}
    session = {"session_id": 0, "session_epoch": -1}
    if version < 15:
        session["replica_id"] = -1
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
    return row.error_code, row.topic_config_error_code, row.configs is None, row.num_partitions


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
    setting: dict[str, Any] = {"name": "retention.ms" if kind == 2 else "background.threads", "value": "3"}
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


# name -> what is called, and what it answers: at first, and after each ACL
LADDERS: dict[str, tuple[Call, Any, Sequence[Step]]] = {
    "produce": (lambda c, p: produce(c, p.t), TOPIC_FAILED, [(lambda p: p.topic(WRITE), OK)]),
    "produce to no topic": (
        lambda c, p: produce(c, p.nowhere),
        TOPIC_FAILED,
        [(lambda p: p.missing(WRITE), ErrorCode.unknown_topic_or_partition)],
    ),
    "produce in a transaction": (
        write_in_transaction,
        TXN_FAILED,
        [(lambda p: p.transaction(WRITE), TOPIC_FAILED), (lambda p: p.topic(WRITE), OK)],
    ),
    "produce without transaction under a transactional id": (
        lambda c, p: produce(c, p.t, transactional_id=p.x[0]),
        TOPIC_FAILED,
        [(lambda p: p.topic(WRITE), OK)],
    ),
    "fetch": (lambda c, p: fetch(c, p.t, 12), TOPIC_FAILED, [(lambda p: p.topic(READ), OK)]),
    "fetch by id": (lambda c, p: fetch(c, p.topic_id, 13), TOPIC_FAILED, [(lambda p: p.topic(READ), OK)]),
    "fetch from no topic": (
        lambda c, p: fetch(c, p.nowhere, 12),
        TOPIC_FAILED,
        [(lambda p: p.missing(READ), ErrorCode.unknown_topic_or_partition)],
    ),
    "list offsets": (lambda c, p: list_offsets(c, p.t), TOPIC_FAILED, [(lambda p: p.topic(DESCRIBE), OK)]),
    "leader epochs": (lambda c, p: leader_epoch(c, p.t), TOPIC_FAILED, [(lambda p: p.topic(DESCRIBE), OK)]),
    "leader epochs among brokers": (
        lambda c, p: leader_epoch(c, p.t),
        TOPIC_FAILED,
        [(lambda p: p.cluster(CLUSTER_ACTION), OK)],
    ),
    "create a topic": (
        lambda c, p: create_topic(c, p.nowhere),
        (TOPIC_FAILED, OK, True, -1),
        [
            (lambda p: p.missing(CREATE), (OK, TOPIC_FAILED, True, -1)),
            (lambda p: p.missing(DESCRIBE_CONFIGS), (OK, OK, False, 1)),
        ],
    ),
    "create any topic": (
        lambda c, p: create_topic(c, p.nowhere),
        (TOPIC_FAILED, OK, True, -1),
        [(lambda p: p.cluster(CREATE), (OK, TOPIC_FAILED, True, -1))],
    ),
    "create partitions": (lambda c, p: create_partitions(c, p.t), TOPIC_FAILED, [(lambda p: p.topic(ALTER), OK)]),
    "delete records": (lambda c, p: delete_records(c, p.t), TOPIC_FAILED, [(lambda p: p.topic(DELETE), OK)]),
    "describe a topic's settings": (
        lambda c, p: describe_configs(c, 2, p.t),
        TOPIC_FAILED,
        [(lambda p: p.topic(DESCRIBE), TOPIC_FAILED), (lambda p: p.topic(DESCRIBE_CONFIGS), OK)],
    ),
    "describe settings that may be altered": (
        lambda c, p: describe_configs(c, 2, p.t),
        TOPIC_FAILED,
        [(lambda p: p.topic(ALTER_CONFIGS), OK)],
    ),
    "describe the settings of no topic": (
        lambda c, p: describe_configs(c, 2, p.nowhere),
        TOPIC_FAILED,
        [(lambda p: p.missing(DESCRIBE_CONFIGS), ErrorCode.unknown_topic_or_partition)],
    ),
    "describe a broker's settings": (
        lambda c, p: describe_configs(c, 4, ""),
        CLUSTER_FAILED,
        [(lambda p: p.cluster(DESCRIBE_CONFIGS), OK)],
    ),
    "alter a topic's settings": (
        lambda c, p: alter_configs(c, 2, p.t, incremental=True),
        TOPIC_FAILED,
        [(lambda p: p.topic(ALTER), TOPIC_FAILED), (lambda p: p.topic(ALTER_CONFIGS), OK)],
    ),
    "alter a topic's settings as a whole": (
        lambda c, p: alter_configs(c, 2, p.t, incremental=False),
        TOPIC_FAILED,
        [(lambda p: p.topic(ALTER_CONFIGS), OK)],
    ),
    "alter the settings of no topic": (
        lambda c, p: alter_configs(c, 2, p.nowhere, incremental=True),
        TOPIC_FAILED,
        [(lambda p: p.missing(ALTER_CONFIGS), ErrorCode.unknown_topic_or_partition)],
    ),
    "alter the brokers' settings": (
        lambda c, p: alter_configs(c, 4, "", incremental=True),
        CLUSTER_FAILED,
        [(lambda p: p.cluster(ALTER_CONFIGS), OK)],
    ),
    "find a group's coordinator": (
        lambda c, p: coordinator(c, 4, 0, p.g),
        GROUP_FAILED,
        [(lambda p: p.group(DESCRIBE), OK)],
    ),
    "find a group's coordinator, formerly": (
        lambda c, p: coordinator(c, 3, 0, p.g),
        GROUP_FAILED,
        [(lambda p: p.group(READ), OK)],
    ),
    "find a transaction's coordinator": (
        lambda c, p: coordinator(c, 4, 1, p.x[0]),
        TXN_FAILED,
        [(lambda p: p.transaction(DESCRIBE), OK)],
    ),
    "join a group": (
        lambda c, p: join(c, p.g),
        GROUP_FAILED,
        [(lambda p: p.group(DESCRIBE), GROUP_FAILED), (lambda p: p.group(READ), ErrorCode.member_id_required)],
    ),
    "sync": (lambda c, p: sync(c, p.g), GROUP_FAILED, [(lambda p: p.group(READ), ErrorCode.unknown_member_id)]),
    "heartbeat": (
        lambda c, p: c.call("heartbeat", 4, group_id=p.g, generation_id=1, member_id="m").error_code,
        GROUP_FAILED,
        [(lambda p: p.group(READ), ErrorCode.unknown_member_id)],
    ),
    "leave a group": (
        lambda c, p: leave(c, p.g),
        (GROUP_FAILED, []),
        [(lambda p: p.group(READ), (OK, [ErrorCode.unknown_member_id]))],
    ),
    "describe a group": (
        lambda c, p: c.call("describe_groups", 5, groups=[p.g]).groups[0].error_code,
        GROUP_FAILED,
        [(lambda p: p.group(DESCRIBE), OK)],
    ),
    "delete a group": (
        lambda c, p: c.call("delete_groups", 2, groups_names=[p.g]).results[0].error_code,
        GROUP_FAILED,
        [(lambda p: p.group(READ), GROUP_FAILED), (lambda p: p.group(DELETE), OK)],
    ),
    "commit": (
        lambda c, p: commit(c, p.g, p.t),
        GROUP_FAILED,
        [(lambda p: p.group(READ), TOPIC_FAILED), (lambda p: p.topic(READ), OK)],
    ),
    "fetch positions": (
        lambda c, p: offset_fetch(c, p.g, p.t, 8),
        (GROUP_FAILED,),
        [
            (lambda p: p.group(DESCRIBE), (OK, (TOPIC_FAILED, -1))),
            (lambda p: p.topic(DESCRIBE), (OK, (OK, 1))),
        ],
    ),
    "fetch positions, formerly": (
        lambda c, p: offset_fetch(c, p.g, p.t, 7),
        (GROUP_FAILED,),
        [
            (lambda p: p.group(READ), (OK, (TOPIC_FAILED, -1))),
            (lambda p: p.topic(WRITE), (OK, (OK, 1))),
        ],
    ),
    "delete positions": (
        lambda c, p: offset_delete(c, p.g, p.t),
        (GROUP_FAILED,),
        [
            (lambda p: p.group(DELETE), (OK, TOPIC_FAILED)),
            (lambda p: p.topic(READ), (OK, OK)),
        ],
    ),
    "start a transactional producer": (
        lambda c, p: init_producer(c, p.x[0]),
        TXN_FAILED,
        [(lambda p: p.transaction(DESCRIBE), TXN_FAILED), (lambda p: p.transaction(WRITE), OK)],
    ),
    "start an idempotent producer": (
        lambda c, p: init_producer(c, None),
        CLUSTER_FAILED,
        [(lambda p: p.cluster(IDEMPOTENT_WRITE), OK)],
    ),
    "start an idempotent producer for some topic": (
        lambda c, p: init_producer(c, None),
        CLUSTER_FAILED,
        [(lambda p: p.topic(READ), CLUSTER_FAILED), (lambda p: p.missing(WRITE), OK)],
    ),
    "add partitions to a transaction": (
        lambda c, p: add_partitions(c, p.x, p.t, p.nowhere),
        (TXN_FAILED, TXN_FAILED),
        [
            (lambda p: p.transaction(WRITE), (TOPIC_FAILED, TOPIC_FAILED)),
            (lambda p: p.topic(WRITE), (ErrorCode.operation_not_attempted, TOPIC_FAILED)),
            (
                lambda p: p.missing(WRITE),
                (ErrorCode.operation_not_attempted, ErrorCode.unknown_topic_or_partition),
            ),
        ],
    ),
    "add partitions as brokers do": (
        lambda c, p: add_partitions_as_brokers_do(c, p.x, p.t),
        CLUSTER_FAILED,
        [(lambda p: p.transaction(WRITE), CLUSTER_FAILED), (lambda p: p.cluster(CLUSTER_ACTION), OK)],
    ),
    "add positions to a transaction": (
        lambda c, p: add_offsets(c, p.x, p.g),
        TXN_FAILED,
        [(lambda p: p.transaction(WRITE), GROUP_FAILED), (lambda p: p.group(READ), OK)],
    ),
    "commit in a transaction": (
        txn_commit,
        TXN_FAILED,
        [
            (lambda p: p.transaction(WRITE), GROUP_FAILED),
            (lambda p: p.group(READ), TOPIC_FAILED),
            (lambda p: p.topic(READ), OK),
        ],
    ),
    "end a transaction": (end_txn, TXN_FAILED, [(lambda p: p.transaction(WRITE), OK)]),
    "describe producers": (
        lambda c, p: describe_producers(c, p.t),
        TOPIC_FAILED,
        [(lambda p: p.topic(DESCRIBE), TOPIC_FAILED), (lambda p: p.topic(READ), OK)],
    ),
    "describe a transaction": (
        describe_transaction,
        (TXN_FAILED, []),
        [(lambda p: p.transaction(DESCRIBE), (OK, [])), (lambda p: p.topic(DESCRIBE), (OK, ["the topic"]))],
    ),
    "describe log directories": (
        lambda c, p: c.call("describe_log_dirs", 4, topics=None).error_code,
        CLUSTER_FAILED,
        [(lambda p: p.cluster(DESCRIBE), OK)],
    ),
    "elect leaders": (lambda c, p: elect(c, p.t), CLUSTER_FAILED, [(lambda p: p.cluster(ALTER), OK)]),
    "list what has settings": (
        lambda c, p: c.call("list_config_resources", 1, resource_types=[2]).error_code,
        CLUSTER_FAILED,
        [(lambda p: p.cluster(DESCRIBE_CONFIGS), OK)],
    ),
}


@pytest.mark.parametrize("what", LADDERS)
def test_given_one_permission_after_the_other_when_asked_then_the_codes_are_kafkas(guarded: Guarded, what: str) -> None:
    call, at_first, steps = LADDERS[what]
    place = Place(guarded)
    alice = guarded.client("alice")
    expected = [at_first, *(code for _, code in steps)]
    rules = [None, *(rule for rule, _ in steps)]
    for rule, code in zip(rules, expected, strict=True):
        if rule is not None:
            guarded.grant(rule(place))
        until(lambda: call(alice, place), code)
    assert at_first != expected[-1]
