"""What nobody may describe is left out of lists, and asked for by name it looks as if it might not exist."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from kio.schema.errors import ErrorCode

from broker.config import BrokerConfig
from broker.security.acls import Acl, Acls
from broker.security.authorizer import AclAuthorizer, Requester
from broker.security.resources import SUPPORTED, Operation, PatternType, Permission, ResourceType
from tests.broker.test_authorizer import oracle
from tests.kafka.guarded import (
    ALL,
    ALLOW,
    ALTER,
    CLUSTER,
    CLUSTER_NAME,
    CREATE,
    DELETE,
    DENY,
    DESCRIBE,
    GROUPS,
    LITERAL,
    PREFIXED,
    READ,
    TOPIC,
    TRANSACTIONAL_ID,
    USERS,
    WRITE,
    Guarded,
    Rule,
    guarded_cluster,
    until,
)
from tests.kafka.scene import BUSY, unique
from tests.support.rawclient import Closed, RawClient, batch, retry
from tests.support.waiting import wait_for

REFUSED = ErrorCode.topic_authorization_failed
NOWHERE = ErrorCode.unknown_topic_or_partition
OK = ErrorCode.none


def metadata(client: RawClient, **asked: Any) -> Any:
    """Code, name, and whether there is an id."""
    (row,) = client.call("metadata", 12, topics=[asked], allow_auto_topic_creation=False).topics
    return row.error_code, row.name, row.topic_id is not None


def pages(client: RawClient, *names: str) -> Any:
    answer = client.call(
        "describe_topic_partitions", 0, topics=[{"name": name} for name in names], response_partition_limit=2000
    )
    return {row.name: (row.error_code, row.topic_id is not None) for row in answer.topics}


def all_topics(client: RawClient) -> set[str]:
    return {row.name for row in client.call("metadata", 12, topics=None).topics}


def delete_topic(client: RawClient, **asked: Any) -> Any:
    (row,) = client.call("delete_topics", 6, topics=[asked], timeout=10_000).responses
    return row.error_code, row.name


def test_given_topics_that_may_not_be_described_when_listed_then_they_are_left_out(guarded: Guarded) -> None:
    alice = guarded.client("alice")
    seen, hidden = guarded.topic(), guarded.topic()
    assert all_topics(alice) == set()
    assert pages(alice) == {}
    guarded.grant(Rule(TOPIC, seen, WRITE))
    until(lambda: all_topics(alice), {seen})
    assert pages(alice) == {seen: (OK, True)}
    guarded.grant(Rule(TOPIC, "t-", READ, PREFIXED), Rule(TOPIC, hidden, DESCRIBE, permission=DENY))
    assert seen in all_topics(alice)
    assert hidden not in all_topics(alice)


def test_given_a_topic_that_may_not_be_described_when_asked_for_then_it_might_as_well_not_exist(
    guarded: Guarded,
) -> None:
    alice = guarded.client("alice")
    there, nowhere = guarded.topic(), unique("nowhere")
    topic_id = guarded.topic_id(there)
    assert metadata(alice, name=there) == (REFUSED, there, False)
    assert metadata(alice, name=nowhere) == (REFUSED, nowhere, False)
    assert metadata(alice, topic_id=topic_id, name=None) == (REFUSED, None, True)
    assert pages(alice, there, nowhere) == {there: (REFUSED, False), nowhere: (REFUSED, False)}
    guarded.grant(Rule(TOPIC, there, DESCRIBE), Rule(TOPIC, nowhere, DESCRIBE))
    assert metadata(alice, name=there) == (OK, there, True)
    assert metadata(alice, name=nowhere) == (NOWHERE, nowhere, False)
    assert metadata(alice, topic_id=topic_id, name=None) == (OK, there, True)
    assert pages(alice, there, nowhere) == {there: (OK, True), nowhere: (NOWHERE, False)}


def test_given_a_topic_that_may_not_be_described_when_deleted_then_it_stays_and_keeps_its_name(
    guarded: Guarded,
) -> None:
    alice = guarded.client("alice")
    there, other, nowhere = guarded.topic(), guarded.topic(), unique("nowhere")
    topic_id = guarded.topic_id(there)
    assert delete_topic(alice, name=there) == (REFUSED, there)
    assert delete_topic(alice, name=nowhere) == (REFUSED, nowhere)
    assert delete_topic(alice, name=None, topic_id=topic_id) == (REFUSED, None)
    guarded.grant(Rule(TOPIC, there, DESCRIBE), Rule(TOPIC, nowhere, DESCRIBE))
    until(lambda: delete_topic(alice, name=None, topic_id=topic_id), (REFUSED, there))
    until(lambda: delete_topic(alice, name=nowhere), (NOWHERE, nowhere))
    assert delete_topic(alice, name=there) == (REFUSED, there)
    assert metadata(guarded.admin, name=there)[0] == OK
    guarded.grant(Rule(TOPIC, there, DELETE))
    until(lambda: delete_topic(alice, name=None, topic_id=topic_id), (OK, there))
    guarded.grant(Rule(CLUSTER, CLUSTER_NAME, DELETE))
    until(lambda: delete_topic(alice, name=other), (OK, other))


def test_given_groups_and_transactions_when_listed_then_only_what_may_be_described_is_there(guarded: Guarded) -> None:
    alice = guarded.client("alice")
    topic = guarded.topic()
    mine, yours = guarded.group(topic), guarded.group(topic)
    (x, *_), (other, *_) = guarded.transaction(), guarded.transaction()

    def groups() -> set[str]:
        return {row.group_id for row in alice.call("list_groups", 4, states_filter=[]).groups}

    def transactions() -> set[str]:
        answer = alice.call("list_transactions", 1, duration_filter=-1)
        return {row.transactional_id for row in answer.transaction_states}

    assert (groups(), transactions()) == (set(), set())
    guarded.grant(Rule(GROUPS, mine, DELETE), Rule(TRANSACTIONAL_ID, x, WRITE))
    assert (groups(), transactions()) == ({mine}, {x})
    guarded.grant(Rule(CLUSTER, CLUSTER_NAME, ALTER))
    assert groups() >= {mine, yours}  # who may describe the cluster sees all groups, but no more transactions
    assert transactions() == {x}
    guarded.grant(Rule(TRANSACTIONAL_ID, "*", DESCRIBE))
    assert transactions() >= {x, other}


def test_given_all_positions_of_a_group_when_fetched_then_only_those_of_visible_topics_come(guarded: Guarded) -> None:
    alice = guarded.client("alice")
    seen, hidden = guarded.topic(), guarded.topic()
    group = guarded.group(seen)
    guarded.group(hidden, group)
    guarded.grant(Rule(GROUPS, group, DESCRIBE), Rule(TOPIC, seen, DESCRIBE))
    answer = alice.call("offset_fetch", 8, groups=[{"group_id": group, "topics": None}]).groups[0]
    assert answer.error_code == OK
    assert [topic.name for topic in answer.topics] == [seen]


def test_given_a_partition_that_may_not_be_read_when_fetched_with_another_then_it_does_not_hurry_the_answer(
    guarded: Guarded,
) -> None:
    alice = guarded.client("alice")
    seen, hidden = guarded.topic(), guarded.topic()
    guarded.grant(Rule(TOPIC, seen, READ))
    row = {"partition": 0, "fetch_offset": 1, "partition_max_bytes": 1 << 20}
    row |= {"current_leader_epoch": -1, "last_fetched_epoch": -1}
    began = time.monotonic()
    answer = alice.call(
        "fetch",
        12,
        replica_id=-1,
        max_wait=300,
        min_bytes=1,
        max_bytes=1 << 20,
        session_id=0,
        session_epoch=-1,
        topics=[
            {"topic": hidden, "partitions": [row | {"fetch_offset": 0}]},
            {"topic": seen, "partitions": [row]},
        ],
    )
    assert time.monotonic() - began > 0.25
    assert {each.topic: each.partitions[0].error_code for each in answer.responses} == {seen: OK, hidden: REFUSED}


@pytest.mark.parametrize("transactional", [False, True])
def test_given_a_producer_that_wants_no_answer_when_refused_then_its_connection_is_closed(
    guarded: Guarded, transactional: bool
) -> None:
    topic = guarded.topic()
    name, producer_id, epoch = guarded.transaction() if transactional else (None, -1, -1)
    if transactional:
        guarded.grant(Rule(TOPIC, topic, WRITE))
    attributes = 0x10 if transactional else 0
    records = batch(
        [b"v"], producer_id=producer_id, epoch=epoch, sequence=0 if transactional else -1, attributes=attributes
    )
    data = {"name": topic, "partition_data": [{"index": 0, "records": records}]}
    with RawClient(guarded.bootstrap) as client:
        client.log_in("alice", USERS["alice"])
        client.send("produce", 9, transactional_id=name, acks=0, timeout=1000, topic_data=[data])
        with pytest.raises(Closed):
            client.receive("produce", 9)


# --- what may be done, told for each resource ------------------------------------------------------------------------


NAMES = ("a", "ab", "abc", "b", "bc")
KINDS = (ResourceType.TOPIC, ResourceType.GROUP, ResourceType.CLUSTER)
HOSTS = ("127.0.0.1", "127.0.0.2")


def random_rules(rng: random.Random) -> list[Rule]:
    rules = set()
    for _ in range(rng.choice([1, 5, 15, 40])):
        kind = rng.choice(KINDS)
        rules.add(
            Rule(
                kind,
                CLUSTER_NAME if kind is ResourceType.CLUSTER else rng.choice([*NAMES, "*"]),
                rng.choice([ALL, *sorted(SUPPORTED[kind])]),
                LITERAL if kind is ResourceType.CLUSTER else rng.choice([LITERAL, PREFIXED]),
                rng.choice(["User:alice", "User:bob", "User:*", "Group:alice"]),
                rng.choice(["*", *HOSTS]),
                rng.choice([ALLOW, ALLOW, DENY]),
            )
        )
    return sorted(rules)


def told(client: RawClient) -> dict[tuple[ResourceType, str], int | ErrorCode]:
    """The operations that the node says are allowed, or the error, for all the names."""
    asked = {"include_topic_authorized_operations": True, "include_cluster_authorized_operations": True}
    topics = [{"name": name} for name in NAMES]
    described = client.call("metadata", 10, topics=topics, allow_auto_topic_creation=False, **asked)
    found: dict[tuple[ResourceType, str], int | ErrorCode] = {
        (ResourceType.CLUSTER, CLUSTER_NAME): described.cluster_authorized_operations
    }
    for row in described.topics:
        refused = row.error_code == REFUSED
        found[ResourceType.TOPIC, row.name] = REFUSED if refused else row.topic_authorized_operations
    groups = client.call("describe_groups", 5, groups=list(NAMES), include_authorized_operations=True).groups
    for row in groups:
        found[ResourceType.GROUP, row.group_id] = row.error_code or row.authorized_operations
    return found


def expected(rules: list[Acl], who: Requester, *, default: bool) -> dict[tuple[ResourceType, str], int | ErrorCode]:
    """The same by brute force."""
    out: dict[tuple[ResourceType, str], int | ErrorCode] = {}
    for kind in KINDS:
        for name in (CLUSTER_NAME,) if kind is ResourceType.CLUSTER else NAMES:
            allowed = [each for each in SUPPORTED[kind] if oracle(rules, who, each, kind, name, default=default)]
            if Operation.DESCRIBE in allowed:
                out[kind, name] = sum(1 << each for each in allowed)
            else:
                refusals = {ResourceType.TOPIC: REFUSED, ResourceType.GROUP: ErrorCode.group_authorization_failed}
                out[kind, name] = refusals.get(kind, 0)
    return out


def init_producer(client: RawClient) -> Any:
    def call() -> Any:
        return client.call("init_producer_id", 4, transaction_timeout=1000, producer_id=-1, producer_epoch=-1)

    return retry(call, lambda answer: answer.error_code, BUSY).error_code


def check_random_rules(guarded: Guarded, seed: int, rounds: int, *, default: bool = False) -> int:
    """Random rules, and random users at random hosts ask what they may do; returns the number of questions."""
    rng = random.Random(seed)
    questions = 0
    for _ in range(rounds):
        guarded.revoke_all()
        rules = random_rules(rng)
        guarded.grant(*rules)
        acls = [
            Acl(
                ResourceType(rule.resource_type),
                rule.name,
                PatternType(rule.pattern_type),
                rule.principal,
                rule.host,
                Operation(rule.operation),
                Permission(rule.permission),
            )
            for rule in rules
        ]
        config = BrokerConfig({"allow.everyone.if.no.acl.found": str(default).lower()})
        ours = AclAuthorizer(Acls(acls), config)
        for user in ("alice", "bob"):
            for host in HOSTS:
                client = guarded.client(user, host)
                who = Requester(f"User:{user}", host, "Api")
                answer = told(client)
                assert answer == expected(acls, who, default=default), (rules, who)
                questions += sum(len(SUPPORTED[kind]) for kind, _ in answer)
                may = ours.allows(
                    who, Operation.IDEMPOTENT_WRITE, ResourceType.CLUSTER, CLUSTER_NAME
                ) or ours.allows_any(who, Operation.WRITE, ResourceType.TOPIC)
                made = init_producer(client)
                assert made == (OK if may else ErrorCode.cluster_authorization_failed), (rules, who)
                questions += 1
    return questions


@pytest.mark.parametrize("seed", [1])
def test_given_random_rules_when_users_ask_what_they_may_do_then_it_is_what_brute_force_says(
    guarded: Guarded, seed: int
) -> None:
    assert check_random_rules(guarded, seed, rounds=12) > 3000


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 120))
def test_given_many_random_rules_when_users_ask_what_they_may_do_then_it_is_what_brute_force_says(
    guarded: Guarded, seed: int
) -> None:
    check_random_rules(guarded, seed, rounds=100)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["bundled", pytest.param("kafka", marks=pytest.mark.kafka)])
def test_given_everybody_is_allowed_without_rules_when_there_are_some_then_it_is_what_brute_force_says(
    kind: str,
) -> None:
    with guarded_cluster(kind, {"allow.everyone.if.no.acl.found": "true"}) as guarded:
        assert guarded.client("alice").call("describe_log_dirs", 4, topics=None).error_code == OK
        check_random_rules(guarded, seed=3, rounds=60, default=True)


# --- through librdkafka ----------------------------------------------------------------------------------------------


def delivery(producer: Producer, topic: str) -> KafkaError | None:
    """The error with which one record came back, or None."""
    reports: list[KafkaError | None] = []
    producer.produce(topic, b"v", on_delivery=lambda error, _: reports.append(error))
    producer.flush(10)
    assert len(reports) == 1
    return reports[0]


def test_given_librdkafkas_producer_when_it_may_write_or_not_then_it_learns_so(guarded: Guarded) -> None:
    topic = guarded.topic()
    refused = delivery(Producer(guarded.login("alice")), topic)
    assert refused is not None
    assert refused.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    guarded.grant(Rule(TOPIC, topic, WRITE))
    assert delivery(Producer(guarded.login("alice") | {"enable.idempotence": "true"}), topic) is None
    name = unique("x")
    transactional = guarded.login("alice") | {"transactional.id": name}
    with pytest.raises(KafkaException) as raised:
        Producer(transactional).init_transactions(10)
    assert raised.value.args[0].code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    guarded.grant(Rule(TRANSACTIONAL_ID, name, WRITE))
    producer = Producer(transactional)
    producer.init_transactions(10)
    producer.begin_transaction()
    assert delivery(producer, topic) is None
    producer.commit_transaction(10)


def test_given_librdkafkas_consumer_when_it_may_read_or_not_then_it_learns_so(guarded: Guarded) -> None:
    topic, group = guarded.topic(), unique("g")
    config = guarded.login("alice") | {"group.id": group, "auto.offset.reset": "earliest"}

    def first() -> Any:
        """The first value or error code of a new consumer; a refused one waits for 5 s before it tries again."""
        consumer = Consumer(config)
        try:
            consumer.subscribe([topic])
            message = wait_for(lambda: consumer.poll(0.5), within=10, what="a message or an error")
            if message.error() is not None:
                return message.error().code()
            consumer.commit(asynchronous=False)
            return message.value()
        finally:
            consumer.close()

    guarded.grant(Rule(TOPIC, topic, DESCRIBE))
    assert first() == KafkaError.GROUP_AUTHORIZATION_FAILED
    guarded.grant(Rule(GROUPS, group, READ))
    assert first() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    guarded.grant(Rule(TOPIC, topic, READ), Rule(TOPIC, topic, CREATE, permission=DENY))
    assert first() == b"v"
