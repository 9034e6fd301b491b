"""Policy documents: what is valid, and what they decide."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest

from broker.iam.errors import PolicyError
from broker.iam.patterns import like
from broker.iam.policy import Decision, PolicyDocument, Question, decide, may_assume

ACCOUNT, OTHER = "123456789012", "210987654321"
ALICE = f"arn:aws:iam::{ACCOUNT}:user/alice"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/Replicator/one"
CLUSTER = f"arn:aws:kafka:us-east-1:{ACCOUNT}:cluster/one/uuid"
TOPIC = f"arn:aws:kafka:us-east-1:{ACCOUNT}:topic/one/uuid/orders"


def document(*statements: dict[str, Any], kind: Any = "identity") -> PolicyDocument:
    return PolicyDocument.parse({"Version": "2012-10-17", "Statement": list(statements)}, kind=kind)


def allow(actions: Any, resources: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resources} | more


def deny(actions: Any, resources: Any = "*", **more: Any) -> dict[str, Any]:
    return allow(actions, resources, **more) | {"Effect": "Deny"}


def verdict(
    *statements: dict[str, Any],
    action: str = "kafka-cluster:ReadData",
    resource: str = TOPIC,
    principal: str = ALICE,
    policy: PolicyDocument | None = None,
    owner: str = ACCOUNT,
    **context: Any,
) -> Decision:
    identity = [document(*statements)] if statements else []
    question = Question(action, resource, principal, {"aws:PrincipalArn": principal} | context)
    return decide(question, identity=identity, resource=[policy] if policy else [], owner=owner).decision


ALLOW, IMPLICIT, EXPLICIT = Decision.ALLOW, Decision.IMPLICIT_DENY, Decision.EXPLICIT_DENY


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("*", "", True), ("", "", True), ("", "a", False), ("a*c", "abbbc", True), ("a*c", "abbbd", False),
        ("*Topic*", "DescribeTopicDynamicConfiguration", True), ("a?c", "ac", False), ("a?c", "abc", True),
        ("**a**", "xxaxx", True), ("a*b*c", "a1b2b3c", True), ("a*b*c", "a1c2b", False), ("[a]", "a", False),
    ],
)  # fmt: skip
def test_patterns(pattern: str, text: str, expected: bool) -> None:
    assert like(pattern, text) is expected


def test_patterns_agree_with_regular_expressions() -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    dice = random.Random(seed)
    for _ in range(3000):
        pattern = "".join(dice.choice("ab*?") for _ in range(dice.randrange(8)))
        text = "".join(dice.choice("ab") for _ in range(dice.randrange(10)))
        regular = "".join({"*": ".*", "?": "."}.get(letter, letter) for letter in pattern)
        assert like(pattern, text) is bool(re.fullmatch(regular, text)), (pattern, text)


def test_a_pattern_of_many_wildcards_takes_no_time_to_speak_of() -> None:
    assert not like("*a" * 200 + "c", "a" * 2000)


def test_given_nothing_that_allows_then_denied_but_for_root() -> None:
    assert verdict() is IMPLICIT
    assert verdict(principal=ROOT) is ALLOW
    assert verdict(principal=f"arn:aws:iam::{OTHER}:root") is IMPLICIT


def test_given_wildcards_in_actions_then_case_does_not_count_and_in_resources_it_does() -> None:
    assert verdict(allow("KAFKA-CLUSTER:*topic*"), action="kafka-cluster:DescribeTopic") is ALLOW
    assert verdict(allow("kafka-cluster:ReadData", "arn:aws:kafka:*:*:topic/one/*/orders")) is ALLOW
    assert verdict(allow("kafka-cluster:ReadData", "arn:aws:kafka:*:*:topic/one/*/Orders")) is IMPLICIT


def test_given_a_deny_anywhere_then_it_wins_and_is_named() -> None:
    statements = (allow("*"), deny("kafka-cluster:Read*", Sid="NoReading"))
    assert verdict(*statements) is EXPLICIT
    assert verdict(*statements, action="kafka-cluster:WriteData") is ALLOW
    assert verdict(deny("kafka-cluster:*"), principal=ROOT) is EXPLICIT
    question = Question("kafka-cluster:ReadData", TOPIC, ALICE)
    assert decide(question, identity=[document(*statements)]).sid == "NoReading"
    resource = document(deny("*", Principal="*"), kind="resource")
    assert verdict(allow("*"), policy=resource) is EXPLICIT


def test_given_the_not_elements_then_they_mean_all_but() -> None:
    statement = {"Effect": "Allow", "NotAction": "kafka-cluster:Delete*", "NotResource": CLUSTER}
    assert verdict(statement) is ALLOW
    assert verdict(statement, action="kafka-cluster:DeleteTopic") is IMPLICIT
    assert verdict(statement, resource=CLUSTER) is IMPLICIT


def test_given_a_variable_then_it_is_the_askers_and_its_wildcards_are_letters() -> None:
    statement = allow("kafka-cluster:ReadData", "arn:aws:kafka:*:*:topic/one/uuid/${aws:PrincipalTag/team}-*")
    topic = TOPIC.replace("orders", "shop-orders")
    assert verdict(statement, resource=topic, **{"aws:PrincipalTag/team": "shop"}) is ALLOW
    assert verdict(statement, resource=topic, **{"aws:PrincipalTag/team": "s*"}) is IMPLICIT
    assert verdict(statement, resource=topic) is IMPLICIT


@pytest.mark.parametrize(
    ("condition", "context", "expected"),
    [
        ({"StringEquals": {"aws:RequestTag/team": "a*"}}, {"aws:RequestTag/team": "ab"}, IMPLICIT),
        ({"StringLike": {"aws:RequestTag/team": "a*"}}, {"aws:RequestTag/team": "ab"}, ALLOW),
        ({"StringEquals": {"AWS:requesttag/team": ["b", "a"]}}, {"aws:RequestTag/team": "a"}, ALLOW),
        ({"StringEquals": {"aws:RequestTag/team": "a"}}, {}, IMPLICIT),
        ({"StringEqualsIfExists": {"aws:RequestTag/team": "a"}}, {}, ALLOW),
        ({"StringNotEquals": {"aws:RequestTag/team": ["a", "b"]}}, {"aws:RequestTag/team": "b"}, IMPLICIT),
        ({"StringNotEquals": {"aws:RequestTag/team": "a"}}, {}, ALLOW),
        ({"StringEqualsIgnoreCase": {"aws:RequestTag/team": "ALPHA"}}, {"aws:RequestTag/team": "alpha"}, ALLOW),
        ({"Null": {"aws:RequestTag/team": "true"}}, {}, ALLOW),
        ({"Null": {"aws:RequestTag/team": True}}, {"aws:RequestTag/team": "a"}, IMPLICIT),
        ({"Bool": {"aws:SecureTransport": True}}, {"aws:SecureTransport": "true"}, ALLOW),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, {"aws:SourceIp": "10.1.2.3"}, ALLOW),
        ({"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, {"aws:SourceIp": "10.1.2.3"}, IMPLICIT),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, {"aws:SourceIp": "nonsense"}, IMPLICIT),
        ({"NumericLessThan": {"a:n": 5}}, {"a:n": "4"}, ALLOW),
        ({"NumericGreaterThanEquals": {"a:n": "5"}}, {"a:n": "4"}, IMPLICIT),
        (
            {"DateLessThan": {"aws:CurrentTime": "2026-01-02T00:00:00Z"}},
            {"aws:CurrentTime": "2026-01-01T00:00:00Z"},
            ALLOW,
        ),
        ({"DateGreaterThan": {"aws:CurrentTime": "2026-01-02"}}, {"aws:CurrentTime": "2026-01-01T00:00:00Z"}, IMPLICIT),
        ({"ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:user/*"}}, {}, ALLOW),
        ({"ArnLike": {"aws:PrincipalArn": "arn:aws:*:user/*"}}, {}, IMPLICIT),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"aws:TagKeys": ["a", "b"]}, ALLOW),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"aws:TagKeys": ["a", "c"]}, IMPLICIT),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"aws:TagKeys": ["c", "b"]}, ALLOW),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": "a"}}, {}, IMPLICIT),
        ({"StringEquals": {"a:x": "1"}, "Bool": {"a:y": "true"}}, {"a:x": "1", "a:y": "false"}, IMPLICIT),
    ],
)
def test_conditions(condition: dict[str, Any], context: dict[str, Any], expected: Decision) -> None:
    assert verdict(allow("*", Condition=condition), **context) is expected


def test_given_a_resource_policy_then_it_is_enough_in_one_account_and_half_between_two() -> None:
    named = document(
        allow("kafka-cluster:*", Principal={"AWS": [ALICE, f"arn:aws:iam::{OTHER}:user/bob"]}), kind="resource"
    )
    bob = f"arn:aws:iam::{OTHER}:user/bob"
    assert verdict(policy=named) is ALLOW
    assert verdict(policy=named, principal=bob) is IMPLICIT
    assert verdict(allow("kafka-cluster:*"), policy=named, principal=bob) is ALLOW
    assert verdict(allow("kafka-cluster:*"), principal=bob) is IMPLICIT
    whole = document(allow("kafka-cluster:*", Principal={"AWS": OTHER}), kind="resource")
    assert verdict(allow("kafka-cluster:*"), policy=whole, principal=bob) is ALLOW
    assert verdict(policy=whole, principal=bob) is IMPLICIT
    own = document(allow("kafka-cluster:*", Principal={"AWS": ROOT}), kind="resource")
    assert verdict(policy=own) is IMPLICIT


def test_given_a_role_in_a_resource_policy_then_its_sessions_are_meant() -> None:
    policy = document(allow("*", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:role/service/Replicator"}), kind="resource")
    assert verdict(policy=policy, principal=SESSION) is ALLOW
    assert verdict(policy=policy) is IMPLICIT


def test_given_a_service_then_only_a_resource_policy_lets_it_in() -> None:
    actions = ["kafka:CreateVpcConnection", "kafka:GetBootstrapBrokers", "kafka:DescribeClusterV2"]
    policy = document(allow(actions, CLUSTER, Principal={"Service": ["kafka.amazonaws.com"]}), kind="resource")
    asked: dict[str, Any] = {
        "action": "kafka:CreateVpcConnection",
        "resource": CLUSTER,
        "principal": "kafka.amazonaws.com",
    }
    assert verdict(policy=policy, **asked) is ALLOW
    assert verdict(policy=policy, **asked | {"action": "kafka:DeleteCluster"}) is IMPLICIT
    assert verdict(allow("*"), **asked) is IMPLICIT


def test_given_a_trust_policy_then_whom_it_names_may_assume_the_role() -> None:
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "kafka.amazonaws.com"}}
    trust = document(statement, kind="trust")
    assert may_assume(trust, "kafka.amazonaws.com")
    assert not may_assume(trust, "ec2.amazonaws.com")
    assert not may_assume(trust, ALICE)
    assert not may_assume(document(statement, statement | {"Effect": "Deny"}, kind="trust"), "kafka.amazonaws.com")


GOOD = allow("kafka-cluster:ReadData")


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("{", "isn't JSON"),
        ("[]", "must be a JSON object"),
        ("[" * 100_000, r"has 100000 bytes|nested"),
        ("[" * 20_000, r"nested|isn't JSON"),
        ('{"Statement": [], "Statement": []}', "twice"),
        ({"Statement": []}, "list of 1 to"),
        ({"Version": "2020-01-01", "Statement": [GOOD]}, "Version must be"),
        ({"Statement": [GOOD], "Extra": 1}, "'Extra'"),
        ({"Statement": [GOOD | {"Sid": "a"}, GOOD | {"Sid": "a"}]}, "same Sid"),
        ({"Statement": [GOOD, GOOD | {"Effect": "allow", "Sid": "x"}]}, r"statement 2 \(x\): Effect"),
        ({"Statement": GOOD | {"Action": "ReadData"}}, "isn't an action"),
        ({"Statement": GOOD | {"Action": []}}, "Action must be"),
        ({"Statement": GOOD | {"NotAction": "*"}}, "either Action or NotAction"),
        ({"Statement": GOOD | {"Resource": "orders"}}, "isn't an ARN"),
        ({"Statement": {"Effect": "Allow", "Action": "*"}}, "either Resource or NotResource"),
        ({"Statement": GOOD | {"Principal": "*"}}, "no Principal"),
        ({"Statement": GOOD | {"Condition": {"StringEqual": {"a": "b"}}}}, "'StringEqual' isn't a condition operator"),
        ({"Statement": GOOD | {"Condition": {"StringEquals": {"a": [{}]}}}}, "must be a text"),
        ({"Statement": GOOD | {"Action": "*" * 3000}}, "1 to 2048"),
    ],
)
def test_given_a_document_that_is_not_valid_then_said_where_and_why(bad: Any, said: str) -> None:
    with pytest.raises(PolicyError, match=said):
        PolicyDocument.parse(bad, kind="identity")


@pytest.mark.parametrize(
    ("principal", "said"),
    [(None, "either Principal"), ("alice", "Principal must be"), ({"AWS": "alice"}, "Invalid principal"),
     ({"AWS": f"arn:aws:iam::{ACCOUNT}:user/*"}, "wildcards"), ({"Users": "*"}, "Principal must be")],
)  # fmt: skip
def test_given_a_resource_policy_with_a_bad_principal_then_said(principal: Any, said: str) -> None:
    statement = GOOD | ({"Principal": principal} if principal is not None else {})
    with pytest.raises(PolicyError, match=said):
        PolicyDocument.parse(json.dumps({"Statement": statement}), kind="resource")
