"""CreateReplicator refuses what the service refuses, in its words where they are known."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.msk.replicating import POLICY_ACTIONS, FakeReplicators, msk, replicator, request
from tests.msk.world import Fakes, World, control_plane, create, provisioned

OTHER = "eu-west-1"
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:on-premises-AbCdEf"


@dataclass
class Scene:
    """A control plane with clusters, which no test changes."""

    world: World
    kafka: Any
    source: str
    target: str

    def refused(self, **request_: Any) -> tuple[str, str]:
        """Code and message of a refusal."""
        with pytest.raises(ClientError) as caught:
            self.kafka.create_replicator(**request_)
        error = caught.value.response["Error"]
        return error["Code"], error["Message"]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with control_plane(tmp_path_factory.mktemp("msk"), start_cluster=Fakes()) as world:
        FakeReplicators().install(world)
        kafka = world.client()
        yield Scene(world, kafka, create(kafka, "us-cluster"), create(kafka, "eu-cluster"))


def _external(**changes: Any) -> dict[str, Any]:
    return {
        "ApacheKafkaCluster": {"ApacheKafkaClusterId": "on-premises", "BootstrapBrokerString": "kafka.example:9096"},
        "ClientAuthentication": {"SaslScram": {"Mechanism": "SHA512", "SecretArn": SECRET}},
    } | changes


def _with(cluster: Callable[[str], dict[str, Any]]) -> Callable[[Scene], dict[str, Any]]:
    """A request whose first cluster is another one."""
    return lambda scene: {"KafkaClusters": [cluster(scene.source), msk(scene.target)]}


REFUSED: dict[str, tuple[Callable[[Scene], dict[str, Any]], str]] = {
    "one cluster": (lambda s: {"KafkaClusters": [msk(s.source)]}, "Exactly two Kafka clusters must be specified"),
    "twice the same": (
        lambda s: {"KafkaClusters": [msk(s.source), msk(s.source)]},
        "Kafka cluster list contains duplicate cluster ARNs",
    ),
    "source not among them": (
        lambda s: {"info": {"SourceKafkaClusterArn": s.source.replace("us-cluster", "other")}},
        "Source and target Kafka cluster ARNs must be present in kafkaClusters",
    ),
    "from itself": (lambda s: {"info": {"TargetKafkaClusterArn": s.source}}, "must be different"),
    "both kinds in one": (
        _with(lambda arn: msk(arn) | _external()),
        "Cannot specify both AmazonMskCluster and ApacheKafkaCluster in a kafkaCluster object",
    ),
    "no kind": (_with(lambda arn: {"VpcConfig": msk(arn)["VpcConfig"]}), "Specify either AmazonMskCluster or Apache"),
    "arn and id": (
        lambda s: {"info": {"SourceKafkaClusterId": "on-premises"}},
        "Cannot specify both sourceKafkaClusterArn and sourceKafkaClusterId",
    ),
    "neither arn nor id": (lambda s: {"info": {"SourceKafkaClusterArn": None}}, "Specify sourceKafkaClusterArn or"),
    "no network": (_with(lambda arn: {"AmazonMskCluster": {"MskClusterArn": arn}}), "require a VPC configuration"),
    "one subnet": (_with(lambda arn: msk(arn, VpcConfig={"SubnetIds": ["subnet-1"]})), "two or three subnets"),
    "four subnets": (
        _with(lambda arn: msk(arn, VpcConfig={"SubnetIds": [f"subnet-{n}" for n in range(4)]})),
        "two or three subnets",
    ),
    "17 security groups": (
        _with(lambda arn: msk(arn, VpcConfig=_network(groups=17))),
        "at most 16 security groups",
    ),
    "strange subnet": (
        _with(lambda arn: msk(arn, VpcConfig={"SubnetIds": ["subnet-1", "net 2"]})), "'net 2' isn't valid"
    ),
    "authentication for MSK": (
        _with(lambda arn: msk(arn) | {"ClientAuthentication": _external()["ClientAuthentication"]}),
        "only supported for Apache Kafka clusters",
    ),
    "no topics": (lambda s: {"topics": {"TopicsToReplicate": []}}, "topicsToReplicate must have between 1 and 100"),
    "101 topics": (lambda s: {"topics": {"TopicsToReplicate": ["t"] * 101}}, "between 1 and 100 items"),
    "long topic": (lambda s: {"topics": {"TopicsToReplicate": ["t" * 250]}}, "length less than or equal to 249"),
    "wrong pattern": (lambda s: {"topics": {"TopicsToReplicate": ["*"]}}, "invalid regular expression '*'"),
    "wrong exclusion": (lambda s: {"topics": {"TopicsToExclude": ["("]}}, "topicsToExclude contains an invalid"),
    "101 groups": (lambda s: {"groups": {"ConsumerGroupsToReplicate": ["g"] * 101}}, "between 0 and 100 items"),
    "long group": (lambda s: {"groups": {"ConsumerGroupsToExclude": ["g" * 257]}}, "length less than or equal to 256"),
    "wrong group": (lambda s: {"groups": {"ConsumerGroupsToReplicate": ["[a"]}}, "invalid regular expression '[a'"),
    "enhanced with prefixes": (
        lambda s: {"groups": {"ConsumerGroupOffsetSyncMode": "ENHANCED"}},
        "The consumerGroupOffsetSyncMode value ENHANCED is only supported when topicNameConfiguration type is IDENTI",
    ),
    "unknown compression": (lambda s: {"info": {"TargetCompressionType": "BROTLI"}}, "Member must satisfy enum"),
    "somebody else's role": (
        lambda s: {"ServiceExecutionRoleArn": "arn:aws:iam::210987654321:role/Replication"},
        "Cross-account pass role is not allowed.",
    ),
    "no role": (lambda s: {"ServiceExecutionRoleArn": "Replication"}, "role ARN isn't valid"),
    "strange name": (lambda s: {"ReplicatorName": "a_b"}, "Member must satisfy regular expression pattern"),
    "reserved tag": (lambda s: {"Tags": {"aws:owner": "me"}}, "reserved for system use"),
    "log group without name": (
        lambda s: {"LogDelivery": {"ReplicatorLogDelivery": {"CloudWatchLogs": {"Enabled": True}}}},
        "logGroup must be specified when cloudWatchLogs is enabled",
    ),
    "external without authentication": (
        _with(lambda arn: {k: v for k, v in _external().items() if k != "ClientAuthentication"}),
        "Apache Kafka clusters require authentication configuration. Specify the clientAuthentication parameter.",
    ),
    "external with bad brokers": (
        _with(lambda arn: _external(ApacheKafkaCluster={"ApacheKafkaClusterId": "x", "BootstrapBrokerString": "host"})),
        "bootstrap broker string isn't valid",
    ),
    "token endpoint in clear": (
        _with(lambda arn: _external(ClientAuthentication={"SaslOAuthBearer": {
            "TokenEndpointUrl": "http://idp.example/token", "TokenEndpointAuthenticationMethod": "POST",
            "ClientCredentials": {"TokenRequestSecretArn": SECRET}}})),
        "must be an https URL",
    ),
}  # fmt: skip


def _network(groups: int) -> dict[str, Any]:
    out: dict[str, Any] = {"SubnetIds": ["subnet-1", "subnet-2"]}
    return out | ({"SecurityGroupIds": [f"sg-{number}" for number in range(groups)]} if groups else {})


@pytest.mark.parametrize("case", REFUSED)
def test_a_request_that_the_service_refuses_is_refused_in_its_words(scene: Scene, case: str) -> None:
    changes, message = REFUSED[case]
    code, said = scene.refused(**request(scene.source, scene.target, **changes(scene)))
    assert code == "BadRequestException"
    assert message in said


def test_both_clusters_must_be_fit_for_it(scene: Scene) -> None:
    kafka = scene.kafka
    group = provisioned()["BrokerNodeGroupInfo"]
    scram = {"Sasl": {"Scram": {"Enabled": True}}}
    unfit = {
        "must have IAM access control enabled": create(kafka, "no-iam", ClientAuthentication=scram),
        "t3.small": create(kafka, "small", BrokerNodeGroupInfo={**group, "InstanceType": "kafka.t3.small"}),
        "2.7.0 or higher": create(kafka, "old", KafkaVersion="2.6.1"),
        "at least 4 brokers in 2 Availability Zones": create(
            kafka, "narrow", NumberOfBrokerNodes=2,
            BrokerNodeGroupInfo={**group, "ClientSubnets": ["subnet-0aaa", "subnet-0bbb"]},
        ),
    }  # fmt: skip
    for message, arn in unfit.items():
        for source, target in ((arn, scene.target), (scene.source, arn)):
            code, said = scene.refused(**request(source, target))
            assert (code, message in said) == ("BadRequestException", True), said
    older = create(kafka, "older", KafkaVersion="2.8.0")
    naming = {"TopicNameConfiguration": {"Type": "IDENTICAL"}}
    assert "2.8.1 or higher for identical" in scene.refused(**request(older, scene.target, topics=naming))[1]
    gone = scene.source.replace("us-cluster", "nobodys")
    assert scene.refused(**request(gone, scene.target))[0] == "NotFoundException"
    foreign = scene.source.replace("123456789012", "210987654321")
    assert "must be in the account" in scene.refused(**request(foreign, scene.target))[1]


def test_another_region_is_reached_through_multi_vpc_connectivity_and_a_cluster_policy(scene: Scene) -> None:
    there = scene.world.client(region=OTHER)
    open_too = {"Sasl": {"Iam": {"Enabled": True}}, "Unauthenticated": {"Enabled": True}}
    source = create(there, "far", ClientAuthentication=open_too)
    wanted = request(source, scene.target, "from-afar")
    with pytest.raises(ClientError, match="The target cluster must be from region eu-west-1"):
        there.create_replicator(**wanted)
    assert "must not allow unauthenticated access" in scene.refused(**wanted)[1]
    _update(there, source, "update_security", ClientAuthentication={"Unauthenticated": {"Enabled": False}})
    assert "multi-VPC private connectivity turned on for IAM" in scene.refused(**wanted)[1]
    vpc = {"VpcConnectivity": {"ClientAuthentication": {"Sasl": {"Iam": {"Enabled": True}}}}}
    _update(there, source, "update_connectivity", ConnectivityInfo=vpc)
    assert "must have a cluster policy that allows kafka.amazonaws.com" in scene.refused(**wanted)[1]
    version = None
    for missing in (*POLICY_ACTIONS, None):
        policy = _policy(source, [action for action in POLICY_ACTIONS if action != missing])
        given = {"CurrentVersion": version} if version else {}
        version = there.put_cluster_policy(ClusterArn=source, Policy=json.dumps(policy), **given)["CurrentVersion"]
        if missing is not None:
            assert scene.refused(**wanted)[1].endswith(f"must allow kafka.amazonaws.com {missing}.")
    arn = replicator(scene.kafka, source, scene.target, "from-afar")
    listed = there.list_replicators()["Replicators"]
    assert [one["IsReplicatorReference"] for one in listed] == [True]
    assert listed[0]["ReplicatorResourceArn"] == arn
    reference = listed[0]["ReplicatorArn"]
    assert reference == arn.replace("us-east-1", OTHER)
    assert there.describe_replicator(ReplicatorArn=reference)["ReplicatorState"] == "RUNNING"
    with pytest.raises(ClientError, match="This is a reference: use region us-east-1"):
        there.delete_replicator(ReplicatorArn=reference)


def _policy(arn: str, actions: list[str]) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Principal": {"Service": "kafka.amazonaws.com"}, "Action": actions, "Resource": arn}
    return {"Version": "2012-10-17", "Statement": [statement]}


def _update(kafka: Any, arn: str, operation: str, **changes: Any) -> None:
    from tests.msk.world import wait_active

    version = kafka.describe_cluster_v2(ClusterArn=arn)["ClusterInfo"]["CurrentVersion"]
    getattr(kafka, operation)(ClusterArn=arn, CurrentVersion=version, **changes)
    wait_active(kafka, arn)


def test_a_second_replicator_of_the_same_name_is_a_conflict(scene: Scene) -> None:
    replicator(scene.kafka, scene.source, scene.target, "only-one")
    code, said = scene.refused(**request(scene.source, scene.target, "only-one"))
    assert code == "ConflictException"
    assert "name already exists" in said


def test_a_role_that_does_not_trust_the_service_is_refused(tmp_path: Path) -> None:
    trust = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]}  # fmt: skip
    roles = [{"arn": "arn:aws:iam::123456789012:role/Machines", "trust": trust, "policies": []}]
    file = tmp_path / "credentials.json"
    file.write_text(json.dumps({"account": "123456789012", "roles": roles}))
    file.chmod(0o600)
    with control_plane(tmp_path / "data", start_cluster=Fakes(), credentials=file) as world:
        kafka = world.client()
        source, target = create(kafka, "us-cluster"), create(kafka, "eu-cluster")
        for role, message in (("Machines", "must allow kafka.amazonaws.com to assume it"), ("Nobody", "doesn't exist")):
            arn = f"arn:aws:iam::123456789012:role/{role}"
            with pytest.raises(ClientError, match=message):
                kafka.create_replicator(**request(source, target, ServiceExecutionRoleArn=arn))
