"""ACLs made, found and removed, as Kafka does it: through the protocol, librdkafka and Kafka's own tool."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from kio.schema.errors import ErrorCode

from tests.kafka.guarded import (
    ALL,
    ALLOW,
    ALTER,
    ANY,
    CLUSTER,
    CLUSTER_NAME,
    CREATE,
    DENY,
    DESCRIBE,
    GROUPS,
    IDEMPOTENT_WRITE,
    LITERAL,
    MATCH,
    PREFIXED,
    READ,
    TOPIC,
    TRANSACTIONAL_ID,
    USERS,
    WRITE,
    Guarded,
    Rule,
    creation,
    filter_of,
)
from tests.kafka.scene import Scene
from tests.support.javatools import run_tool
from tests.support.rawclient import Closed, RawClient
from tests.support.waiting import wait_for

RULES = (
    Rule(TOPIC, "orders", READ),
    Rule(TOPIC, "orders", WRITE),
    Rule(TOPIC, "orders", READ, permission=DENY, host="10.0.0.1"),
    Rule(TOPIC, "ord", READ, PREFIXED),
    Rule(TOPIC, "orders-", ALL, PREFIXED, principal="User:bob"),
    Rule(TOPIC, "*", DESCRIBE, principal="User:*"),
    Rule(GROUPS, "orders", READ),
    Rule(GROUPS, "*", READ, PREFIXED),
    Rule(TRANSACTIONAL_ID, "orders", WRITE, principal="User:CN=bob,OU=x"),
    Rule(CLUSTER, CLUSTER_NAME, CREATE),
    Rule(CLUSTER, CLUSTER_NAME, IDEMPOTENT_WRITE, principal="Group:others"),
    Rule(6, "token", DESCRIBE),
    Rule(7, "User:bob", 13),
)
FILTERS: dict[str, tuple[dict[str, Any], set[int]]] = {  # -> the indexes of the rules that it finds
    "everything": ({}, set(range(13))),
    "a resource type": ({"resource_type": GROUPS}, {6, 7}),
    "a name, of any pattern": ({"name": "orders"}, {0, 1, 2, 6, 8}),
    "a literal name": ({"resource_type": TOPIC, "name": "orders", "pattern_type": LITERAL}, {0, 1, 2}),
    "a prefix": ({"name": "ord", "pattern_type": PREFIXED}, {3}),
    "all prefixes": ({"pattern_type": PREFIXED}, {3, 4, 7}),
    "literal names": ({"resource_type": TOPIC, "pattern_type": LITERAL}, {0, 1, 2, 5}),
    "the wildcard by name": ({"name": "*", "pattern_type": LITERAL}, {5}),
    "the star, of any pattern": ({"name": "*"}, {5, 7}),
    "what applies to a resource": (
        {"resource_type": TOPIC, "name": "orders-eu", "pattern_type": MATCH},
        {3, 4, 5},
    ),
    "what applies to a name of any type": ({"name": "orders", "pattern_type": MATCH}, {0, 1, 2, 3, 5, 6, 8}),
    "what applies to the star": ({"name": "*", "pattern_type": MATCH}, {5, 7}),
    "what applies to something": ({"pattern_type": MATCH}, set(range(13))),
    "a principal": ({"principal": "User:bob"}, {4}),
    "everybody, which isn't anybody": ({"principal": "User:*"}, {5}),
    "a host": ({"host": "10.0.0.1"}, {2}),
    "any host by name": ({"host": "*", "resource_type": GROUPS}, {6, 7}),
    "an operation": ({"operation": WRITE}, {1, 8}),
    "the operation ALL, which isn't any": ({"operation": ALL}, {4}),
    "denials": ({"permission": DENY}, {2}),
    "several fields": ({"resource_type": TOPIC, "operation": READ, "permission": ALLOW}, {0, 3}),
    "what nobody made": ({"name": "nothing"}, set()),
    "a type that Kafka doesn't know": ({"resource_type": 99}, set()),
}

CREATED = (ErrorCode.none, "")


def describe(client: RawClient, version: int = 3, /, **wanted: Any) -> Any:
    return client.call("describe_acls", version, **filter_of(**wanted))


def create(client: RawClient, *rules: Rule, version: int = 3) -> list[tuple[ErrorCode, str | None]]:
    answer = client.call("create_acls", version, creations=[creation(rule) for rule in rules])
    return [(ErrorCode(row.error_code), row.error_message) for row in answer.results]


def delete(client: RawClient, *filters: Mapping[str, Any], version: int = 3) -> list[tuple[ErrorCode, set[Rule]]]:
    answer = client.call("delete_acls", version, filters=[filter_of(**each) for each in filters])
    return [
        (
            ErrorCode(found.error_code),
            {
                Rule(
                    row.resource_type,
                    row.resource_name,
                    row.operation,
                    row.pattern_type,
                    row.principal,
                    row.host,
                    row.permission_type,
                )
                for row in found.matching_acls
            },
        )
        for found in answer.filter_results
    ]


def test_given_rules_of_all_kinds_when_described_then_each_filter_finds_what_it_means(guarded: Guarded) -> None:
    guarded.grant(*RULES)
    for name, (wanted, expected) in FILTERS.items():
        assert guarded.rules(**wanted) == {RULES[index] for index in expected}, name


def test_given_rules_of_all_kinds_when_deleted_then_each_filter_removes_what_it_means(guarded: Guarded) -> None:
    guarded.grant(*RULES)
    filters = [{"name": "orders"}, {"name": "orders", "pattern_type": MATCH}, {"name": "nothing"}, {"host": "10.0.0.1"}]
    found = delete(guarded.admin, *filters)
    expected = [FILTERS["a name, of any pattern"][1], FILTERS["what applies to a name of any type"][1], set(), {2}]
    assert found == [(ErrorCode.none, {RULES[index] for index in each}) for each in expected]
    left = {rule for index, rule in enumerate(RULES) if not any(index in each for each in expected)}
    wait_for(lambda: guarded.rules() == left, within=10, what="only what was meant is gone")


@pytest.mark.parametrize("version", [1, 2, 3])
def test_given_every_version_when_used_then_the_answers_are_the_same(guarded: Guarded, version: int) -> None:
    rule = Rule(TOPIC, "v", READ, PREFIXED)
    assert create(guarded.admin, rule, rule, version=version) == [CREATED] * 2
    wait_for(lambda: guarded.rules() == {rule}, within=10, what="the rule is known")
    assert create(guarded.admin, rule, version=version) == [CREATED]
    (resource,) = describe(guarded.admin, version).resources
    assert (resource.resource_name, resource.pattern_type, len(resource.acls)) == ("v", PREFIXED, 1)
    assert delete(guarded.admin, {"name": "v"}, version=version) == [(ErrorCode.none, {rule})]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Rule(99, "n", READ), "Invalid resourceType UNKNOWN"),
        (Rule(TOPIC, "n", READ, 99), "Invalid patternType UNKNOWN"),
        (Rule(TOPIC, "n", 99), "Invalid operation UNKNOWN"),
        (Rule(TOPIC, "n", READ, permission=99), "Invalid permissionType UNKNOWN"),
        (Rule(TOPIC, "", READ), "Invalid empty resource name"),
        (Rule(CLUSTER, "other", CREATE), "The only valid name for the CLUSTER resource is kafka-cluster"),
        (
            Rule(TOPIC, "n", READ, principal="alice"),
            "Could not parse principal from `alice` (no colon is present separating the principal type from the "
            "principal name)",
        ),
    ],
)
def test_given_a_rule_that_makes_no_sense_when_created_then_it_alone_is_refused(
    guarded: Guarded, wrong: Rule, message: str
) -> None:
    good = [Rule(TOPIC, "before", READ), Rule(TOPIC, "after", READ)]
    assert create(guarded.admin, good[0], wrong, good[1]) == [
        CREATED,
        (ErrorCode.invalid_request, message),
        CREATED,
    ]
    wait_for(lambda: guarded.rules() == set(good), within=10, what="the others are known")


@pytest.mark.parametrize(
    "wrong",
    [
        Rule(ANY, "n", READ),
        Rule(TOPIC, "n", READ, ANY),
        Rule(TOPIC, "n", READ, MATCH),
        Rule(TOPIC, "n", ANY),
        Rule(TOPIC, "n", READ, permission=ANY),
    ],
)
def test_given_a_rule_that_only_a_filter_could_be_when_created_then_all_of_the_request_is_refused(
    guarded: Guarded, wrong: Rule
) -> None:
    assert create(guarded.admin, RULES[0], wrong) == [(ErrorCode.unknown_server_error, None)] * 2
    assert guarded.rules() == set()


@pytest.mark.parametrize(
    "strange",
    [
        # Kafka asks little: operations that the resource doesn't have, principals of any type, hosts that are none
        Rule(GROUPS, "g", WRITE),
        Rule(CLUSTER, CLUSTER_NAME, READ, PREFIXED),
        Rule(TOPIC, "not a topic name: é", READ),
        Rule(TOPIC, "t", READ, principal="Whatever:x:y"),
        Rule(TOPIC, "t", READ, principal=":"),
        Rule(TOPIC, "t", READ, host=""),
        Rule(TOPIC, "t", READ, host="not-an-address"),
    ],
)
def test_given_a_rule_that_applies_to_nobody_when_created_then_it_is_kept_all_the_same(
    guarded: Guarded, strange: Rule
) -> None:
    guarded.grant(strange)
    assert guarded.rules() == {strange}


def test_given_a_filter_with_codes_that_kafka_does_not_know_when_deleting_then_it_alone_is_refused(
    guarded: Guarded,
) -> None:
    guarded.grant(RULES[0])
    found = delete(guarded.admin, {"resource_type": 99}, {"operation": 99}, {"name": "orders"})
    assert found == [
        (ErrorCode.invalid_request, set()),
        (ErrorCode.invalid_request, set()),
        (ErrorCode.none, {RULES[0]}),
    ]


@pytest.mark.parametrize(
    ("api", "values"),
    [
        ("describe_acls", filter_of(resource_type=0)),
        ("describe_acls", filter_of(pattern_type=0)),
        ("describe_acls", filter_of(operation=0)),
        ("delete_acls", {"filters": [filter_of(permission=0)]}),
        ("create_acls", {"creations": [creation(Rule(0, "t", READ))]}),
    ],
)
def test_given_a_request_with_elements_of_type_unknown_when_sent_then_the_connection_is_closed(
    guarded: Guarded, api: str, values: dict[str, Any]
) -> None:
    with RawClient(guarded.bootstrap) as client:
        client.log_in("admin", USERS["admin"])
        with pytest.raises(Closed):
            client.call(api, 3, **values)


def test_given_no_authorizer_when_asked_for_acls_then_security_is_disabled(scene: Scene) -> None:
    described = describe(scene.client)
    assert described.error_code == ErrorCode.security_disabled
    assert described.error_message == "No Authorizer is configured on the broker"
    rule = Rule(TOPIC, "t", READ)
    disabled = (ErrorCode.security_disabled, "No Authorizer is configured.")
    assert create(scene.client, rule, Rule(ANY, "", READ)) == [disabled] * 2
    assert delete(scene.client, {}, {"name": "x"}) == [(ErrorCode.security_disabled, set())] * 2


def test_given_nobody_when_asking_about_acls_then_the_cluster_must_allow_it(guarded: Guarded) -> None:
    alice = guarded.client("alice")
    rule, other = Rule(TOPIC, "mine", READ), Rule(TOPIC, "yours", READ)
    refused = ErrorCode.cluster_authorization_failed
    assert describe(alice).error_code == refused
    assert [code for code, _ in create(alice, rule, other)] == [refused] * 2
    assert delete(alice, {}, {}) == [(refused, set())] * 2
    guarded.grant(Rule(CLUSTER, CLUSTER_NAME, DESCRIBE))
    assert describe(alice).error_code == ErrorCode.none
    assert [code for code, _ in create(alice, rule)] == [refused]
    guarded.revoke_all()
    guarded.grant(Rule(CLUSTER, CLUSTER_NAME, ALTER))
    wait_for(lambda: create(alice, rule) == [CREATED], within=10, what="Alter lets create")
    assert describe(alice).error_code == ErrorCode.none  # Alter includes Describe
    assert delete(alice, {"name": "mine"}) == [(ErrorCode.none, {rule})]


# --- clients ---------------------------------------------------------------------------------------------------------


def binding(rule: Rule) -> AclBinding:
    return AclBinding(
        ResourceType(rule.resource_type),
        rule.name,
        ResourcePatternType(rule.pattern_type),
        rule.principal,
        rule.host,
        AclOperation(rule.operation),
        AclPermissionType(rule.permission),
    )


def test_given_librdkafkas_admin_client_when_managing_acls_then_it_finds_what_it_made(guarded: Guarded) -> None:
    rules = [rule for rule in RULES if rule.resource_type in (TOPIC, GROUPS, TRANSACTIONAL_ID)]
    admin = AdminClient(guarded.login("admin"))
    for made in admin.create_acls([binding(rule) for rule in rules], request_timeout=10).values():
        made.result(10)
    wait_for(lambda: guarded.rules() == set(rules), within=10, what="the rules are known")

    def filter_for(name: str | None, pattern: ResourcePatternType, principal: str | None = None) -> AclBindingFilter:
        return AclBindingFilter(
            ResourceType.TOPIC, name, pattern, principal, None, AclOperation.ANY, AclPermissionType.ANY
        )

    everything = filter_for(None, ResourcePatternType.ANY)
    assert set(admin.describe_acls(everything, request_timeout=10).result(10)) == {binding(r) for r in RULES[:6]}
    applying = filter_for("orders-eu", ResourcePatternType.MATCH)
    (gone,) = admin.delete_acls([applying], request_timeout=10).values()
    assert set(gone.result(10)) == {binding(rule) for rule in RULES[3:6]}
    nothing = filter_for(None, ResourcePatternType.ANY, "User:nobody")
    assert list(admin.describe_acls(nothing, request_timeout=10).result(10)) == []


def test_given_a_refusal_when_librdkafka_describes_acls_then_it_passes_for_an_empty_answer(guarded: Guarded) -> None:
    """Not what anybody would expect (librdkafka 2.16): whoever must know the difference asks by other means."""
    guarded.grant(RULES[0])
    everything = AclBindingFilter(
        ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY
    )
    denied = AdminClient(guarded.login("alice"))
    assert describe(guarded.client("alice")).error_code == ErrorCode.cluster_authorization_failed
    assert denied.describe_acls(everything, request_timeout=10).result(10) == []
    for refused in (
        *denied.create_acls([binding(RULES[1])], request_timeout=10).values(),
        *denied.delete_acls([everything], request_timeout=10).values(),
    ):
        with pytest.raises(KafkaException, match="CLUSTER_AUTHORIZATION_FAILED"):
            refused.result(10)


@pytest.mark.kafka
def test_given_kafkas_own_tool_when_managing_acls_then_the_bundled_broker_satisfies_it(
    guarded_bundled: Guarded, tmp_path: Path
) -> None:
    settings = tmp_path / "client.properties"
    module = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    settings.write_text(
        "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\n"
        f'sasl.jaas.config={module} username="admin" password="{USERS["admin"]}";\n'
    )
    guarded_bundled.revoke_all()

    def acls(*arguments: str) -> str:
        how = ("--bootstrap-server", guarded_bundled.bootstrap, "--command-config", str(settings))
        return run_tool("org.apache.kafka.tools.AclCommand", *how, *arguments, env=dict(os.environ)).stdout

    topic = ("--topic", "tool-", "--resource-pattern-type", "prefixed")
    acls("--add", "--allow-principal", "User:alice", "--producer", *topic)
    made = {Rule(TOPIC, "tool-", operation, PREFIXED) for operation in (WRITE, DESCRIBE, CREATE)}
    assert guarded_bundled.rules() >= made
    listed = acls("--list", "--topic", "tool-box", "--resource-pattern-type", "match")
    assert "Current ACLs for resource `ResourcePattern(resourceType=TOPIC, name=tool-, patternType=PREFIXED)`" in listed
    assert "(principal=User:alice, host=*, operation=WRITE, permissionType=ALLOW)" in listed
    acls("--remove", "--force", *topic)
    assert guarded_bundled.rules() == set()
