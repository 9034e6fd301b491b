"""A cluster with an authorizer, users that log in, and ACLs that come and go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from kio.schema.errors import ErrorCode

from tests.kafka.scene import BUSY, NOT_YET, unique
from tests.support.bundled import BundledCluster
from tests.support.kafka import KafkaCluster
from tests.support.rawclient import GROUP, TRANSACTION, RawClient, batch, retry
from tests.support.waiting import wait_for

USERS = {"admin": "admin-secret", "alice": "alice-secret", "bob": "bob-secret"}
"""PLAIN users and their passwords; `admin` is a super user."""
ANY = 1
TOPIC, GROUPS, CLUSTER, TRANSACTIONAL_ID = 2, 3, 4, 5
MATCH, LITERAL, PREFIXED = 2, 3, 4
DENY, ALLOW = 2, 3
ALL, READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE = 2, 3, 4, 5, 6, 7, 8
CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE = 9, 10, 11, 12
CLUSTER_NAME = "kafka-cluster"
SOON = 0.005
"""Seconds between looks at the ACLs: a real node knows of a new one after some milliseconds."""


class Rule(NamedTuple):
    """An ACL, in the numbers of the protocol."""

    resource_type: int
    name: str
    operation: int
    pattern_type: int = LITERAL
    principal: str = "User:alice"
    host: str = "*"
    permission: int = ALLOW


@contextmanager
def guarded_cluster(kind: str, properties: Mapping[str, str] | None = None) -> Iterator[Guarded]:
    """A cluster of this kind in which only `admin` may do something to begin with, unless `properties` say more."""
    supers = {"super.users": "User:ANONYMOUS;User:admin", **(properties or {})}
    if kind == "bundled":
        cluster: BundledCluster | KafkaCluster = BundledCluster(
            users=USERS, properties=supers, arguments=("--authorizer", "acl"), name="guarded"
        )
    else:
        users = " ".join(f'user_{name}="{password}"' for name, password in USERS.items())
        module = f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};"
        jaas = {"listener.name.client.plain.sasl.jaas.config": module}
        cluster = KafkaCluster(security="plain", authorizer=True, properties=supers | jaas, name="guarded")
    with cluster, Guarded(cluster.bootstrap, kind) as made:
        yield made


class Guarded:
    """Raw connections by user and source address, and the ACLs."""

    def __init__(self, bootstrap: str, kind: str) -> None:
        self.bootstrap = bootstrap
        self.kind = kind
        self._clients: dict[tuple[str, str], RawClient] = {}

    def __enter__(self) -> Guarded:
        for key_type in (GROUP, TRANSACTION):
            retry(
                lambda kind=key_type: (  # type: ignore[misc]
                    self.admin.call("find_coordinator", 4, key_type=kind, coordinator_keys=["warm"]).coordinators[0]
                ),
                lambda row: row.error_code,
                BUSY,
            )
        retry(
            lambda: self.admin.call("describe_groups", 5, groups=["warm"]).groups[0], lambda row: row.error_code, BUSY
        )
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients.values():
            client.__exit__()

    @property
    def admin(self) -> RawClient:
        """May do everything."""
        return self.client("admin")

    def client(self, user: str, source: str = "") -> RawClient:
        """A connection of this user, from this address."""
        known = self._clients.get((user, source))
        if known is None:
            known = RawClient(self.bootstrap, source=source)
            known.log_in(user, USERS[user])
            self._clients[user, source] = known
        return known

    def login(self, user: str) -> dict[str, str]:
        """librdkafka's settings for this user."""
        return {
            "bootstrap.servers": self.bootstrap,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": user,
            "sasl.password": USERS[user],
            "log_level": "0",
        }

    # --- ACLs --------------------------------------------------------------------------------------------------------

    def grant(self, *rules: Rule) -> None:
        """Make rules and wait until the node knows them."""
        answer = self.admin.call("create_acls", 3, creations=[creation(rule) for rule in rules])
        assert [row.error_code for row in answer.results] == [ErrorCode.none] * len(rules), answer
        wait_for(lambda: set(rules) <= self.rules(), within=10, what="the rules are known", every=SOON)

    def revoke_all(self) -> None:
        """Remove all rules and wait until the node knows it."""
        if self.rules():
            self.admin.call("delete_acls", 3, filters=[filter_of()])
            wait_for(lambda: not self.rules(), within=10, what="no rules are left", every=SOON)

    def rules(self, **wanted: Any) -> set[Rule]:
        """The rules that a filter finds."""
        answer = self.admin.call("describe_acls", 3, **filter_of(**wanted))
        assert answer.error_code == ErrorCode.none, answer
        return rules_in(answer)

    # --- what there is to be guarded ---------------------------------------------------------------------------------

    def topic(self, partitions: int = 1) -> str:
        """A new topic with a record in it."""
        name = unique("t")
        topic = {"name": name, "num_partitions": partitions, "replication_factor": 1}
        made = self.admin.call("create_topics", 7, topics=[topic], timeout=10_000).topics[0]
        assert made.error_code == ErrorCode.none, made
        done = retry(lambda: produce(self.admin, name), int, NOT_YET)
        assert done == ErrorCode.none
        return name

    def topic_id(self, name: str) -> Any:
        """The topic's id."""
        return self.admin.call("metadata", 12, topics=[{"name": name}]).topics[0].topic_id

    def transaction(self) -> tuple[str, int, int]:
        """Transactional id, producer id and epoch of a new transactional producer."""
        name = unique("x")
        made = retry(
            lambda: self.admin.call(
                "init_producer_id",
                4,
                transactional_id=name,
                transaction_timeout=60_000,
                producer_id=-1,
                producer_epoch=-1,
            ),
            lambda answer: answer.error_code,
            BUSY,
        )
        assert made.error_code == ErrorCode.none, made
        return name, made.producer_id, made.producer_epoch

    def group(self, topic: str, name: str | None = None) -> str:
        """A group with a position in the topic."""
        name = name or unique("g")
        assert commit(self.admin, name, topic) == ErrorCode.none
        return name


def creation(rule: Rule) -> dict[str, Any]:
    """A rule as CreateAcls has it."""
    return {
        "resource_type": rule.resource_type,
        "resource_name": rule.name,
        "resource_pattern_type": rule.pattern_type,
        "principal": rule.principal,
        "host": rule.host,
        "operation": rule.operation,
        "permission_type": rule.permission,
    }


def filter_of(
    *,
    resource_type: int = ANY,
    name: str | None = None,
    pattern_type: int = ANY,
    principal: str | None = None,
    host: str | None = None,
    operation: int = ANY,
    permission: int = ANY,
) -> dict[str, Any]:
    """A filter as DescribeAcls and DeleteAcls have it; it leaves open what isn't given."""
    return {
        "resource_type_filter": resource_type,
        "resource_name_filter": name,
        "pattern_type_filter": pattern_type,
        "principal_filter": principal,
        "host_filter": host,
        "operation": operation,
        "permission_type": permission,
    }


def rules_in(described: Any) -> set[Rule]:
    """The rules in an answer to DescribeAcls, none of them twice."""
    rows = [
        Rule(
            resource.resource_type,
            resource.resource_name,
            row.operation,
            resource.pattern_type,
            row.principal,
            row.host,
            row.permission_type,
        )
        for resource in described.resources
        for row in resource.acls
    ]
    assert len(set(rows)) == len(rows)
    return set(rows)


def produce(client: RawClient, topic: str, records: bytes | None = None, **how: Any) -> ErrorCode:
    """Produce one batch to partition 0; the partition's code."""
    data = {"name": topic, "partition_data": [{"index": 0, "records": records or batch([b"v"])}]}
    values = {"transactional_id": None, "acks": -1, "timeout": 10_000} | how
    answer = client.call("produce", 9, topic_data=[data], **values)
    return ErrorCode(answer.responses[0].partition_responses[0].error_code)


def commit(client: RawClient, group: str, topic: str) -> ErrorCode:
    """OffsetCommit from outside the group; the partition's code."""
    row = {"partition_index": 0, "committed_offset": 1, "committed_leader_epoch": -1, "committed_metadata": ""}
    answer = retry(
        lambda: client.call(
            "offset_commit",
            8,
            group_id=group,
            generation_id_or_member_epoch=-1,
            member_id="",
            topics=[{"name": topic, "partitions": [row]}],
        ),
        lambda found: found.topics[0].partitions[0].error_code,
        BUSY,
    )
    return ErrorCode(answer.topics[0].partitions[0].error_code)


def until(call: Callable[[], Any], expected: Any) -> None:
    """Wait for an answer: Kafka's controller learns of an ACL a moment after the node that tells of it."""

    def check() -> bool:
        found = call()
        assert found == expected, found
        return True

    wait_for(check, within=3, what=f"{expected!r}", every=SOON)
