"""Clusters through boto3: created, described, listed in pages, deleted, and what is refused. Brokers are pretended."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.msk.world import ACCOUNT, SUBNETS, Fakes, World, control_plane, create, provisioned, wait_active
from tests.support.waiting import wait_for

GROUP = {"ClientSubnets": SUBNETS, "InstanceType": "kafka.m5.large"}
VPC_IAM = {"VpcConnectivity": {"ClientAuthentication": {"Sasl": {"Iam": {"Enabled": True}}}}}
SERVERLESS: dict[str, Any] = {"VpcConfigs": [{"SubnetIds": SUBNETS[:2], "SecurityGroupIds": ["sg-1"]}]}


def test_given_a_new_cluster_then_it_is_creating_until_its_brokers_run(world: World, kafka: Any, fakes: Fakes) -> None:
    world.call(fakes.go.clear)
    made = kafka.create_cluster_v2(ClusterName="orders", Provisioned=provisioned(), Tags={"a": "b"})
    assert (made["State"], made["ClusterType"]) == ("CREATING", "PROVISIONED")
    info = kafka.describe_cluster_v2(ClusterArn=made["ClusterArn"])["ClusterInfo"]
    assert (info["State"], info["Tags"]) == ("CREATING", {"a": "b"})
    with pytest.raises(ClientError, match="ConflictException"):
        kafka.get_bootstrap_brokers(ClusterArn=made["ClusterArn"])
    with pytest.raises(ClientError, match="CREATING"):
        kafka.update_broker_count(
            ClusterArn=made["ClusterArn"], CurrentVersion=info["CurrentVersion"], TargetNumberOfBrokerNodes=6
        )
    world.call(fakes.go.set)
    wait_active(kafka, made["ClusterArn"])


def test_arns_versions_and_defaults_are_as_the_services(kafka: Any) -> None:
    arn = create(kafka)
    head, name, key = arn.split("/")
    assert (head, name) == (f"arn:aws:kafka:us-east-1:{ACCOUNT}:cluster", "orders")
    assert [len(part) for part in key.split("-")][:5] == [8, 4, 4, 4, 12]
    info = kafka.describe_cluster_v2(ClusterArn=arn)["ClusterInfo"]
    assert len(info["CurrentVersion"]) == 14
    assert info["CurrentVersion"].startswith("K")
    settings = info["Provisioned"]
    assert settings["EncryptionInfo"]["EncryptionInTransit"] == {"ClientBroker": "TLS", "InCluster": True}
    assert settings["EnhancedMonitoring"] == "DEFAULT"
    assert settings["StorageMode"] == "LOCAL"
    assert settings["BrokerNodeGroupInfo"]["StorageInfo"] == {"EbsStorageInfo": {"VolumeSize": 100}}


@pytest.mark.parametrize(("version", "zookeeper"), [("3.6.0", True), ("3.9.x.kraft", False), ("4.1.x.kraft", False)])
def test_versions_before_4_have_a_zookeeper_string(kafka: Any, version: str, zookeeper: bool) -> None:
    arn = create(kafka, KafkaVersion=version)
    info = kafka.describe_cluster(ClusterArn=arn)["ClusterInfo"]
    assert ("ZookeeperConnectString" in info) is zookeeper
    if zookeeper:
        assert info["ZookeeperConnectString"].count(":2181") == 3


@pytest.mark.parametrize(
    ("authentication", "encryption", "strings"),
    [
        (None, "TLS", {"Tls": 9094}),
        (None, "TLS_PLAINTEXT", {"": 9092, "Tls": 9094}),
        (None, "PLAINTEXT", {"": 9092}),
        ({"Sasl": {"Iam": {"Enabled": True}}}, "TLS", {"SaslIam": 9098}),
        ({"Sasl": {"Iam": {"Enabled": True}, "Scram": {"Enabled": True}}}, "TLS", {"SaslIam": 9098, "SaslScram": 9096}),
        ({"Tls": {"Enabled": True, "CertificateAuthorityArnList": ["arn:x"]}}, "TLS", {"Tls": 9094}),
        (
            {"Sasl": {"Iam": {"Enabled": True}}, "Unauthenticated": {"Enabled": True}},
            "TLS_PLAINTEXT",
            {"": 9092, "Tls": 9094, "SaslIam": 9098},
        ),
    ],
)
def test_bootstrap_strings_are_by_what_is_enabled_with_the_services_ports(
    kafka: Any, authentication: Any, encryption: str, strings: dict[str, int]
) -> None:
    settings = provisioned(EncryptionInfo={"EncryptionInTransit": {"ClientBroker": encryption}})
    settings.pop("ClientAuthentication")
    if authentication:
        settings["ClientAuthentication"] = authentication
    arn = kafka.create_cluster_v2(ClusterName="orders", Provisioned=settings)["ClusterArn"]
    wait_active(kafka, arn)
    answer = kafka.get_bootstrap_brokers(ClusterArn=arn)
    answer.pop("ResponseMetadata")
    ports = {
        key.removeprefix("BootstrapBrokerString"): {one.rpartition(":")[2] for one in text.split(",")}
        for key, text in answer.items()
    }
    assert ports == {key: {str(port)} for key, port in strings.items()}
    hosts = {one.rpartition(":")[0] for text in answer.values() for one in text.split(",")}
    assert len(hosts) == 3, "each broker has an address of its own"


def test_one_broker_for_each_zone_in_turn(kafka: Any) -> None:
    arn = create(kafka, NumberOfBrokerNodes=6)
    nodes = list(kafka.get_paginator("list_nodes").paginate(ClusterArn=arn, PaginationConfig={"PageSize": 4}))
    assert [len(page["NodeInfoList"]) for page in nodes] == [4, 2]
    flat = [node for page in nodes for node in page["NodeInfoList"]]
    assert [node["BrokerNodeInfo"]["ClientSubnet"] for node in flat] == SUBNETS * 2
    assert len({node["BrokerNodeInfo"]["ClientVpcIpAddress"] for node in flat}) == 6
    assert flat[0]["BrokerNodeInfo"]["Endpoints"][0].startswith("b-1.orders.")
    assert flat[0]["BrokerNodeInfo"]["Endpoints"][0].endswith(".kafka.us-east-1.amazonaws.com")
    assert {node["NodeType"] for node in flat} == {"BROKER"}


def test_both_versions_of_the_api_see_one_cluster_and_only_the_second_sees_serverless(kafka: Any) -> None:
    first = kafka.create_cluster(
        ClusterName="first", BrokerNodeGroupInfo=GROUP, KafkaVersion="3.6.0", NumberOfBrokerNodes=3
    )
    second = kafka.create_cluster_v2(ClusterName="second", Serverless=SERVERLESS)
    assert second["ClusterType"] == "SERVERLESS"
    wait_active(kafka, second["ClusterArn"])
    assert [one["ClusterName"] for one in kafka.list_clusters()["ClusterInfoList"]] == ["first"]
    assert [one["ClusterName"] for one in kafka.list_clusters_v2()["ClusterInfoList"]] == ["first", "second"]
    assert kafka.describe_cluster(ClusterArn=first["ClusterArn"])["ClusterInfo"]["ClusterName"] == "first"
    info = kafka.describe_cluster_v2(ClusterArn=second["ClusterArn"])["ClusterInfo"]
    assert info["Serverless"]["ClientAuthentication"]["Sasl"]["Iam"]["Enabled"] is True
    assert list(kafka.get_bootstrap_brokers(ClusterArn=second["ClusterArn"]))[1:] == ["BootstrapBrokerStringSaslIam"]
    for refused in (kafka.describe_cluster, kafka.list_nodes):
        with pytest.raises(ClientError, match="serverless"):
            refused(ClusterArn=second["ClusterArn"])


def test_lists_are_filtered_by_prefix_and_type_and_come_in_pages(kafka: Any) -> None:
    for number in range(5):
        create(kafka, f"a-{number}")
    kafka.create_cluster_v2(ClusterName="b-0", Serverless=SERVERLESS)
    pages = list(
        kafka.get_paginator("list_clusters_v2").paginate(ClusterNameFilter="a-", PaginationConfig={"PageSize": 2})
    )
    assert [[one["ClusterName"] for one in page["ClusterInfoList"]] for page in pages] == [
        ["a-0", "a-1"],
        ["a-2", "a-3"],
        ["a-4"],
    ]
    assert len(list(kafka.get_paginator("list_clusters").paginate(PaginationConfig={"PageSize": 1}))) == 5
    only = kafka.list_clusters_v2(ClusterTypeFilter="SERVERLESS")["ClusterInfoList"]
    assert [one["ClusterName"] for one in only] == ["b-0"]
    with pytest.raises(ClientError, match="PROVISIONED, SERVERLESS"):
        kafka.list_clusters_v2(ClusterTypeFilter="OTHER")


def test_a_page_goes_on_where_the_last_ended_though_clusters_come_and_go(kafka: Any) -> None:
    arns = [create(kafka, f"a-{number}") for number in range(3)]
    first = kafka.list_clusters_v2(MaxResults=2)
    kafka.delete_cluster(ClusterArn=arns[0])
    create(kafka, "a-3")
    second = kafka.list_clusters_v2(MaxResults=2, NextToken=first["NextToken"])
    assert [one["ClusterName"] for one in second["ClusterInfoList"]] == ["a-2", "a-3"]


@pytest.mark.parametrize("token", ["x", "AAAA", "é", "A" * 5000, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"])
def test_tokens_that_were_not_given_are_refused(shared_kafka: Any, token: str) -> None:
    with pytest.raises(ClientError) as caught:
        shared_kafka.list_clusters_v2(NextToken=token)
    assert caught.value.response["Error"]["Code"] == "BadRequestException"
    assert caught.value.response["InvalidParameter"] == "nextToken"


def test_a_token_counts_only_for_the_list_that_it_was_given_for(kafka: Any) -> None:
    for number in range(2):
        create(kafka, f"a-{number}")
    token = kafka.list_clusters_v2(MaxResults=1)["NextToken"]
    with pytest.raises(ClientError, match="nextToken"):
        kafka.list_clusters_v2(MaxResults=1, NextToken=token, ClusterNameFilter="a")
    with pytest.raises(ClientError, match="nextToken"):
        kafka.list_configurations(NextToken=token)


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("a_b", {}, "contains one or more characters that are not valid"),
    ("a", {"KafkaVersion": "9.9.9"}, r"Unsupported KafkaVersion \[9.9.9\]. Valid values"),
    ("a", {"NumberOfBrokerNodes": 4}, "must be a multiple of Availability Zones in the Subnets parameter"),
    ("a", {"BrokerNodeGroupInfo": GROUP | {"ClientSubnets": SUBNETS[:1]}}, "two or three client subnets"),
    ("a", {"BrokerNodeGroupInfo": GROUP | {"ClientSubnets": [SUBNETS[0]] * 3}}, "different Availability Zone"),
    ("a", {"BrokerNodeGroupInfo": GROUP | {"InstanceType": "m5.large"}}, "Unsupported InstanceType"),
    (
        "a",
        {"BrokerNodeGroupInfo": GROUP | {"ConnectivityInfo": VPC_IAM}},
        "all vpcConnectivity auth schemes must be disabled",
    ),
    ("a", {"BrokerNodeGroupInfo": GROUP | {"SecurityGroups": ["x"]}}, "not valid"),
    ("a", {"ConfigurationInfo": {"Arn": "arn:x", "Revision": 1}}, "Configuration ARN does not exist"),
    ("a", {"EncryptionInfo": {"EncryptionInTransit": {"ClientBroker": "PLAINTEXT"}}}, "needs encryption in transit"),
    ("a", {"ClientAuthentication": {"Unauthenticated": {"Enabled": False}}}, "At least one way"),
    ("a", {"KafkaVersion": "3.5.1", "StorageMode": "TIERED"}, "Tiered storage isn't supported"),
]


@pytest.mark.parametrize(("name", "changes", "says"), BAD)
def test_what_the_service_refuses_is_refused(shared_kafka: Any, name: str, changes: dict[str, Any], says: str) -> None:
    kafka = shared_kafka
    with pytest.raises(ClientError, match=says) as caught:
        kafka.create_cluster_v2(ClusterName=name, Provisioned=provisioned(**changes))
    assert caught.value.response["Error"]["Code"] == "BadRequestException"
    assert kafka.list_clusters_v2()["ClusterInfoList"] == []


def test_provisioned_and_serverless_exclude_each_other_and_one_is_needed(kafka: Any) -> None:
    for given in ({}, {"Provisioned": provisioned(), "Serverless": SERVERLESS}):
        with pytest.raises(ClientError, match="only one"):
            kafka.create_cluster_v2(ClusterName="a", **given)


@pytest.mark.parametrize("tags", [{"aws:x": "1"}, {"a": "x" * 257}, {str(number): "" for number in range(51)}])
def test_tags_that_aws_does_not_allow_are_refused(shared_kafka: Any, tags: dict[str, str]) -> None:
    with pytest.raises(ClientError, match="BadRequestException"):
        shared_kafka.create_cluster_v2(ClusterName="a", Provisioned=provisioned(), Tags=tags)


def test_a_name_is_taken_once_in_a_region(kafka: Any) -> None:
    create(kafka)
    with pytest.raises(ClientError, match="A resource with this name already exists") as caught:
        kafka.create_cluster_v2(ClusterName="orders", Provisioned=provisioned())
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 409


@pytest.mark.parametrize("arn", ["x", "arn:aws:s3:::b", "arn:aws:kafka:us-east-1:123456789012:topic/a/b", "a" * 3000])
def test_what_is_no_cluster_arn_is_a_bad_request(shared_kafka: Any, arn: str) -> None:
    with pytest.raises(ClientError) as caught:
        shared_kafka.describe_cluster_v2(ClusterArn=arn)
    assert caught.value.response["Error"]["Code"] == "BadRequestException"
    assert caught.value.response["InvalidParameter"] == "clusterArn"


def test_a_deleted_cluster_is_gone_with_its_data(tmp_path: Path, kafka: Any) -> None:
    arn = create(kafka)
    with pytest.raises(ClientError, match="isn't current"):
        kafka.delete_cluster(ClusterArn=arn, CurrentVersion="K1")
    assert kafka.delete_cluster(ClusterArn=arn)["State"] == "DELETING"

    def gone() -> bool:
        try:
            kafka.describe_cluster_v2(ClusterArn=arn)
        except ClientError as error:
            return error.response["Error"]["Code"] == "NotFoundException"
        return False

    wait_for(gone, within=10, what="the cluster is gone")
    assert list((tmp_path / "msk" / "clusters").iterdir()) == []
    create(kafka)


def test_given_a_cluster_that_never_starts_then_it_failed_and_says_why_and_can_be_deleted(
    kafka: Any, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.msk.clusters.runner.BACKOFF_S", (0.01,))
    fakes.fail_with = "no space left on device"
    arn = kafka.create_cluster_v2(ClusterName="orders", Provisioned=provisioned())["ClusterArn"]
    info = wait_for(
        lambda: next((one for one in kafka.list_clusters_v2()["ClusterInfoList"] if one["State"] == "FAILED"), None),
        within=10,
        what="the cluster has failed",
    )
    assert info is not None
    assert "no space left" in info["StateInfo"]["Message"]
    with pytest.raises(ClientError, match="FAILED"):
        kafka.reboot_broker(ClusterArn=arn, BrokerIds=["1"])
    kafka.delete_cluster(ClusterArn=arn)
    wait_for(lambda: not kafka.list_clusters_v2()["ClusterInfoList"], within=10, what="it is deleted")


def test_given_a_cluster_whose_process_ends_then_it_heals_at_the_same_endpoints(
    world: World, kafka: Any, fakes: Fakes
) -> None:
    arn = create(kafka)
    before = kafka.get_bootstrap_brokers(ClusterArn=arn)["BootstrapBrokerStringSaslIam"]
    first = fakes.latest(arn)
    world.call(fakes.go.clear)
    world.call(first.gone.set)
    wait_for(
        lambda: kafka.describe_cluster_v2(ClusterArn=arn)["ClusterInfo"]["State"] == "HEALING",
        within=10,
        what="HEALING",
    )
    info = kafka.describe_cluster_v2(ClusterArn=arn)["ClusterInfo"]
    assert "ended with code -9" in info["StateInfo"]["Message"]
    world.call(fakes.go.set)
    wait_active(kafka, arn)
    assert fakes.latest(arn) is not first
    assert kafka.get_bootstrap_brokers(ClusterArn=arn)["BootstrapBrokerStringSaslIam"] == before


def test_clusters_are_there_after_a_restart_of_the_control_plane(tmp_path: Path, fakes: Fakes) -> None:
    with control_plane(tmp_path, start_cluster=fakes) as world:
        arn = create(world.client())
        before = world.client().describe_cluster_v2(ClusterArn=arn)["ClusterInfo"]
        token_list = [create(world.client(), f"x-{number}") for number in range(2)]
        token = world.client().list_clusters_v2(MaxResults=1)["NextToken"]
    with control_plane(tmp_path, start_cluster=fakes) as world:
        assert wait_active(world.client(), arn) == before
        assert len(fakes.started) == 6
        rest = world.client().list_clusters_v2(NextToken=token)["ClusterInfoList"]
        assert [one["ClusterArn"] for one in rest] == token_list


def test_given_a_control_plane_that_ends_in_an_update_then_the_update_is_finished_at_the_next_start(
    tmp_path: Path, fakes: Fakes
) -> None:
    with control_plane(tmp_path, start_cluster=fakes) as world:
        kafka = world.client()
        arn = create(kafka)
        fakes.latest(arn).refuses_reload = True
        world.call(fakes.go.clear)
        version = kafka.describe_cluster_v2(ClusterArn=arn)["ClusterInfo"]["CurrentVersion"]
        begun = kafka.update_broker_count(ClusterArn=arn, CurrentVersion=version, TargetNumberOfBrokerNodes=6)
        assert kafka.describe_cluster_v2(ClusterArn=arn)["ClusterInfo"]["State"] == "UPDATING"
    fakes.go = asyncio.Event()
    fakes.go.set()
    with control_plane(tmp_path, start_cluster=fakes) as world:
        kafka = world.client()
        info = wait_active(kafka, arn)
        assert info["Provisioned"]["NumberOfBrokerNodes"] == 6
        operation = kafka.describe_cluster_operation(ClusterOperationArn=begun["ClusterOperationArn"])
        assert operation["ClusterOperationInfo"]["OperationState"] == "UPDATE_COMPLETE"
        assert len(kafka.list_nodes(ClusterArn=arn)["NodeInfoList"]) == 6


@pytest.mark.parametrize("state", ["UPDATING", "REBOOTING_BROKER"])
def test_given_a_kill_between_an_operations_end_and_the_clusters_then_the_cluster_is_active_again(
    tmp_path: Path, fakes: Fakes, state: str
) -> None:
    with control_plane(tmp_path, start_cluster=fakes) as world:
        kafka = world.client()
        arn = create(kafka)
        done = kafka.reboot_broker(ClusterArn=arn, BrokerIds=["1"])["ClusterOperationArn"]
        wait_active(kafka, arn)
    (file,) = (tmp_path / "state" / "clusters").glob("*.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"state": state, "active_operation": done}))
    with control_plane(tmp_path, start_cluster=fakes) as world:
        info = wait_active(world.client(), arn, within=10)
        assert "ActiveOperationArn" not in info
