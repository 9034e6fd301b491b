"""The set of ACLs: what filters mean, what can be made, and that it outlives a restart."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kio.schema.errors import ErrorCode

from broker.cluster import Cluster
from broker.config_defs import STANDARD_AUTHORIZER, InvalidConfig
from broker.errors import KafkaError
from broker.security.acls import MAX_CHANGES, Acl, AclFilter, Acls
from broker.security.authorizer import AclAuthorizer
from broker.security.resources import Operation, PatternType, Permission, ResourceType
from tests.broker.calls import client_of, running

NAMES = ("a", "ab", "abc", "b", "*")
KINDS = (ResourceType.TOPIC, ResourceType.GROUP)
PATTERNS = (PatternType.LITERAL, PatternType.PREFIXED)
OPERATIONS = (Operation.READ, Operation.ALL)


def acl(
    name: str = "t",
    operation: Operation = Operation.READ,
    *,
    kind: ResourceType = ResourceType.TOPIC,
    pattern: PatternType = PatternType.LITERAL,
    principal: str = "User:alice",
    host: str = "*",
    permission: Permission = Permission.ALLOW,
) -> Acl:
    return Acl(kind, name, pattern, principal, host, operation, permission)


ACLS = st.builds(
    Acl,
    st.sampled_from(KINDS),
    st.sampled_from(NAMES),
    st.sampled_from(PATTERNS),
    st.sampled_from(("User:alice", "User:*")),
    st.sampled_from(("*", "127.0.0.1")),
    st.sampled_from(OPERATIONS),
    st.sampled_from((Permission.ALLOW, Permission.DENY)),
)
FILTERS = st.builds(
    AclFilter,
    st.sampled_from((ResourceType.ANY, *KINDS)),
    st.sampled_from((None, *NAMES)),
    st.sampled_from((PatternType.ANY, PatternType.MATCH, *PATTERNS)),
    st.sampled_from((None, "User:alice", "User:*", "User:bob")),
    st.sampled_from((None, "*", "127.0.0.1")),
    st.sampled_from((Operation.ANY, *OPERATIONS)),
    st.sampled_from((Permission.ANY, Permission.ALLOW, Permission.DENY)),
)


def meant(wanted: AclFilter, rule: Acl) -> bool:
    """What KIP-140 and KIP-290 say of filters, one field after the other."""
    fields = [
        (wanted.resource_type, ResourceType.ANY, rule.resource_type),
        (wanted.principal, None, rule.principal),
        (wanted.host, None, rule.host),
        (wanted.operation, Operation.ANY, rule.operation),
        (wanted.permission, Permission.ANY, rule.permission),
    ]
    if any(asked not in (open_, found) for asked, open_, found in fields):
        return False
    if wanted.pattern_type in PATTERNS and wanted.pattern_type is not rule.pattern_type:
        return False
    if wanted.name is None:
        return True
    if wanted.pattern_type is not PatternType.MATCH:
        return wanted.name == rule.name
    covered = {rule.name} if rule.pattern_type is PatternType.LITERAL else {n for n in NAMES if n.startswith(rule.name)}
    return wanted.name in covered or (rule.pattern_type is PatternType.LITERAL and rule.name == "*")


@given(st.lists(ACLS, max_size=20), FILTERS)
def test_given_any_rules_when_filtered_then_those_are_found_that_the_filter_means(
    rules: list[Acl], wanted: AclFilter
) -> None:
    assert set(Acls(rules).matching(wanted)) == {rule for rule in rules if meant(wanted, rule)}


@given(st.lists(ACLS, max_size=20), st.lists(FILTERS, max_size=3))
def test_given_any_filters_when_deleting_then_each_finds_what_was_there_and_the_rest_stays(
    rules: list[Acl], filters: list[AclFilter]
) -> None:
    acls = Acls()
    assert acls.create(rules) == [None] * len(rules)
    found = acls.delete(filters)
    assert [set(each) for each in found if not isinstance(each, KafkaError)] == [
        {rule for rule in rules if meant(wanted, rule)} for wanted in filters
    ]
    assert set(acls) == {rule for rule in rules if not any(meant(wanted, rule) for wanted in filters)}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (acl(kind=ResourceType.ANY), "Invalid resourceType ANY"),
        (acl(kind=ResourceType(99)), "Invalid resourceType UNKNOWN"),
        (acl(pattern=PatternType.MATCH), "Invalid patternType MATCH"),
        (acl(operation=Operation.ANY), "Invalid operation ANY"),
        (acl(permission=Permission.ANY), "Invalid permissionType ANY"),
        (acl(name=""), "Resource name should not be empty"),
        (acl(principal="alice"), "Could not parse principal from `alice` (no colon is present"),
    ],
)
def test_given_a_rule_that_makes_no_sense_when_created_then_it_alone_is_refused(wrong: Acl, message: str) -> None:
    acls = Acls()
    before, refused, after = acls.create([acl("a"), wrong, acl("b")])
    assert (before, after) == (None, None)
    assert refused is not None
    assert refused.code is ErrorCode.invalid_request
    assert str(refused).startswith(message)
    assert list(acls) == [acl("a"), acl("b")]


def test_given_too_many_changes_at_once_when_asked_for_then_nothing_changes() -> None:
    acls = Acls()
    many = [acl(f"t{number}") for number in range(MAX_CHANGES + 1)]
    with pytest.raises(KafkaError):
        acls.create(many)
    assert len(acls) == 0
    acls.create(many[:MAX_CHANGES])
    acls.create(many[MAX_CHANGES:])
    with pytest.raises(KafkaError):
        acls.delete([AclFilter()])
    assert len(acls) == MAX_CHANGES + 1


def test_given_rules_that_are_there_when_created_or_deleted_again_then_nobody_is_told_of_a_change() -> None:
    acls = Acls()
    calls: list[int] = []
    acls.on_change.append(lambda: calls.append(len(acls)))
    acls.create([acl(), acl()])
    acls.create([acl()])
    acls.delete([AclFilter(), AclFilter()])
    acls.delete([AclFilter()])
    assert calls == [1, 0]


@pytest.mark.parametrize("field", [0, 2, 5, 6])
def test_given_a_stored_rule_that_is_damaged_when_read_then_it_is_refused(field: int) -> None:
    row = list(acl().row())
    assert Acl.from_row(row) == acl()
    row[field] = 99
    with pytest.raises(ValueError):
        Acl.from_row(row)


async def test_given_acls_when_the_cluster_starts_again_then_all_nodes_know_them(tmp_path: Path) -> None:
    rules = [acl(name, pattern=pattern) for name, pattern in product(NAMES, PATTERNS)]
    async with running(data_dir=tmp_path, authorizer="acl") as cluster:
        cluster.acls.create(rules)
        cluster.acls.delete([AclFilter(name="abc")])
    left = [rule for rule in rules if rule.name != "abc"]
    async with running(nodes=2, data_dir=tmp_path, authorizer="acl", config={"super.users": "User:ANONYMOUS"}) as again:
        assert list(again.acls) == left
        for node_id in (0, 1):
            async with client_of(again, node_id) as client:
                answer = await client.call(
                    "describe_acls",
                    3,
                    resource_type_filter=1,
                    pattern_type_filter=1,
                    operation=1,
                    permission_type=1,
                )
                assert sum(len(resource.acls) for resource in answer.resources) == len(left)


async def test_given_a_crash_after_an_answer_when_started_again_then_the_acl_is_there(tmp_path: Path) -> None:
    async with running(data_dir=tmp_path, authorizer="acl") as cluster:
        cluster.acls.create([acl()])
        stored = json.loads((tmp_path / "cluster.json").read_text())
        assert [Acl.from_row(row) for row in stored["acls"]] == [acl()]


async def test_given_metadata_from_before_there_were_acls_when_started_then_there_are_none(tmp_path: Path) -> None:
    async with running(data_dir=tmp_path):
        pass
    stored = json.loads((tmp_path / "cluster.json").read_text())
    del stored["acls"]
    (tmp_path / "cluster.json").write_text(json.dumps(stored))
    async with running(data_dir=tmp_path, authorizer="acl") as cluster:
        assert len(cluster.acls) == 0


async def test_given_kafkas_own_property_when_set_then_acls_are_used() -> None:
    async with running(config={"authorizer.class.name": STANDARD_AUTHORIZER}) as cluster:
        assert isinstance(cluster.authorizer, AclAuthorizer)
    with pytest.raises(InvalidConfig):
        Cluster(config={"authorizer.class.name": "com.example.Mine"})


def test_given_super_users_that_are_no_principals_when_started_then_it_says_so() -> None:
    with pytest.raises(InvalidConfig, match=r"super\.users"):
        Cluster(authorizer="acl", config={"super.users": "User:a; alice"})
