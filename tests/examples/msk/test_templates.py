"""What can be known of the examples without AWS: requests by botocore's model, templates by their schemas."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import botocore.session
import hcl2
import pytest
from botocore.validate import ParamValidator

from examples.msk import create_pair
from tests.support.documents import ROOT

FOLDER = ROOT / "examples/msk"
ARN = "arn:aws:kafka:us-east-1:123456789012:cluster/orders/11111111-2222-3333-4444-555555555555-1"
KAFKA = botocore.session.get_session().get_service_model("kafka")
# Terraform's own names, where they aren't the API's in snake case (the provider's documentation of each resource).
TERRAFORM = {
    "broker_node_group_info", "kafka_cluster", "security_groups_ids", "cluster_arn", "provider", "depends_on",
    "service_execution_role_arn",
}  # fmt: skip


def arguments(*more: str) -> Any:
    needed = ["--source-subnets", "subnet-1,subnet-2", "--target-subnets", "subnet-3,subnet-4"]
    return create_pair._parser().parse_args([*needed, *more])


def names_of(shape: Any, seen: frozenset[str] = frozenset()) -> set[str]:
    """All member names of a shape, in snake case."""
    if shape.name in seen:
        return set()
    if shape.type_name == "list":
        return names_of(shape.member, seen)
    if shape.type_name != "structure":
        return set()
    found = set()
    for name, member in shape.members.items():
        found.add(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
        found |= names_of(member, seen | {shape.name})
    return found


def keys_of(value: Any) -> set[str]:
    """All attributes and blocks of a Terraform resource's body."""
    if isinstance(value, list):
        return set().union(*(keys_of(item) for item in value))
    if not isinstance(value, dict):
        return set()
    own = {key for key in value if not key.startswith("__")}
    return own.union(*(keys_of(inner) for inner in value.values()))


@pytest.mark.parametrize("naming", ["IDENTICAL", "PREFIXED_WITH_SOURCE_CLUSTER_ALIAS"])
def test_given_the_scripts_request_when_held_against_the_services_model_then_it_is_valid(naming: str) -> None:
    given = arguments("--service-execution-role", "arn:aws:iam::123456789012:role/r", "--naming", naming)
    request = create_pair.request(ARN, ARN.replace("orders", "copy"), given)
    shape = KAFKA.operation_model("CreateReplicator").input_shape
    report = ParamValidator().validate(request, shape)
    assert not report.has_errors(), report.generate_report()
    assert ParamValidator().validate({**request, "Topics": []}, shape).has_errors(), "the check finds what is wrong"


def test_given_a_cluster_that_fails_or_hangs_when_waited_for_then_it_says_so() -> None:
    with pytest.raises(create_pair.NotCreated, match="no room"):
        create_pair.wait(lambda: {"State": "FAILED", "StateInfo": {"Message": "no room"}}, "State", "ACTIVE", 9)
    now = iter(range(100))
    with pytest.raises(create_pair.NotCreated, match="still CREATING after 5 s"):
        create_pair.wait(
            lambda: {"State": "CREATING"}, "State", "ACTIVE", 5, clock=lambda: next(now), sleep=lambda _: None
        )


def test_given_the_terraform_files_when_read_then_each_name_in_them_is_the_apis() -> None:
    with (FOLDER / "terraform/main.tf").open() as file:
        parsed = hcl2.load(file)
    creates = {
        "aws_msk_cluster": ("CreateCluster",),
        "aws_msk_cluster_policy": ("PutClusterPolicy",),
        "aws_msk_replicator": ("CreateReplicator",),
    }
    seen = []
    for resource in parsed["resource"]:
        for quoted, instances in resource.items():
            kind = quoted.strip('"')
            known = set().union(*(names_of(KAFKA.operation_model(name).input_shape) for name in creates[kind]))
            if kind == "aws_msk_cluster":  # blocks whose `enabled` the provider shortens to a boolean
                known |= {"sasl", "iam", "vpc_connectivity"}
            used = set().union(*(keys_of(body) for body in instances.values()))
            assert used - known - TERRAFORM == set(), kind
            seen.append(kind)
    assert sorted(seen) == ["aws_msk_cluster", "aws_msk_cluster", "aws_msk_cluster_policy", "aws_msk_replicator"]


@pytest.mark.slow
def test_given_the_cloudformation_template_when_linted_then_it_is_right_and_a_wrong_one_is_not(tmp_path: Any) -> None:
    text = (FOLDER / "cloudformation/pair.yaml").read_text()
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(text.replace("DetectAndCopyNewTopics", "DetectNewTopics"))
    for file, code in ((FOLDER / "cloudformation/pair.yaml", 0), (wrong, 2)):
        done = subprocess.run(
            [str(Path(sys.executable).with_name("cfn-lint")), "--regions", "us-east-1", "--", str(file)],
            capture_output=True, text=True, check=False, timeout=100,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
