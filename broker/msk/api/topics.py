"""CreateTopic, UpdateTopic, DeleteTopic, DescribeTopic, DescribeTopicPartitions, ListTopics.

`configs` is base64 of `name=value` lines. Answers are as of now, not of a minute ago as the service's.
Source: AWS developer guide, "Topic Operations": provisioned clusters of Kafka 3.6.0 and newer, in state ACTIVE.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from broker.msk import errors, kafka_versions
from broker.msk.api.clusters import cluster_of
from broker.msk.arns import parse
from broker.msk.clusters.topic_admin import TopicAdmin, TopicFailed, TopicInfo
from broker.msk.errors import BadRequest, ClusterConnectivity, KafkaRequest, NotFound, ServiceError
from broker.msk.pages import page
from broker.msk.properties import parse_properties
from broker.msk.records import ClusterRecord, ClusterState
from broker.msk.registry import Call, operation

SINCE = (3, 6, 0)
INTERNAL = ("__consumer_offsets", "__transaction_state", "__share_group_state")
MAX_CONFIGS = 65_536
_ERRORS: dict[str, type[ServiceError]] = {
    "TOPIC_ALREADY_EXISTS": errors.TopicExists,
    "UNKNOWN_TOPIC_OR_PART": errors.UnknownTopicOrPartition,
    "REQUEST_TIMED_OUT": errors.KafkaTimeout,
    "TIMED_OUT": errors.KafkaTimeout,
    "TRANSPORT": errors.ClusterConnectivity,
    "ALL_BROKERS_DOWN": errors.ClusterConnectivity,
    "NOT_CONTROLLER": errors.NotController,
    "REASSIGNMENT_IN_PROGRESS": errors.ReassignmentInProgress,
    "GROUP_SUBSCRIBED_TO_TOPIC": errors.GroupSubscribedToTopic,
}


def _admin(call: Call) -> tuple[ClusterRecord, TopicAdmin]:
    record = cluster_of(call)
    if record.provisioned is None:
        raise BadRequest("This operation cannot be performed on serverless clusters.", "clusterArn")
    if record.state is not ClusterState.ACTIVE:
        raise BadRequest(
            f"The cluster is in the {record.state} state. Wait until it is ACTIVE, then try again.", "clusterArn"
        )
    version = record.provisioned["currentBrokerSoftwareInfo"]["kafkaVersion"]
    if kafka_versions.numbers(version) < SINCE[: len(kafka_versions.numbers(version))]:
        raise BadRequest(
            f"Topic operations need Kafka version 3.6.0 or later; the cluster has {version}.", "clusterArn"
        )
    try:
        return record, call.service.clusters.topics(record)
    except OSError as error:
        raise ClusterConnectivity(str(error)) from error


def _failed(error: TopicFailed) -> ServiceError:
    return _ERRORS.get(error.name, KafkaRequest)(f"{error.name}: {error}")


def _arn(record: ClusterRecord, name: str) -> str:
    return str(parse(record.arn, parameter="clusterArn").kin("topic", name))


def _answer(record: ClusterRecord, name: str, status: str) -> Mapping[str, Any]:
    return {"topicArn": _arn(record, name), "topicName": name, "status": status}


def _configs(call: Call) -> dict[str, str]:
    text = call.input.get("configs", "")
    try:
        if len(text) > MAX_CONFIGS:
            raise ValueError
        return parse_properties(base64.b64decode(text, validate=True).decode("utf-8"))
    except (binascii.Error, ValueError):
        raise BadRequest("The topic configurations must be name=value lines encoded as base64.", "configs") from None


async def _found(admin: TopicAdmin, name: str) -> tuple[TopicInfo, dict[str, str]]:
    try:
        found = await admin.describe(name)
    except TopicFailed as error:
        raise _failed(error) from error
    if found is None:
        raise NotFound(f"The topic {name} doesn't exist.", "topicName")
    return found


@operation("CreateTopic")
async def create_topic(call: Call) -> Mapping[str, Any]:
    """A topic with its partitions and settings."""
    record, admin = _admin(call)
    name = call.input["topicName"]
    try:
        await admin.create(name, call.input["partitionCount"], call.input["replicationFactor"], _configs(call))
    except TopicFailed as error:
        raise _failed(error) from error
    return _answer(record, name, "CREATING")


@operation("UpdateTopic")
async def update_topic(call: Call) -> Mapping[str, Any]:
    """More partitions, other settings; what isn't named stays."""
    record, admin = _admin(call)
    name, configs, partitions = call.input["topicName"], _configs(call), call.input.get("partitionCount")
    if not configs and partitions is None:
        raise BadRequest("The request does not include any updates to the topic.")
    found, _ = await _found(admin, name)
    try:
        if partitions is not None and partitions != len(found.partitions):
            await admin.grow(name, partitions)
        if configs:
            await admin.configure(name, configs)
    except TopicFailed as error:
        raise _failed(error) from error
    return _answer(record, name, "UPDATING")


@operation("DeleteTopic")
async def delete_topic(call: Call) -> Mapping[str, Any]:
    """A topic and its records."""
    record, admin = _admin(call)
    name = call.input["topicName"]
    try:
        await admin.delete(name)
    except TopicFailed as error:
        raise _failed(error) from error
    return _answer(record, name, "DELETING")


@operation("DescribeTopic")
async def describe_topic(call: Call) -> Mapping[str, Any]:
    """A topic and its own settings."""
    record, admin = _admin(call)
    name = call.input["topicName"]
    found, configs = await _found(admin, name)
    text = "\n".join(f"{key}={value}" for key, value in sorted(configs.items()))
    return {
        **_answer(record, name, "ACTIVE"),
        "replicationFactor": found.replication_factor,
        "partitionCount": len(found.partitions),
        "configs": base64.b64encode(text.encode()).decode(),
    }


@operation("DescribeTopicPartitions")
async def describe_topic_partitions(call: Call) -> Mapping[str, Any]:
    """Leaders and replicas."""
    _, admin = _admin(call)
    found, _ = await _found(admin, call.input["topicName"])
    shown, token = page(call, found.partitions, lambda one: f"{one.index:09}")
    partitions = [
        {"partition": one.index, "leader": one.leader, "replicas": list(one.replicas), "isr": list(one.isr)}
        for one in shown
    ]
    return {"partitions": partitions, "nextToken": token}


@operation("ListTopics")
async def list_topics(call: Call) -> Mapping[str, Any]:
    """Topics whose name begins with the filter, without Kafka's internal ones."""
    record, admin = _admin(call)
    prefix = call.input.get("topicNameFilter", "")
    try:
        topics = await admin.list()
    except TopicFailed as error:
        raise _failed(error) from error
    wanted = [topic for topic in topics if topic.name.startswith(prefix) and topic.name not in INTERNAL]
    shown, token = page(call, wanted, lambda topic: topic.name)
    listed = [
        {
            "topicArn": _arn(record, topic.name),
            "topicName": topic.name,
            "replicationFactor": topic.replication_factor,
            "partitionCount": len(topic.partitions),
            "outOfSyncReplicaCount": sum(len(set(one.replicas) - set(one.isr)) for one in topic.partitions),
        }
        for topic in shown
    ]
    return {"topics": listed, "nextToken": token}
