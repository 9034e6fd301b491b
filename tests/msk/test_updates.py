"""Updates of clusters: what they change, the operations that they leave, and what is refused. Brokers are pretended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.msk.world import Fakes, World, control_plane, create, provisioned, wait_active

EXPRESS = {
    "BrokerNodeGroupInfo": {"ClientSubnets": ["subnet-1", "subnet-2", "subnet-3"], "InstanceType": "express.m7g.large"}
}


def _version(kafka: Any, arn: str) -> str:
    return str(kafka.describe_cluster_v2(ClusterArn=arn)["ClusterInfo"]["CurrentVersion"])


def _configuration(kafka: Any, name: str = "small", text: bytes = b"num.partitions=3") -> dict[str, Any]:
    made = kafka.create_configuration(Name=name, ServerProperties=text, KafkaVersions=["3.6.0"])
    return {"Arn": made["Arn"], "Revision": made["LatestRevision"]["Revision"]}


# call, arguments, operation's type, where the new value stands in DescribeClusterV2, the value
CHANGES: list[tuple[str, dict[str, Any], str, tuple[str, ...], Any]] = [
    ("update_broker_count", {"TargetNumberOfBrokerNodes": 6}, "INCREASE_BROKER_COUNT", ("NumberOfBrokerNodes",), 6),
    (
        "update_broker_storage",
        {"TargetBrokerEBSVolumeInfo": [{"KafkaBrokerNodeId": "All", "VolumeSizeGB": 200}]},
        "UPDATE_BROKER_STORAGE",
        ("BrokerNodeGroupInfo", "StorageInfo", "EbsStorageInfo", "VolumeSize"),
        200,
    ),
    (
        "update_storage",
        {"StorageMode": "TIERED"},
        "UPDATE_STORAGE",
        ("StorageMode",),
        "TIERED",
    ),
    (
        "update_storage",
        {"ProvisionedThroughput": {"Enabled": True, "VolumeThroughput": 250}},
        "UPDATE_STORAGE",
        ("BrokerNodeGroupInfo", "StorageInfo", "EbsStorageInfo", "ProvisionedThroughput", "VolumeThroughput"),
        250,
    ),
    (
        "update_broker_type",
        {"TargetInstanceType": "kafka.m7g.large"},
        "UPDATE_BROKER_TYPE",
        ("BrokerNodeGroupInfo", "InstanceType"),
        "kafka.m7g.large",
    ),
    (
        "update_cluster_kafka_version",
        {"TargetKafkaVersion": "3.7.x"},
        "UPDATE_CLUSTER_KAFKA_VERSION",
        ("CurrentBrokerSoftwareInfo", "KafkaVersion"),
        "3.7.x",
    ),
    (
        "update_monitoring",
        {"EnhancedMonitoring": "PER_BROKER"},
        "UPDATE_MONITORING",
        ("EnhancedMonitoring",),
        "PER_BROKER",
    ),
    (
        "update_monitoring",
        {"OpenMonitoring": {"Prometheus": {"JmxExporter": {"EnabledInBroker": True}}}},
        "UPDATE_MONITORING",
        ("OpenMonitoring", "Prometheus", "JmxExporter", "EnabledInBroker"),
        True,
    ),
    (
        "update_security",
        {"ClientAuthentication": {"Sasl": {"Scram": {"Enabled": True}}}},
        "UPDATE_SECURITY",
        ("ClientAuthentication", "Sasl"),
        {"Scram": {"Enabled": True}, "Iam": {"Enabled": True}},
    ),
    (
        "update_connectivity",
        {"ConnectivityInfo": {"VpcConnectivity": {"ClientAuthentication": {"Sasl": {"Iam": {"Enabled": True}}}}}},
        "UPDATE_CONNECTIVITY",
        (
            "BrokerNodeGroupInfo",
            "ConnectivityInfo",
            "VpcConnectivity",
            "ClientAuthentication",
            "Sasl",
            "Iam",
            "Enabled",
        ),
        True,
    ),
]


@pytest.mark.parametrize(("call", "arguments", "type", "path", "value"), CHANGES)
def test_an_update_is_carried_out_and_leaves_an_operation_and_a_new_version(
    kafka: Any, call: str, arguments: dict[str, Any], type: str, path: tuple[str, ...], value: Any
) -> None:
    arn = create(kafka)
    version = _version(kafka, arn)
    answer = getattr(kafka, call)(ClusterArn=arn, CurrentVersion=version, **arguments)
    assert answer["ClusterArn"] == arn
    info = wait_active(kafka, arn)
    found: Any = info["Provisioned"]
    for part in path:
        found = found[part]
    assert found == value
    assert info["CurrentVersion"] != version
    assert "ActiveOperationArn" not in info
    first = kafka.describe_cluster_operation(ClusterOperationArn=answer["ClusterOperationArn"])["ClusterOperationInfo"]
    assert (first["OperationType"], first["OperationState"]) == (type, "UPDATE_COMPLETE")
    assert first["TargetClusterInfo"]
    assert {step["StepInfo"]["StepStatus"] for step in first["OperationSteps"]} == {"COMPLETED"}
    second = kafka.describe_cluster_operation_v2(ClusterOperationArn=answer["ClusterOperationArn"])[
        "ClusterOperationInfo"
    ]
    assert second["Provisioned"]["TargetClusterInfo"] == first["TargetClusterInfo"]
    assert second["EndTime"] >= second["StartTime"]
    with pytest.raises(ClientError, match="The version of the cluster isn't current"):
        getattr(kafka, call)(ClusterArn=arn, CurrentVersion=version, **arguments)


def test_a_configuration_reaches_the_brokers_and_can_not_be_deleted_while_in_use(kafka: Any, fakes: Fakes) -> None:
    arn = create(kafka)
    assert fakes.latest(arn).content["config"]["num.partitions"] == "1"
    chosen = _configuration(kafka)
    kafka.update_cluster_configuration(ClusterArn=arn, CurrentVersion=_version(kafka, arn), ConfigurationInfo=chosen)
    info = wait_active(kafka, arn)
    assert info["Provisioned"]["CurrentBrokerSoftwareInfo"]["ConfigurationArn"] == chosen["Arn"]
    assert fakes.latest(arn).content["config"]["num.partitions"] == "3"
    with pytest.raises(ClientError, match="Configuration is in use by one or more clusters"):
        kafka.delete_configuration(Arn=chosen["Arn"])
    with pytest.raises(ClientError, match="revision does not exist"):
        kafka.update_cluster_configuration(
            ClusterArn=arn, CurrentVersion=_version(kafka, arn), ConfigurationInfo=chosen | {"Revision": 7}
        )


def test_rebalancing_is_for_express_brokers(kafka: Any) -> None:
    standard, express = create(kafka), create(kafka, "fast", **EXPRESS)
    paused = {"Rebalancing": {"Status": "PAUSED"}}
    with pytest.raises(ClientError, match="Express"):
        kafka.update_rebalancing(ClusterArn=standard, CurrentVersion=_version(kafka, standard), **paused)
    kafka.update_rebalancing(ClusterArn=express, CurrentVersion=_version(kafka, express), **paused)
    assert wait_active(kafka, express)["Provisioned"]["Rebalancing"] == {"Status": "PAUSED"}


def test_an_operation_names_the_brokers_that_it_made(kafka: Any) -> None:
    arn = create(kafka)
    answer = kafka.update_broker_count(ClusterArn=arn, CurrentVersion=_version(kafka, arn), TargetNumberOfBrokerNodes=6)
    found = kafka.describe_cluster_operation(ClusterOperationArn=answer["ClusterOperationArn"])["ClusterOperationInfo"]
    assert found["SourceClusterInfo"] == {"NumberOfBrokerNodes": 3}
    assert found["TargetClusterInfo"]["BrokerCountUpdateInfo"] == {"CreatedBrokerIds": [4.0, 5.0, 6.0]}
    wait_active(kafka, arn)


def test_an_account_has_no_more_brokers_in_a_region_than_the_quota(kafka: Any) -> None:
    for number in range(6):
        kafka.create_cluster_v2(ClusterName=f"c-{number}", Provisioned=provisioned(NumberOfBrokerNodes=15))
    with pytest.raises(ClientError, match="quota of 90 brokers"):
        kafka.create_cluster_v2(ClusterName="more", Provisioned=provisioned())


def test_a_broker_is_rebooted_by_itself(kafka: Any, fakes: Fakes) -> None:
    arn = create(kafka)
    answer = kafka.reboot_broker(ClusterArn=arn, BrokerIds=["2"])
    wait_active(kafka, arn)
    assert fakes.latest(arn).asked == ["stop 2", "start 2"]
    done = kafka.describe_cluster_operation(ClusterOperationArn=answer["ClusterOperationArn"])["ClusterOperationInfo"]
    assert (done["OperationType"], done["OperationState"]) == ("REBOOT_NODE", "UPDATE_COMPLETE")
    for ids in (["9"], ["1", "2"], []):
        with pytest.raises(ClientError, match="one broker"):
            kafka.reboot_broker(ClusterArn=arn, BrokerIds=ids)


def test_what_the_brokers_can_not_take_while_running_they_take_by_a_restart(kafka: Any, fakes: Fakes) -> None:
    arn = create(kafka)
    first = fakes.latest(arn)
    first.refuses_reload = True
    kafka.update_security(
        ClusterArn=arn,
        CurrentVersion=_version(kafka, arn),
        ClientAuthentication={"Sasl": {"Scram": {"Enabled": True}}},
    )
    wait_active(kafka, arn)
    assert first.asked == ["stop"]
    names = [one["name"] for one in fakes.latest(arn).content["listeners"]]
    assert names == ["CLIENT_SASL_SCRAM", "CLIENT_IAM", "CONTROL_PLANE"]


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("update_broker_count", {"TargetNumberOfBrokerNodes": 4}, "multiple of Availability Zones"),
    ("update_broker_storage", {"TargetBrokerEBSVolumeInfo": []}, "at least one volume"),
    (
        "update_broker_storage",
        {"TargetBrokerEBSVolumeInfo": [{"KafkaBrokerNodeId": "All", "VolumeSizeGB": 50}]},
        "must be greater",
    ),
    (
        "update_broker_storage",
        {"TargetBrokerEBSVolumeInfo": [{"KafkaBrokerNodeId": "1", "VolumeSizeGB": 200}]},
        "all brokers alike",
    ),
    ("update_storage", {}, "does not include any updates"),
    ("update_storage", {"ProvisionedThroughput": {"Enabled": True, "VolumeThroughput": 1}}, "250 to 2375"),
    ("update_broker_type", {"TargetInstanceType": "express.m7g.large"}, "Standard and Express"),
    ("update_broker_type", {"TargetInstanceType": "large"}, "Unsupported InstanceType"),
    (
        "update_cluster_kafka_version",
        {"TargetKafkaVersion": "3.5.1"},
        "can't update the cluster from Kafka version 3.6.0",
    ),
    ("update_cluster_kafka_version", {"TargetKafkaVersion": "4.1.x.kraft"}, "can't update the cluster"),
    ("update_monitoring", {}, "does not include any updates"),
    ("update_security", {}, "does not include any updates to the security setting"),
    (
        "update_security",
        {"EncryptionInfo": {"EncryptionInTransit": {"InCluster": False}}},
        "Updating the inter-broker encryption setting on your cluster is not currently supported",
    ),
    (
        "update_security",
        {"EncryptionInfo": {"EncryptionAtRest": {"DataVolumeKMSKeyId": "arn:x"}}},
        "Updating encryption-at-rest settings",
    ),
    ("update_connectivity", {}, "does not include any updates"),
    (
        "update_connectivity",
        {
            "ConnectivityInfo": {
                "NetworkType": "DUAL",
                "VpcConnectivity": {"ClientAuthentication": {"Sasl": {"Iam": {"Enabled": True}}}},
            }
        },
        "You can't update multiple connectivity settings in the same request",
    ),
    (
        "update_connectivity",
        {"ConnectivityInfo": {"VpcConnectivity": {"ClientAuthentication": {"Sasl": {"Scram": {"Enabled": True}}}}}},
        "must be enabled on the cluster",
    ),
]


@pytest.mark.parametrize(("call", "arguments", "says"), REFUSED)
def test_updates_that_the_service_refuses_are_refused_and_change_nothing(
    shared_kafka: Any, call: str, arguments: dict[str, Any], says: str
) -> None:
    kafka = shared_kafka
    there = kafka.list_clusters_v2()["ClusterInfoList"]
    arn = there[0]["ClusterArn"] if there else create(kafka)
    before = kafka.describe_cluster_v2(ClusterArn=arn)["ClusterInfo"]
    with pytest.raises(ClientError, match=says) as caught:
        getattr(kafka, call)(ClusterArn=arn, CurrentVersion=before["CurrentVersion"], **arguments)
    assert caught.value.response["Error"]["Code"] == "BadRequestException"
    assert kafka.describe_cluster_v2(ClusterArn=arn)["ClusterInfo"] == before
    assert kafka.list_cluster_operations(ClusterArn=arn)["ClusterOperationInfoList"] == []


def test_an_update_without_a_change_does_nothing_and_says_done(kafka: Any, fakes: Fakes) -> None:
    arn = create(kafka)
    version = _version(kafka, arn)
    answer = kafka.update_broker_type(ClusterArn=arn, CurrentVersion=version, TargetInstanceType="kafka.m5.large")
    done = kafka.describe_cluster_operation_v2(ClusterOperationArn=answer["ClusterOperationArn"])[
        "ClusterOperationInfo"
    ]
    assert done["OperationState"] == "UPDATE_COMPLETE"
    assert _version(kafka, arn) == version
    assert fakes.latest(arn).asked == []


def test_when_strict_an_update_without_a_change_is_refused_in_the_services_words(tmp_path: Path, fakes: Fakes) -> None:
    with control_plane(tmp_path, start_cluster=fakes, strict=True) as world:
        kafka = world.client()
        arn = create(kafka)
        with pytest.raises(ClientError, match="does not include any updates to the security setting of the cluster"):
            kafka.update_security(
                ClusterArn=arn,
                CurrentVersion=_version(kafka, arn),
                ClientAuthentication={"Sasl": {"Iam": {"Enabled": True}}},
            )


def test_only_one_operation_at_a_time(world: World, kafka: Any, fakes: Fakes) -> None:
    arn = create(kafka)
    fakes.latest(arn).refuses_reload = True
    world.call(fakes.go.clear)
    version = _version(kafka, arn)
    kafka.update_broker_count(ClusterArn=arn, CurrentVersion=version, TargetNumberOfBrokerNodes=6)
    info = kafka.describe_cluster_v2(ClusterArn=arn)["ClusterInfo"]
    assert info["State"] == "UPDATING"
    running = kafka.describe_cluster_operation(ClusterOperationArn=info["ActiveOperationArn"])["ClusterOperationInfo"]
    assert running["OperationState"] in ("PENDING", "UPDATE_IN_PROGRESS")
    with pytest.raises(ClientError, match="UPDATING"):
        kafka.reboot_broker(ClusterArn=arn, BrokerIds=["1"])
    with pytest.raises(ClientError, match="ConflictException"):
        kafka.delete_cluster(ClusterArn=arn)
    world.call(fakes.go.set)
    assert wait_active(kafka, arn)["Provisioned"]["NumberOfBrokerNodes"] == 6


def test_operations_are_listed_newest_first_in_pages_by_both_versions(kafka: Any) -> None:
    arn = create(kafka)
    for broker in ("1", "2", "3"):
        kafka.reboot_broker(ClusterArn=arn, BrokerIds=[broker])
        wait_active(kafka, arn)
    for name in ("list_cluster_operations", "list_cluster_operations_v2"):
        pages = list(kafka.get_paginator(name).paginate(ClusterArn=arn, PaginationConfig={"PageSize": 2}))
        flat = [one for page in pages for one in page["ClusterOperationInfoList"]]
        assert len(pages) == 2
        times = [one.get("CreationTime") or one["StartTime"] for one in flat]
        assert times == sorted(times, reverse=True)
    with pytest.raises(ClientError, match="NotFoundException"):
        kafka.describe_cluster_operation(ClusterOperationArn=flat[0]["OperationArn"] + "0")


def test_given_an_update_with_which_the_brokers_do_not_start_then_it_failed_and_they_run_as_before(
    world: World, kafka: Any, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.msk.clusters.runner.BACKOFF_S", (0.01,))
    arn = create(kafka)
    before = kafka.describe_cluster_v2(ClusterArn=arn)["ClusterInfo"]
    fakes.latest(arn).refuses_reload = True
    fakes.fails_if = lambda content: len(content["nodes"]) > 3
    answer = kafka.update_broker_count(
        ClusterArn=arn, CurrentVersion=before["CurrentVersion"], TargetNumberOfBrokerNodes=6
    )
    after = wait_active(kafka, arn)
    assert after["Provisioned"] == before["Provisioned"]
    assert len(kafka.list_nodes(ClusterArn=arn)["NodeInfoList"]) == 3
    failed = kafka.describe_cluster_operation(ClusterOperationArn=answer["ClusterOperationArn"])["ClusterOperationInfo"]
    assert failed["OperationState"] == "UPDATE_FAILED"
    assert failed["ErrorInfo"]["ErrorString"] == "it doesn't start so"
    assert len(fakes.latest(arn).content["nodes"]) == 3
