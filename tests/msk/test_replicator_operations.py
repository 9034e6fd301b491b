"""The life of replicators as boto3 sees it, with processes that aren't there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError

from broker.msk.replicators.process import ProcessFailed
from tests.msk.replicating import FakeReplicators, pair, replicator, request, wait_gone, wait_state
from tests.msk.world import Fakes, World, control_plane
from tests.support.waiting import wait_for

IDENTICAL = {"TopicNameConfiguration": {"Type": "IDENTICAL"}}
TOPICS = {
    "TopicsToReplicate": ["orders.*"],
    "TopicsToExclude": ["orders-test"],
    "CopyTopicConfigurations": False,
    "CopyAccessControlListsForTopics": False,
    "DetectAndCopyNewTopics": True,
}
GROUPS = {
    "ConsumerGroupsToReplicate": ["app-.*"],
    "ConsumerGroupsToExclude": [],
    "DetectAndCopyNewConsumerGroups": True,
    "SynchroniseConsumerGroupOffsets": False,
}


@dataclass
class Scene:
    """A control plane with two clusters."""

    world: World
    kafka: Any
    processes: FakeReplicators
    source: str
    target: str

    def sides(self) -> dict[str, str]:
        """What updates name."""
        return {"SourceKafkaClusterArn": self.source, "TargetKafkaClusterArn": self.target}

    def update(self, arn: str, **changes: Any) -> Any:
        """Update the present version."""
        version = self.kafka.describe_replicator(ReplicatorArn=arn)["CurrentVersion"]
        return self.kafka.update_replication_info(
            ReplicatorArn=arn, CurrentVersion=version, **{**self.sides(), **changes}
        )

    def link(self) -> dict[str, Any]:
        """The first link of the file that was applied last."""
        return dict(yaml.safe_load(self.processes.applied[-1])["links"][0])


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with control_plane(tmp_path, start_cluster=Fakes()) as world:
        processes = FakeReplicators()
        processes.install(world)
        kafka = world.client()
        yield Scene(world, kafka, processes, *pair(kafka))


def test_a_replicator_is_described_as_the_service_does(scene: Scene) -> None:
    arn = replicator(scene.kafka, scene.source, scene.target, Description="for tests", Tags={"team": "a"})
    found = scene.kafka.describe_replicator(ReplicatorArn=arn)
    assert re.fullmatch(r"arn:aws:kafka:us-east-1:123456789012:replicator/orders-copy/[0-9a-f-]{36}-\d+", arn)
    assert found["ReplicatorDescription"] == "for tests"
    assert found["Tags"] == {"team": "a"}
    assert found["IsReplicatorReference"] is False
    assert found["ReplicatorResourceArn"] == arn
    assert re.fullmatch(r"K[A-Z0-9]{8,}", found["CurrentVersion"])
    info = found["ReplicationInfoList"][0]
    assert re.fullmatch(r"us-cluster-[0-9a-f]{12}", info["SourceKafkaClusterAlias"])
    assert [one["KafkaClusterAlias"] for one in found["KafkaClusters"]] == [
        info["SourceKafkaClusterAlias"], info["TargetKafkaClusterAlias"],
    ]  # fmt: skip
    assert info["TopicReplication"] == {
        "TopicsToReplicate": [".*"],
        "TopicsToExclude": [],
        "CopyAccessControlListsForTopics": True,
        "CopyTopicConfigurations": True,
        "DetectAndCopyNewTopics": True,
        "StartingPosition": {"Type": "LATEST"},
        "TopicNameConfiguration": {"Type": "PREFIXED_WITH_SOURCE_CLUSTER_ALIAS"},
    }
    assert info["ConsumerGroupReplication"]["ConsumerGroupOffsetSyncMode"] == "LEGACY"
    assert scene.kafka.list_tags_for_resource(ResourceArn=arn)["Tags"] == {"team": "a"}


def test_lists_have_pages_and_filters(scene: Scene) -> None:
    arns = [replicator(scene.kafka, scene.source, scene.target, f"copy-{number}") for number in range(3)]
    replicator(scene.kafka, scene.target, scene.source, "back")
    pages = scene.kafka.get_paginator("list_replicators").paginate(
        ReplicatorNameFilter="copy-", PaginationConfig={"PageSize": 2}
    )
    assert [[one["ReplicatorArn"] for one in page["Replicators"]] for page in pages] == [arns[:2], arns[2:]]
    summary = scene.kafka.list_replicators(ReplicatorNameFilter="back")["Replicators"][0]
    assert len(summary["KafkaClustersSummary"]) == 2
    assert summary["ReplicationInfoSummaryList"][0]["SourceKafkaClusterAlias"].startswith("eu-cluster-")
    assert scene.world.client(region="us-west-2").list_replicators()["Replicators"] == []
    with pytest.raises(ClientError, match="nextToken"):
        scene.kafka.list_replicators(NextToken="abc")


def test_an_update_reaches_the_running_process_and_makes_a_new_version(scene: Scene) -> None:
    arn = replicator(scene.kafka, scene.source, scene.target)
    before = scene.kafka.describe_replicator(ReplicatorArn=arn)["CurrentVersion"]
    assert scene.update(arn, TopicReplication=TOPICS)["ReplicatorState"] == "UPDATING"
    found = wait_state(scene.kafka, arn, "RUNNING")
    assert found["CurrentVersion"] != before
    assert found["ReplicationInfoList"][0]["TopicReplication"]["TopicsToReplicate"] == ["orders.*"]
    link = scene.link()
    assert link["topics"]["include"] == ["orders.*"]
    assert link["sync"] | {"configs": False, "acls": False, "groups": True} == link["sync"]
    scene.update(arn, ConsumerGroupReplication=GROUPS)
    wait_state(scene.kafka, arn, "RUNNING")
    assert scene.link()["sync"]["groups"] is False
    assert len(scene.processes.started) == 1
    with pytest.raises(ClientError, match="isn't current"):
        scene.kafka.update_replication_info(
            ReplicatorArn=arn, CurrentVersion=before, TopicReplication=TOPICS, **scene.sides()
        )


def test_a_process_that_cannot_take_an_update_is_started_again_with_it(scene: Scene) -> None:
    arn = replicator(scene.kafka, scene.source, scene.target)
    scene.processes.apply_fails = True
    scene.update(arn, TopicReplication=TOPICS)
    wait_state(scene.kafka, arn, "RUNNING")
    first, second = scene.processes.started
    assert not first.running
    assert "orders.*" in second.text


def test_an_update_that_changes_nothing_is_answered_and_does_nothing(scene: Scene) -> None:
    arn = replicator(scene.kafka, scene.source, scene.target)
    scene.update(arn, TopicReplication=TOPICS)
    version = wait_state(scene.kafka, arn, "RUNNING")["CurrentVersion"]
    assert scene.update(arn, TopicReplication=TOPICS)["ReplicatorState"] == "RUNNING"
    assert scene.kafka.describe_replicator(ReplicatorArn=arn)["CurrentVersion"] == version
    assert len(scene.processes.applied) == 1


def test_with_strict_msk_an_update_that_changes_nothing_is_refused_as_by_the_service(tmp_path: Path) -> None:
    with control_plane(tmp_path, start_cluster=Fakes(), strict=True) as world:
        FakeReplicators().install(world)
        kafka = world.client()
        source, target = pair(kafka)
        arn = replicator(kafka, source, target, groups=GROUPS)
        version = kafka.describe_replicator(ReplicatorArn=arn)["CurrentVersion"]
        with pytest.raises(ClientError) as caught:
            kafka.update_replication_info(
                ReplicatorArn=arn, CurrentVersion=version, ConsumerGroupReplication=GROUPS,
                SourceKafkaClusterArn=source, TargetKafkaClusterArn=target,
            )  # fmt: skip
    assert caught.value.response["Error"] == {
        "Code": "BadRequestException",
        "Message": "The specified replication info is identical to the current value. "
        "Specify a different value, then try again.",
    }


def test_log_delivery_is_updated_in_a_call_of_its_own(scene: Scene) -> None:
    arn = replicator(scene.kafka, scene.source, scene.target)
    logs = {"ReplicatorLogDelivery": {"S3": {"Enabled": True, "Bucket": "logs"}}}
    with pytest.raises(ClientError, match="in a call of its own"):
        scene.update(arn, TopicReplication=TOPICS, LogDelivery=logs)
    version = scene.kafka.describe_replicator(ReplicatorArn=arn)["CurrentVersion"]
    answer = scene.kafka.update_replication_info(ReplicatorArn=arn, CurrentVersion=version, LogDelivery=logs)
    assert answer["ReplicatorState"] == "RUNNING"
    found = scene.kafka.describe_replicator(ReplicatorArn=arn)
    assert found["LogDelivery"] == logs
    assert found["CurrentVersion"] != version
    assert scene.processes.applied == []


def test_clusters_naming_and_start_cannot_be_changed(scene: Scene) -> None:
    arn = replicator(scene.kafka, scene.source, scene.target)
    with pytest.raises(ClientError, match="Source and target Kafka cluster can't be changed"):
        scene.update(
            arn, TopicReplication=TOPICS, SourceKafkaClusterArn=scene.target, TargetKafkaClusterArn=scene.source
        )
    with pytest.raises(ClientError, match="Specify topicReplication"):
        scene.update(arn)


def test_new_topics_and_groups_are_left_out_when_they_are_not_to_be_detected(scene: Scene) -> None:
    scene.processes.source = {"topics": ["orders", "orders.eu", "payments"], "groups": ["app-1", "other"]}
    frozen = {"TopicsToReplicate": ["orders.*"], "DetectAndCopyNewTopics": False}
    groups = {"ConsumerGroupsToReplicate": ["nobody-.*"], "DetectAndCopyNewConsumerGroups": False}
    arn = replicator(scene.kafka, scene.source, scene.target, topics=frozen, groups=groups)
    link = yaml.safe_load(scene.processes.started[0].text)["links"][0]
    assert link["topics"]["include"] == ["orders", r"orders\.eu"]
    assert link["groups"]["include"] == ["(?!)"]
    scene.processes.source["topics"].append("orders.us")
    scene.update(arn, ConsumerGroupReplication=GROUPS)
    wait_state(scene.kafka, arn, "RUNNING")
    assert scene.link()["topics"]["include"] == ["orders", r"orders\.eu"]
    assert scene.link()["groups"]["include"] == ["app-.*"]
    scene.update(arn, TopicReplication=TOPICS)
    wait_state(scene.kafka, arn, "RUNNING")
    assert scene.link()["topics"]["include"] == ["orders.*"]


def test_a_replicator_that_cannot_start_is_failed_and_says_why(scene: Scene) -> None:
    scene.processes.fail_with = ProcessFailed("the source refused the role", final=True)
    arn = scene.kafka.create_replicator(**request(scene.source, scene.target))["ReplicatorArn"]
    found = wait_state(scene.kafka, arn, "FAILED")
    assert found["StateInfo"] == {"Code": "CreateReplicatorFailed", "Message": "the source refused the role"}
    with pytest.raises(ClientError, match="while it is in the FAILED state"):
        scene.update(arn, TopicReplication=TOPICS)
    scene.kafka.delete_replicator(ReplicatorArn=arn)
    wait_gone(scene.kafka, arn)


def test_a_process_that_dies_is_brought_back_and_the_replicator_stays_running(scene: Scene) -> None:
    arn = replicator(scene.kafka, scene.source, scene.target)
    scene.world.call(scene.processes.started[0].gone.set)
    wait_for(lambda: len(scene.processes.started) == 2, within=10, what="it is started again")
    assert scene.kafka.describe_replicator(ReplicatorArn=arn)["ReplicatorState"] == "RUNNING"


def test_delete_ends_the_process_and_takes_the_current_version(scene: Scene) -> None:
    arn = replicator(scene.kafka, scene.source, scene.target)
    with pytest.raises(ClientError, match="isn't current"):
        scene.kafka.delete_replicator(ReplicatorArn=arn, CurrentVersion="KOLD")
    version = scene.kafka.describe_replicator(ReplicatorArn=arn)["CurrentVersion"]
    assert scene.kafka.delete_replicator(ReplicatorArn=arn, CurrentVersion=version)["ReplicatorState"] == "DELETING"
    wait_gone(scene.kafka, arn)
    assert not scene.processes.started[0].running
    link = yaml.safe_load(scene.processes.started[0].text)["links"][0]["name"]
    assert sorted(scene.processes.deleted_topics) == [
        f"__replicator_{link}_{kind}" for kind in ("control", "ledger", "map")
    ]
    for call in (scene.kafka.describe_replicator, scene.kafka.delete_replicator):
        with pytest.raises(ClientError) as caught:
            call(ReplicatorArn=arn)
        assert caught.value.response["Error"]["Code"] == "NotFoundException"


def test_a_link_is_called_like_its_replicator_unless_another_one_is(scene: Scene) -> None:
    scene.processes.delete_fails = True
    for _ in range(2):
        arn = replicator(scene.kafka, scene.source, scene.target)
        scene.kafka.delete_replicator(ReplicatorArn=arn)
        wait_gone(scene.kafka, arn)
    names = [yaml.safe_load(one.text)["links"][0]["name"] for one in scene.processes.started]
    assert names[0] == "orders-copy"
    assert re.fullmatch(r"orders-copy-[0-9a-f]{8}", names[1]), "the first one's ledger couldn't be deleted"


def test_copies_that_are_there_already_are_gone_on_behind(scene: Scene) -> None:
    first = replicator(scene.kafka, scene.source, scene.target)
    alias = yaml.safe_load(scene.processes.started[0].text)["links"][0]["source"]
    scene.processes.target = ["orders", "__consumer_offsets", f"{alias}.orders"]
    scene.kafka.delete_replicator(ReplicatorArn=first)
    wait_gone(scene.kafka, first)
    replicator(scene.kafka, scene.source, scene.target, "again")
    replicator(scene.kafka, scene.target, scene.source, "the-other-way")
    assert [one.launch.options for one in scene.processes.started] == [(), ("--adopt",), ()]


def test_where_copies_cannot_be_gone_on_behind_a_replicator_begins_anew_as_the_service_does(scene: Scene) -> None:
    scene.processes.target = ["orders"]
    scene.processes.fail_with = ProcessFailed("can't be adopted", final=True)
    arn = scene.kafka.create_replicator(**request(scene.source, scene.target, topics=IDENTICAL))["ReplicatorArn"]
    wait_state(scene.kafka, arn, "FAILED")
    scene.processes.fail_with = None
    replicator(scene.kafka, scene.target, scene.source, "back", topics=IDENTICAL)
    assert [one.launch.options for one in scene.processes.started] == [("--adopt",), ("--from-scratch",), ()]


def test_two_replicators_under_identical_names_know_of_each_other(scene: Scene) -> None:
    forth = replicator(scene.kafka, scene.source, scene.target, "forth", topics=IDENTICAL)
    replicator(scene.kafka, scene.source, scene.target, "elsewhere")
    back = replicator(scene.kafka, scene.target, scene.source, "back", topics=IDENTICAL)
    wait_for(lambda: scene.processes.applied, within=10, what="the first is told of the second")
    names = [link["name"] for link in yaml.safe_load(scene.processes.applied[-1])["links"]]
    assert names == ["forth", "back"]
    link = yaml.safe_load(scene.processes.started[-1].text)["links"][0]["name"]
    scene.kafka.delete_replicator(ReplicatorArn=back)
    wait_gone(scene.kafka, back)
    assert scene.processes.deleted_topics == []
    wait_for(lambda: len(scene.processes.applied) == 2, within=10, what="the first is told of the end")
    assert len(yaml.safe_load(scene.processes.applied[-1])["links"]) == 1
    again = replicator(scene.kafka, scene.target, scene.source, "return", topics=IDENTICAL)
    followed = yaml.safe_load(scene.processes.started[-1].text)["links"][0]["name"]
    assert followed == link, "it goes on with the ledger of the one before"
    assert {forth, again} <= {one["ReplicatorArn"] for one in scene.kafka.list_replicators()["Replicators"]}


def test_after_a_restart_of_the_control_plane_replicators_run_again(tmp_path: Path) -> None:
    processes = FakeReplicators()
    with control_plane(tmp_path, start_cluster=Fakes()) as world:
        processes.install(world)
        kafka = world.client()
        source, target = pair(kafka)
        arn = replicator(kafka, source, target, Tags={"team": "a"})
        before = kafka.describe_replicator(ReplicatorArn=arn)
    assert not processes.started[0].running
    with control_plane(tmp_path, start_cluster=Fakes(), replicators=processes) as world:
        after = world.client().describe_replicator(ReplicatorArn=arn)
        wait_for(lambda: len(processes.started) == 2, within=10, what="it is started")
        for one in (before, after):
            one.pop("ResponseMetadata")
        assert after == before


def test_callers_need_to_pass_the_role_and_to_see_clusters_and_networks(tmp_path: Path) -> None:
    file = tmp_path / "credentials.json"
    keys = {"AWS_ACCESS_KEY_ID": "AKIAALICEALICEALICE1", "AWS_SECRET_ACCESS_KEY": "alice-secret"}
    arn = "arn:aws:iam::123456789012:user/alice"
    trust = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "kafka.amazonaws.com"}, "Action": "sts:AssumeRole"}]}  # fmt: skip
    needed = {
        "kafka:CreateReplicator": "*", "kafka:TagResource": "arn:aws:kafka:us-east-1:123456789012:replicator/*",
        "iam:PassRole": "arn:aws:iam::123456789012:role/Replication", "kafka:DescribeClusterV2": "*",
        "kafka:GetBootstrapBrokers": "*", "ec2:DescribeSubnets": "arn:aws:ec2:us-east-1:123456789012:subnet/*",
        "ec2:DescribeSecurityGroups": "*",
    }  # fmt: skip

    def write(without: str | None) -> None:
        statements: list[dict[str, Any]] = [
            {"Effect": "Allow", "Action": action, "Resource": resource}
            for action, resource in needed.items()
            if action != without
        ]
        for one in statements:
            if one["Action"] == "iam:PassRole":
                one["Condition"] = {"StringEquals": {"iam:PassedToService": "kafka.amazonaws.com"}}
        content = {
            "account": "123456789012",
            "credentials": [{
                "access_key_id": keys["AWS_ACCESS_KEY_ID"], "secret_access_key": keys["AWS_SECRET_ACCESS_KEY"],
                "principal_arn": arn,
            }],
            "identities": [{"arn": arn, "policies": [{"Version": "2012-10-17", "Statement": statements}]}],
            "roles": [{"arn": "arn:aws:iam::123456789012:role/Replication", "trust": trust}],
        }  # fmt: skip
        file.write_text(json.dumps(content))
        file.chmod(0o600)

    write(None)
    with control_plane(tmp_path / "data", start_cluster=Fakes(), credentials=file) as world:
        FakeReplicators().install(world)
        source, target = pair(world.client())
        alice = world.client(keys)
        wanted = request(source, target, Tags={"team": "a"})
        for action in needed:
            write(action)
            with pytest.raises(ClientError) as caught:
                alice.create_replicator(**wanted)
            assert caught.value.response["Error"]["Code"] == "AccessDeniedException"
            assert f"is not authorized to perform: {action} on resource" in str(caught.value)
        write(None)
        alice.create_replicator(**wanted)
        with pytest.raises(ClientError, match="not authorized to perform: kafka:DeleteReplicator"):
            alice.delete_replicator(ReplicatorArn=world.client().list_replicators()["Replicators"][0]["ReplicatorArn"])
