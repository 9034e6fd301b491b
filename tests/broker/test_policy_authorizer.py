"""IAM access control: every action stands for one operation, and for no other."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from broker.iam.kafka_actions import ACTIONS, CONNECT, REQUIRED, ClusterArns, action_of
from broker.iam.policy import PolicyDocument
from broker.iam.store import Accounts, CredentialStore, Identity
from broker.security.access import access_of
from broker.security.authorizer import Requester
from broker.security.policy_authorizer import KEEP_S, PolicyAuthorizer
from broker.security.resources import SUPPORTED, Operation, ResourceType

CLUSTER = "arn:aws:kafka:us-east-1:123456789012:cluster/one/uuid-1"
ALICE = "arn:aws:iam::123456789012:user/alice"
KINDS = ("CLUSTER", "TOPIC", "GROUP", "TRANSACTIONAL_ID")
OPERATIONS = [(kind, operation) for kind in KINDS for operation in sorted(SUPPORTED[ResourceType[kind]])]


class Others:
    """Who isn't of IAM may read, and nothing else."""

    has_acls = True

    def allows(self, who: Requester, operation: Operation, kind: ResourceType, name: str) -> bool:
        return operation is Operation.READ

    def allows_any(self, who: Requester, operation: Operation, kind: ResourceType) -> bool:
        return True

    def refusal(self, who: Requester, operation: Operation, kind: ResourceType, name: str) -> str:
        return "by ACLs"


class World:
    """An authorizer whose clock and policies the test owns."""

    def __init__(self, *statements: dict[str, Any]) -> None:
        self.now = 0.0
        self.policy: PolicyDocument | None = None
        document = {"Version": "2012-10-17", "Statement": list(statements)}
        identity = Identity(arn=ALICE, policies=(document,) if statements else ())
        self.store = CredentialStore(accounts=Accounts(identities=(identity,)))
        self.tags: dict[str, str] = {}
        self.authorizer = PolicyAuthorizer(
            self.store, CLUSTER, Others(), lambda: self.now, lambda: self.policy, lambda: self.tags
        )

    def may(self, operation: Operation, kind: ResourceType, name: str = "orders", principal: str = ALICE) -> bool:
        who = Requester(f"User:{principal}", "10.0.0.1", "Test")
        return self.authorizer.allows(who, operation, kind, "kafka-cluster" if kind is ResourceType.CLUSTER else name)


def allow(*actions: str, resource: str = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": [f"kafka-cluster:{a}" for a in actions], "Resource": resource} | more


@pytest.mark.parametrize(("kind", "operation"), list(ACTIONS))
def test_given_one_action_then_its_operation_is_allowed_and_no_other(kind: str, operation: str) -> None:
    world = World(allow(ACTIONS[kind, operation]))
    allowed = {(k, o.name) for k, o in OPERATIONS if world.may(o, ResourceType[k])}
    assert allowed == {(kind, operation)}


def test_given_every_action_then_what_has_none_stays_denied() -> None:
    world = World(allow("*"))
    denied = {(kind, operation.name) for kind, operation in OPERATIONS if not world.may(operation, ResourceType[kind])}
    assert denied == {(kind, operation.name) for kind, operation in OPERATIONS} - set(ACTIONS)
    assert world.authorizer.may_connect(ALICE, "10.0.0.1")


def test_the_required_actions_are_actions() -> None:
    names = {*ACTIONS.values(), "Connect"}
    assert set(REQUIRED) == set(ACTIONS.values())
    assert {name for required in REQUIRED.values() for name in required} <= names


@pytest.mark.parametrize(
    ("kind", "arn"),
    [
        ("CLUSTER", CLUSTER),
        ("TOPIC", "arn:aws:kafka:us-east-1:123456789012:topic/one/uuid-1/orders"),
        ("GROUP", "arn:aws:kafka:us-east-1:123456789012:group/one/uuid-1/orders"),
        ("TRANSACTIONAL_ID", "arn:aws:kafka:us-east-1:123456789012:transactional-id/one/uuid-1/orders"),
    ],
)
def test_given_a_resource_then_only_that_is_meant(kind: str, arn: str) -> None:
    assert ClusterArns(CLUSTER).resource(kind, "orders") == arn
    operation = next(Operation[o] for k, o in ACTIONS if k == kind)
    assert World(allow("*", resource=arn)).may(operation, ResourceType[kind])
    other = arn.replace("/one/", "/two/")
    assert not World(allow("*", resource=other)).may(operation, ResourceType[kind])


def test_given_names_that_are_no_arn_then_acls_decide() -> None:
    world = World(allow("*"))
    assert world.may(Operation.READ, ResourceType.TOPIC, principal="bob")
    assert not world.may(Operation.WRITE, ResourceType.TOPIC, principal="bob")
    bob, alice = (Requester(f"User:{name}", "h", "Test") for name in ("bob", ALICE))
    assert world.authorizer.allows_any(bob, Operation.WRITE, ResourceType.TOPIC)
    assert not world.authorizer.allows_any(alice, Operation.WRITE, ResourceType.TOPIC)


def test_given_a_denial_then_the_log_names_action_resource_and_why(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world = World(allow("*"), allow("WriteData", Sid="NoWriting") | {"Effect": "Deny"})
    access = access_of(world.authorizer, f"User:{ALICE}", "10.0.0.1", "Produce")
    assert access.operations(ResourceType.TOPIC, "orders") != 0  # asks for each, and says nothing of what is denied
    assert caplog.text == ""
    access = access_of(world.authorizer, f"User:{ALICE}", "10.0.0.1", "Produce")
    assert not access.allows(Operation.WRITE, ResourceType.TOPIC, "orders")
    assert f"User:{ALICE} at 10.0.0.1 is denied WRITE of TOPIC 'orders' (kafka-cluster:WriteData on " in caplog.text
    assert "topic/one/uuid-1/orders: statement NoWriting denies it)" in caplog.text
    assert not World().authorizer.may_connect(ALICE, "h")
    assert f"{CONNECT} on {CLUSTER}: no statement allows it" in caplog.text


def test_given_a_changed_policy_then_it_counts_after_a_moment() -> None:
    world = World()
    assert not world.may(Operation.READ, ResourceType.TOPIC)
    world.policy = PolicyDocument.parse(
        json.dumps({"Statement": allow("ReadData", Principal={"AWS": ALICE})}), kind="resource"
    )
    assert not world.may(Operation.READ, ResourceType.TOPIC)
    world.now += KEEP_S
    assert world.may(Operation.READ, ResourceType.TOPIC)


def test_given_conditions_then_they_see_the_address() -> None:
    near = {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}
    assert World(allow("ReadData", Condition=near)).may(Operation.READ, ResourceType.TOPIC)
    far = {"IpAddress": {"aws:SourceIp": "192.168.0.0/16"}}
    assert not World(allow("ReadData", Condition=far)).may(Operation.READ, ResourceType.TOPIC)


def test_an_arn_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="isn't arn:aws:kafka"):
        ClusterArns("arn:aws:s3:::bucket")
    assert action_of("CLUSTER", "CLUSTER_ACTION") is None


def test_given_a_condition_on_the_clusters_tags_then_they_decide_as_they_are_now() -> None:
    blue = {"Condition": {"StringEquals": {"aws:ResourceTag/team": "blue"}}}
    world = World(allow("ReadData", **blue))
    assert not world.may(Operation.READ, ResourceType.TOPIC)
    world.tags = {"team": "blue"}
    world.now += KEEP_S
    assert world.may(Operation.READ, ResourceType.TOPIC)
