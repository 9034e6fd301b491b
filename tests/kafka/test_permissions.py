"""Which permission each API needs, step by step: the exact code before and after each ACL, on both brokers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from kio.schema.errors import ErrorCode

from tests.kafka.asking import (
    OK,
    Place,
    add_offsets,
    add_partitions,
    add_partitions_as_brokers_do,
    alter_configs,
    beat,
    coordinator,
    create_partitions,
    create_topic,
    delete_records,
    describe_configs,
    describe_consumer_group,
    describe_producers,
    describe_transaction,
    elect,
    end_txn,
    fetch,
    init_producer,
    join,
    leader_epoch,
    leave,
    list_offsets,
    offset_delete,
    offset_fetch,
    sync,
    txn_commit,
    write_in_transaction,
)
from tests.kafka.guarded import (
    ALTER,
    ALTER_CONFIGS,
    CLUSTER_ACTION,
    CREATE,
    DELETE,
    DESCRIBE,
    DESCRIBE_CONFIGS,
    GROUPS,
    IDEMPOTENT_WRITE,
    READ,
    WRITE,
    Guarded,
    Rule,
    commit,
    produce,
    until,
)
from tests.support.rawclient import RawClient

TOPIC_FAILED = ErrorCode.topic_authorization_failed
GROUP_FAILED = ErrorCode.group_authorization_failed
CLUSTER_FAILED = ErrorCode.cluster_authorization_failed
TXN_FAILED = ErrorCode.transactional_id_authorization_failed


Call = Callable[[RawClient, Place], Any]
Step = tuple[Callable[[Place], Rule], Any]


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
        (TOPIC_FAILED, OK, -1),
        [
            (lambda p: p.missing(CREATE), (OK, TOPIC_FAILED, -1)),
            (lambda p: p.missing(DESCRIBE_CONFIGS), (OK, OK, 1)),
        ],
    ),
    "create any topic": (
        lambda c, p: create_topic(c, p.nowhere),
        (TOPIC_FAILED, OK, -1),
        [(lambda p: p.cluster(CREATE), (OK, TOPIC_FAILED, -1))],
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
    "stay in a consumer group": (
        lambda c, p: beat(c, p.nowhere, p.t),
        GROUP_FAILED,
        [
            (lambda p: Rule(GROUPS, p.nowhere, DESCRIBE), GROUP_FAILED),
            (lambda p: Rule(GROUPS, p.nowhere, READ), TOPIC_FAILED),
            (lambda p: p.topic(DESCRIBE), OK),
        ],
    ),
    "describe a consumer group": (
        describe_consumer_group,
        (GROUP_FAILED, []),
        [
            (lambda p: Rule(GROUPS, p.nowhere, DESCRIBE), (TOPIC_FAILED, [])),
            (lambda p: p.topic(DESCRIBE), (OK, ["m"])),
        ],
    ),
    "alter a group's settings": (
        lambda c, p: alter_configs(c, 32, p.nowhere, incremental=True),
        GROUP_FAILED,
        [(lambda p: Rule(GROUPS, p.nowhere, ALTER_CONFIGS), OK)],
    ),
    "describe a group's settings": (
        lambda c, p: describe_configs(c, 32, p.nowhere),
        GROUP_FAILED,
        [(lambda p: Rule(GROUPS, p.nowhere, DESCRIBE_CONFIGS), OK)],
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


def test_given_a_client_that_poses_as_a_replica_when_it_may_read_then_it_gets_nothing_all_the_same(
    guarded: Guarded,
) -> None:
    """CVE-2018-1288. Replicas need ClusterAction on the cluster."""
    place = Place(guarded)
    alice = guarded.client("alice")
    guarded.grant(place.topic(READ))
    until(lambda: fetch(alice, place.t, 12), OK)
    assert fetch(alice, place.t, 12, 99) == TOPIC_FAILED
    assert fetch(alice, place.topic_id, 15, 99) == TOPIC_FAILED
