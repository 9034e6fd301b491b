"""The documents of policies/ are valid, and say what their ACL sets say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from botocore.session import Session

from broker.iam.kafka_actions import ACTIONS, REQUIRED
from broker.iam.policy import Decision, Kind, PolicyDocument, Question, decide, may_assume
from replicator.wire import iam
from tests.support.policies import DIRECTORY, document, each_action, listed, names, placeholders

ON_CLUSTERS = ["consumer", "operator-on-cluster", "producer", "replicator-source", "replicator-target"]
KINDS: dict[str, Kind] = {"cluster-policy": "resource", "replicator-trust": "trust"}
SHELL = {"Topics": "TOPICS", "Groups": "MOVED_GROUPS", "Link": "LINK", "SourceAlias": "SOURCE_ALIAS", "Topic": "TOPIC"}
SHELL |= {"Group": "GROUP"}
Right = tuple[str, str, str]  # kind of resource, its name (with * at the end for a prefix), operation


def rights(name: str) -> Iterator[Right]:
    """What a document allows, in Kafka's words."""
    by_action = {action: key for key, action in ACTIONS.items()}
    for statement in document(name)["Statement"]:
        for action in listed(statement["Action"]):
            if action == "kafka-cluster:Connect":
                continue
            kind, operation = by_action[action.removeprefix("kafka-cluster:")]
            for resource in listed(statement["Resource"]):
                said, *where = resource.split(":", 5)[5].split("/")
                assert said.upper().replace("-", "_") == kind, f"{action} isn't one on {resource}"
                yield kind, "/".join(where[2:]), operation


def acls(name: str) -> Iterator[Right]:
    """The same of an ACL set."""
    for line in (DIRECTORY / "acls" / f"{name}.sh").read_text().splitlines():
        if not line.startswith("kafka-acls.sh"):
            continue
        kind, resource = (re.findall(r"--(topic|group|transactional-id) (\S+)", line) or [("", "")])[0]
        resource = resource.strip("\"'")
        for placeholder, variable in SHELL.items():
            resource = re.sub(rf"\$\{{{variable}\}}|\${variable}\b", f"${{{placeholder}}}", resource)
        resource += "*" if "--resource-pattern-type prefixed" in line else ""
        for operation in re.findall(r"--operation (\S+)", line):
            words = re.sub(r"(?<=.)(?=[A-Z])", "_", operation).upper()
            yield (kind or "cluster").upper().replace("-", "_"), resource, words


@pytest.mark.parametrize("name", names())
def test_every_document_is_valid_once_its_placeholders_are_filled_in(name: str) -> None:
    values = dict.fromkeys(placeholders(name), "x") | {"Account": "123456789012"}
    filled = document(name, values)
    PolicyDocument.parse(json.dumps(filled), kind=KINDS.get(name, "identity"))
    assert "${" not in json.dumps(filled)
    assert f"`{name}.json`" in (DIRECTORY / "README.md").read_text()


@pytest.mark.parametrize("name", names())
def test_every_placeholder_is_explained(name: str) -> None:
    page = (DIRECTORY / "README.md").read_text()
    for placeholder in placeholders(name):
        said = re.sub(r"^(Source|Target)?(Cluster.*)", r"…\2", placeholder)
        assert f"`{said}`" in page, placeholder


@pytest.mark.parametrize("name", ON_CLUSTERS)
def test_every_action_has_those_that_it_requires(name: str) -> None:
    allowed = {action.removeprefix("kafka-cluster:") for _, action in each_action(name)}
    missing = {need for action in allowed for need in REQUIRED.get(action, ())} - allowed
    if name in ("replicator-source", "replicator-target"):
        missing.discard("AlterGroup")  # of ReadData: for who reads as the member of a group, which links don't
    assert missing == set()


@pytest.mark.parametrize("name", ON_CLUSTERS)
def test_the_acl_set_allows_what_the_document_does(name: str) -> None:
    assert sorted(acls(name)) == sorted(set(rights(name)))


def test_the_actions_in_the_replicators_words_are_those_that_brokers_judge_by() -> None:
    said = {(kind.upper().replace(" ", "_"), operation): action for (kind, operation), action in iam.ACTIONS.items()}
    judged = {(kind, _in_words(operation)): action for (kind, operation), action in ACTIONS.items()}
    assert said.items() <= judged.items()
    assert judged.keys() - said.keys() == {("CLUSTER", "AlterConfigs")}  # nothing of the replicator's needs it


def _in_words(operation: str) -> str:
    return "".join(part.capitalize() for part in operation.split("_"))


def test_the_operators_actions_exist() -> None:
    known = set(Session().get_service_model("kafka").operation_names)
    actions = {action for _, action in each_action("operator") if action.startswith("kafka:")}
    assert actions
    assert {action.removeprefix("kafka:") for action in actions} <= known


def test_the_trust_policy_lets_the_service_in_for_its_account_and_nobody_else() -> None:
    trust = PolicyDocument.parse(document("replicator-trust", {"Account": "123456789012"}), kind="trust")
    assert may_assume(trust, "kafka.amazonaws.com", {"aws:SourceAccount": "123456789012"})
    assert not may_assume(trust, "kafka.amazonaws.com", {"aws:SourceAccount": "210987654321"})
    assert not may_assume(trust, "lambda.amazonaws.com", {"aws:SourceAccount": "123456789012"})


def test_the_cluster_policy_lets_the_service_connect_and_do_nothing_else() -> None:
    values = dict.fromkeys(placeholders("cluster-policy"), "x") | {"Region": "us-east-1", "Account": "123456789012"}
    policy = PolicyDocument.parse(document("cluster-policy", values), kind="resource")

    def decided(action: str, principal: str = "kafka.amazonaws.com") -> Decision:
        arn = "arn:aws:kafka:us-east-1:123456789012:cluster/x/x"
        return decide(Question(action, arn, principal), identity=(), resource=(policy,), owner="123456789012").decision

    for action in ("CreateVpcConnection", "GetBootstrapBrokers", "DescribeClusterV2"):
        assert decided(f"kafka:{action}") is Decision.ALLOW
        assert decided(f"kafka:{action}", "arn:aws:iam::123456789012:user/x") is Decision.IMPLICIT_DENY
    assert decided("kafka:DeleteCluster") is Decision.IMPLICIT_DENY
