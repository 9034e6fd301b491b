"""Configurations, policies, SCRAM secrets, VPC connections, tags and versions through boto3. Brokers are pretended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.msk.world import ACCOUNT, SUBNETS, Fakes, create, scram_password_is, wait_active

POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "Replication",
            "Effect": "Allow",
            "Principal": {"Service": "kafka.amazonaws.com"},
            "Action": ["kafka:CreateVpcConnection", "kafka:GetBootstrapBrokers", "kafka:DescribeClusterV2"],
            "Resource": "*",
        }
    ],
}
SECRET = f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:AmazonMSK_alice-aBcDeF"
SCRAM = {"Sasl": {"Scram": {"Enabled": True}, "Iam": {"Enabled": True}}}


def test_a_configuration_lives_through_its_revisions(kafka: Any) -> None:
    made = kafka.create_configuration(
        Name="small", Description="first", KafkaVersions=["3.6.0"], ServerProperties=b"num.partitions = 3\n# why\n"
    )
    assert made["Arn"].startswith(f"arn:aws:kafka:us-east-1:{ACCOUNT}:configuration/small/")
    assert made["State"] == "ACTIVE"
    changed = kafka.update_configuration(Arn=made["Arn"], Description="second", ServerProperties=b"num.partitions=5")
    assert changed["LatestRevision"]["Revision"] == 2
    found = kafka.describe_configuration(Arn=made["Arn"])
    assert (found["Name"], found["Description"], found["LatestRevision"]["Revision"]) == ("small", "first", 2)
    first = kafka.describe_configuration_revision(Arn=made["Arn"], Revision=1)
    assert first["ServerProperties"] == b"num.partitions = 3\n# why\n"
    pages = kafka.get_paginator("list_configuration_revisions").paginate(
        Arn=made["Arn"], PaginationConfig={"PageSize": 1}
    )
    assert [one["Description"] for page in pages for one in page["Revisions"]] == ["first", "second"]
    with pytest.raises(ClientError, match="NotFoundException"):
        kafka.describe_configuration_revision(Arn=made["Arn"], Revision=3)
    assert kafka.delete_configuration(Arn=made["Arn"])["State"] == "DELETING"
    with pytest.raises(ClientError, match="Configuration ARN does not exist"):
        kafka.describe_configuration(Arn=made["Arn"])


def test_configurations_are_listed_in_pages_and_names_are_taken_once(kafka: Any) -> None:
    for name in ("a", "b", "c"):
        kafka.create_configuration(Name=name, ServerProperties=b"")
    pages = list(kafka.get_paginator("list_configurations").paginate(PaginationConfig={"PageSize": 2}))
    assert [[one["Name"] for one in page["Configurations"]] for page in pages] == [["a", "b"], ["c"]]
    with pytest.raises(ClientError, match="A resource with this name already exists"):
        kafka.create_configuration(Name="a", ServerProperties=b"")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (b"super.users=User:mallory\nlisteners=PLAINTEXT://:1", ["super.users", "listeners"]),
        (b"num.partitions=many", ["num.partitions"]),
        (b"authorizer.class.name: x", ["authorizer.class.name"]),
    ],
)
def test_every_property_that_may_not_be_set_is_named(shared_kafka: Any, text: bytes, names: list[str]) -> None:
    with pytest.raises(ClientError) as caught:
        shared_kafka.create_configuration(Name="bad", ServerProperties=text)
    assert caught.value.response["Error"]["Code"] == "BadRequestException"
    listed = json.loads(caught.value.response["Error"]["Message"])
    assert [one["name"] for one in listed] == names
    assert all(one["errorMessages"] for one in listed)


@pytest.mark.parametrize("text", [b"\xff\xfe", b"x" * 40_000])
def test_a_configuration_that_is_no_text_or_too_long_is_refused(shared_kafka: Any, text: bytes) -> None:
    with pytest.raises(ClientError, match="BadRequestException"):
        shared_kafka.create_configuration(Name="bad", ServerProperties=text)


def test_a_cluster_policy_is_put_read_replaced_by_its_version_and_deleted(kafka: Any, fakes: Fakes) -> None:
    arn = create(kafka)
    with pytest.raises(ClientError, match="NotFoundException"):
        kafka.get_cluster_policy(ClusterArn=arn)
    version = kafka.put_cluster_policy(ClusterArn=arn, Policy=json.dumps(POLICY))["CurrentVersion"]
    found = kafka.get_cluster_policy(ClusterArn=arn)
    assert (json.loads(found["Policy"]), found["CurrentVersion"]) == (POLICY, version)
    with pytest.raises(ClientError, match="Current cluster policy version needed for Update"):
        kafka.put_cluster_policy(ClusterArn=arn, Policy=json.dumps(POLICY))
    with pytest.raises(ClientError, match="isn't current"):
        kafka.put_cluster_policy(ClusterArn=arn, Policy=json.dumps(POLICY), CurrentVersion="K1")
    newer = kafka.put_cluster_policy(ClusterArn=arn, Policy=json.dumps(POLICY), CurrentVersion=version)
    assert newer["CurrentVersion"] != version
    kafka.delete_cluster_policy(ClusterArn=arn)
    with pytest.raises(ClientError, match="NotFoundException"):
        kafka.delete_cluster_policy(ClusterArn=arn)
    assert kafka.describe_cluster_v2(ClusterArn=arn)["ClusterInfo"]["State"] == "ACTIVE"


@pytest.mark.parametrize("policy", ["{", "[]", "{}", json.dumps(POLICY | {"Extra": 1}), "[" * 10_000, "x" * 30_000])
def test_a_policy_that_is_none_is_refused(shared_kafka: Any, policy: str) -> None:
    there = shared_kafka.list_clusters_v2()["ClusterInfoList"]
    arn = there[0]["ClusterArn"] if there else create(shared_kafka)
    with pytest.raises(ClientError) as caught:
        shared_kafka.put_cluster_policy(ClusterArn=arn, Policy=policy)
    assert caught.value.response["Error"]["Code"] == "BadRequestException"
    assert caught.value.response["InvalidParameter"] == "policy"


def _secret(tmp_path: Path, name: str, content: str) -> str:
    folder = tmp_path / "msk" / "secrets"
    folder.mkdir(exist_ok=True)
    (folder / f"AmazonMSK_{name}.json").write_text(content)
    return SECRET.replace("alice", name)


def test_scram_users_come_from_secrets_and_go_with_them(tmp_path: Path, kafka: Any, fakes: Fakes) -> None:
    arn = create(kafka, ClientAuthentication=SCRAM)
    good = _secret(tmp_path, "alice", '{"username": "alice", "password": "pw"}')
    empty = _secret(tmp_path, "empty", '{"username": "e"}')
    other = SECRET.replace("AmazonMSK_", "Mine_")
    answer = kafka.batch_associate_scram_secret(
        ClusterArn=arn, SecretArnList=[good, empty, other, SECRET.replace("alice", "nobody"), "x"]
    )
    said = {one["SecretArn"]: one["ErrorMessage"] for one in answer["UnprocessedScramSecrets"]}
    assert good not in said
    assert len(said) == 4
    assert "must have the prefix 'AmazonMSK_'" in said[other]
    assert said[SECRET.replace("alice", "nobody")] == "Amazon MSK wasn't able to access the provided secret."
    assert {one["ErrorCode"] for one in answer["UnprocessedScramSecrets"]} == {"InvalidSecretArn"}
    assert kafka.list_scram_secrets(ClusterArn=arn)["SecretArnList"] == [good]
    assert scram_password_is("pw", fakes.latest(arn).content["scram_users"]["alice"])
    gone = kafka.batch_disassociate_scram_secret(ClusterArn=arn, SecretArnList=[good, other])
    assert [one["SecretArn"] for one in gone["UnprocessedScramSecrets"]] == [other]
    assert kafka.list_scram_secrets(ClusterArn=arn)["SecretArnList"] == []
    assert "alice" not in fakes.latest(arn).content["scram_users"]


def test_scram_secrets_are_listed_in_pages(tmp_path: Path, kafka: Any) -> None:
    arn = create(kafka, ClientAuthentication=SCRAM)
    arns = [_secret(tmp_path, f"u{n}", json.dumps({"username": f"u{n}", "password": "p"})) for n in range(3)]
    kafka.batch_associate_scram_secret(ClusterArn=arn, SecretArnList=arns)
    pages = list(kafka.get_paginator("list_scram_secrets").paginate(ClusterArn=arn, PaginationConfig={"PageSize": 2}))
    assert [page["SecretArnList"] for page in pages] == [arns[:2], arns[2:]]


def test_scram_secrets_want_scram_and_are_few_in_a_call(kafka: Any) -> None:
    arn = create(kafka)
    with pytest.raises(ClientError, match="SASL/SCRAM"):
        kafka.batch_associate_scram_secret(ClusterArn=arn, SecretArnList=[SECRET])
    for number in (0, 11):
        with pytest.raises(ClientError, match="1 to 10"):
            kafka.batch_associate_scram_secret(ClusterArn=arn, SecretArnList=[SECRET] * number)


def _with_vpc_connectivity(kafka: Any) -> str:
    arn = create(kafka)
    version = kafka.describe_cluster_v2(ClusterArn=arn)["ClusterInfo"]["CurrentVersion"]
    iam = {"VpcConnectivity": {"ClientAuthentication": {"Sasl": {"Iam": {"Enabled": True}}}}}
    kafka.update_connectivity(ClusterArn=arn, CurrentVersion=version, ConnectivityInfo=iam)
    wait_active(kafka, arn)
    return arn


def _connect(kafka: Any, arn: str, authentication: str = "SASL_IAM") -> Any:
    return kafka.create_vpc_connection(
        TargetClusterArn=arn,
        Authentication=authentication,
        VpcId="vpc-1",
        ClientSubnets=SUBNETS,
        SecurityGroups=["sg-1"],
        Tags={"a": "b"},
    )


def test_a_vpc_connection_is_made_described_rejected_and_deleted(kafka: Any) -> None:
    arn = _with_vpc_connectivity(kafka)
    assert ":14001" in kafka.get_bootstrap_brokers(ClusterArn=arn)["BootstrapBrokerStringVpcConnectivitySaslIam"]
    made = _connect(kafka, arn)
    assert made["State"] == "CREATING"
    found = kafka.describe_vpc_connection(Arn=made["VpcConnectionArn"])
    assert (found["State"], found["Subnets"], found["Tags"]) == ("AVAILABLE", SUBNETS, {"a": "b"})
    clients = kafka.list_client_vpc_connections(ClusterArn=arn)["ClientVpcConnections"]
    assert [(one["VpcConnectionArn"], one["Owner"]) for one in clients] == [(made["VpcConnectionArn"], ACCOUNT)]
    kafka.reject_client_vpc_connection(ClusterArn=arn, VpcConnectionArn=made["VpcConnectionArn"])
    assert kafka.describe_vpc_connection(Arn=made["VpcConnectionArn"])["State"] == "REJECTED"
    assert kafka.delete_vpc_connection(Arn=made["VpcConnectionArn"])["State"] == "DELETING"
    with pytest.raises(ClientError, match="NotFoundException"):
        kafka.describe_vpc_connection(Arn=made["VpcConnectionArn"])


def test_vpc_connections_are_listed_in_pages_from_both_ends(kafka: Any) -> None:
    arn = _with_vpc_connectivity(kafka)
    made = {_connect(kafka, arn)["VpcConnectionArn"] for _ in range(3)}
    for name, key, more in (
        ("list_vpc_connections", "VpcConnections", {}),
        ("list_client_vpc_connections", "ClientVpcConnections", {"ClusterArn": arn}),
    ):
        pages = list(kafka.get_paginator(name).paginate(PaginationConfig={"PageSize": 2}, **more))
        assert len(pages) == 2
        assert {one["VpcConnectionArn"] for page in pages for one in page[key]} == made


def test_a_vpc_connection_wants_its_way_of_authentication_on(kafka: Any) -> None:
    arn = create(kafka)
    for authentication, says in (("SASL_IAM", "isn't enabled"), ("PASSWORD", "Valid values")):
        with pytest.raises(ClientError, match=says):
            _connect(kafka, arn, authentication)


def test_a_clusters_tags_reach_its_brokers_which_judge_by_them(kafka: Any, fakes: Fakes) -> None:
    arn = create(kafka)
    kafka.tag_resource(ResourceArn=arn, Tags={"team": "blue"})
    assert fakes.latest(arn).content["tags"] == {"team": "blue"}
    kafka.untag_resource(ResourceArn=arn, TagKeys=["team"])
    assert fakes.latest(arn).content["tags"] == {}
    assert fakes.latest(arn).asked == ["reload", "reload"]


def test_tags_of_clusters_configurations_and_vpc_connections(kafka: Any) -> None:
    cluster = _with_vpc_connectivity(kafka)
    configuration = kafka.create_configuration(Name="a", ServerProperties=b"")["Arn"]
    connection = _connect(kafka, cluster)["VpcConnectionArn"]
    for arn in (cluster, configuration, connection):
        kafka.tag_resource(ResourceArn=arn, Tags={"a": "1", "b": "2"})
        answer = kafka.untag_resource(ResourceArn=arn, TagKeys=["a", "zzz"])
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
        assert kafka.list_tags_for_resource(ResourceArn=arn)["Tags"] == {"b": "2"}
    with pytest.raises(ClientError, match="NotFoundException"):
        kafka.list_tags_for_resource(ResourceArn=cluster + "0")
    with pytest.raises(ClientError, match="reserved"):
        kafka.tag_resource(ResourceArn=cluster, Tags={"aws:a": "1"})


def test_versions_and_what_they_can_be_updated_to(kafka: Any) -> None:
    pages = list(kafka.get_paginator("list_kafka_versions").paginate(PaginationConfig={"PageSize": 10}))
    versions = {one["Version"]: one["Status"] for page in pages for one in page["KafkaVersions"]}
    assert (versions["3.6.0"], versions["2.2.1"], versions["4.1.x.kraft"]) == ("ACTIVE", "DEPRECATED", "ACTIVE")
    arn = create(kafka)
    of_cluster = kafka.get_compatible_kafka_versions(ClusterArn=arn)["CompatibleKafkaVersions"]
    assert of_cluster == [{"SourceVersion": "3.6.0", "TargetVersions": ["3.7.x", "3.8.x", "3.9.x"]}]
    everything = kafka.get_compatible_kafka_versions()["CompatibleKafkaVersions"]
    assert {"SourceVersion": "4.0.x.kraft", "TargetVersions": ["4.1.x.kraft"]} in everything
