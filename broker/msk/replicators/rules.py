"""What a replicator's request must be like, beyond its shape, and what is filled in where nothing was said.

Messages are the service's where they are known: from github badmintoncryer/cdk-preflight, and from issues of
terraform-provider-aws. Counts and lengths: schema of AWS::MSK::Replicator.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from broker.msk.arns import parse
from broker.msk.errors import BadRequest
from broker.msk.replicators.records import reference_of

MAX_TOPICS, MAX_GROUPS = 100, 100
MIN_SUBNETS, MAX_SUBNETS = 2, 3
MAX_SECURITY_GROUPS = 16
_SUBNET = re.compile(r"subnet-[0-9a-zA-Z-]{1,64}")
_SECURITY_GROUP = re.compile(r"sg-[0-9a-zA-Z-]{1,64}")
_EXTERNAL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BROKER = re.compile(r"[A-Za-z0-9.-]{1,255}:[1-9]\d{0,4}")
_SECRET = re.compile(r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:[A-Za-z0-9/_+=.@-]{1,512}")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):role/[A-Za-z0-9+=,.@_/-]{1,576}")
_DESTINATIONS = {"cloudWatchLogs": "logGroup", "firehose": "deliveryStream", "s3": "bucket"}


def check_clusters(clusters: Sequence[Mapping[str, Any]]) -> None:
    """Two different clusters, each of one kind, with networks within bounds. Raises BadRequest."""
    if len(clusters) != 2:
        raise BadRequest("Exactly two Kafka clusters must be specified: a source and a target.", "kafkaClusters")
    for cluster in clusters:
        _check_cluster(cluster)
    references = [reference_of(dict(cluster)) for cluster in clusters]
    if references[0] == references[1]:
        raise BadRequest("Kafka cluster list contains duplicate cluster ARNs", "kafkaClusters")
    if all("apacheKafkaCluster" in cluster for cluster in clusters):
        raise BadRequest("At least one of the Kafka clusters must be an Amazon MSK cluster.", "kafkaClusters")


def _check_cluster(cluster: Mapping[str, Any]) -> None:
    msk, apache = cluster.get("amazonMskCluster"), cluster.get("apacheKafkaCluster")
    if msk is not None and apache is not None:
        raise BadRequest(
            "Cannot specify both AmazonMskCluster and ApacheKafkaCluster in a kafkaCluster object", "kafkaClusters"
        )
    if msk is None and apache is None:
        raise BadRequest(
            "Specify either AmazonMskCluster or ApacheKafkaCluster in a kafkaCluster object", "kafkaClusters"
        )
    if msk is not None:
        parse(msk["mskClusterArn"], "cluster", parameter="kafkaClusters.amazonMskCluster.mskClusterArn")
        if cluster.get("vpcConfig") is None:
            raise BadRequest("Amazon MSK clusters require a VPC configuration.", "kafkaClusters.vpcConfig")
        if cluster.get("clientAuthentication"):
            raise BadRequest(
                "The clientAuthentication parameter is only supported for Apache Kafka clusters.",
                "kafkaClusters.clientAuthentication",
            )
    else:
        _check_apache(cluster)
    if cluster.get("vpcConfig") is not None:
        _check_vpc(cluster["vpcConfig"])


def _check_apache(cluster: Mapping[str, Any]) -> None:
    apache, authentication = cluster["apacheKafkaCluster"], cluster.get("clientAuthentication")
    if not _EXTERNAL_ID.fullmatch(apache["apacheKafkaClusterId"]):
        raise BadRequest("The Apache Kafka cluster id isn't valid.", "kafkaClusters.apacheKafkaClusterId")
    brokers = apache["bootstrapBrokerString"].split(",")
    if len(brokers) > 100 or not all(_BROKER.fullmatch(broker.strip()) for broker in brokers):
        raise BadRequest("The bootstrap broker string isn't valid: host:port,…", "kafkaClusters.bootstrapBrokerString")
    if not authentication:
        raise BadRequest(
            "Apache Kafka clusters require authentication configuration. Specify the clientAuthentication parameter.",
            "kafkaClusters.clientAuthentication",
        )
    if len(authentication) > 1:
        raise BadRequest(
            "Specify only one of saslScram, mTLS and saslOAuthBearer.", "kafkaClusters.clientAuthentication"
        )
    where = "kafkaClusters.clientAuthentication"
    for name in ("saslScram", "mTLS"):
        if name in authentication and not _SECRET.fullmatch(authentication[name]["secretArn"]):
            raise BadRequest("The provided secret arn is not valid.", f"{where}.{name}.secretArn")
    if "saslOAuthBearer" in authentication:
        _check_oauth(authentication["saslOAuthBearer"], f"{where}.saslOAuthBearer")


def _check_oauth(given: Mapping[str, Any], where: str) -> None:
    grants = [name for name in ("clientCredentials", "iamJwtBearer", "clientCredentialsAssertion") if name in given]
    if len(grants) != 1:
        raise BadRequest(
            "Specify exactly one of clientCredentials, iamJwtBearer and clientCredentialsAssertion.", where
        )
    if not given["tokenEndpointUrl"].startswith("https://"):
        raise BadRequest("The token endpoint must be an https URL.", f"{where}.tokenEndpointUrl")
    if grants != ["clientCredentials"]:
        raise BadRequest(
            f"{grants[0]} isn't there in the local stand-in: use clientCredentials.", f"{where}.{grants[0]}"
        )
    if not _SECRET.fullmatch(given["clientCredentials"]["tokenRequestSecretArn"]):
        raise BadRequest("The provided secret arn is not valid.", f"{where}.clientCredentials.tokenRequestSecretArn")


def _check_vpc(vpc: Mapping[str, Any]) -> None:
    subnets, groups = vpc["subnetIds"], vpc.get("securityGroupIds", [])
    if not MIN_SUBNETS <= len(subnets) <= MAX_SUBNETS:
        raise BadRequest("Specify two or three subnets in a VPC configuration.", "kafkaClusters.vpcConfig.subnetIds")
    if len(set(subnets)) != len(subnets):
        raise BadRequest("The subnets of a VPC configuration must differ.", "kafkaClusters.vpcConfig.subnetIds")
    if len(groups) > MAX_SECURITY_GROUPS:
        raise BadRequest(
            f"Specify at most {MAX_SECURITY_GROUPS} security groups.", "kafkaClusters.vpcConfig.securityGroupIds"
        )
    for ids, pattern, name in ((subnets, _SUBNET, "subnetIds"), (groups, _SECURITY_GROUP, "securityGroupIds")):
        for one in ids:
            if not pattern.fullmatch(one):
                raise BadRequest(f"{one[:80]!r} isn't valid.", f"kafkaClusters.vpcConfig.{name}")


def check_pair(info: Mapping[str, Any], references: Sequence[str]) -> tuple[str, str]:
    """Source and target as `references` names them. Raises BadRequest."""
    sides = []
    for side in ("source", "target"):
        arn, id = info.get(f"{side}KafkaClusterArn"), info.get(f"{side}KafkaClusterId")
        if arn is not None and id is not None:
            raise BadRequest(
                f"Cannot specify both {side}KafkaClusterArn and {side}KafkaClusterId", "replicationInfoList"
            )
        if arn is None and id is None:
            raise BadRequest(f"Specify {side}KafkaClusterArn or {side}KafkaClusterId", "replicationInfoList")
        sides.append(str(arn if arn is not None else id))
    if sides[0] == sides[1]:
        raise BadRequest("Source and target Kafka cluster must be different", "replicationInfoList")
    if set(sides) != set(references):
        raise BadRequest("Source and target Kafka cluster ARNs must be present in kafkaClusters", "replicationInfoList")
    return sides[0], sides[1]


def check_role(role: str, account: str) -> None:
    """The service execution role's ARN: one of the caller's account. Raises BadRequest."""
    match = _ROLE.fullmatch(role)
    if match is None:
        raise BadRequest("The service execution role ARN isn't valid.", "serviceExecutionRoleArn")
    if match[1] != account:
        raise BadRequest("Cross-account pass role is not allowed.", "serviceExecutionRoleArn")


def topics_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """topicReplication with its defaults. Raises BadRequest."""
    patterns(given["topicsToReplicate"], "topicsToReplicate", 1, MAX_TOPICS, "topicReplication")
    patterns(given.get("topicsToExclude", []), "topicsToExclude", 0, MAX_TOPICS, "topicReplication")
    defaults: dict[str, Any] = {
        "topicsToExclude": [],
        "copyAccessControlListsForTopics": True,
        "copyTopicConfigurations": True,
        "detectAndCopyNewTopics": True,
    }
    position = (given.get("startingPosition") or {}).get("type", "LATEST")
    naming = (given.get("topicNameConfiguration") or {}).get("type", "PREFIXED_WITH_SOURCE_CLUSTER_ALIAS")
    named = {"startingPosition": {"type": position}, "topicNameConfiguration": {"type": naming}}
    return defaults | dict(given) | named


def groups_of(given: Mapping[str, Any], topics: Mapping[str, Any]) -> dict[str, Any]:
    """consumerGroupReplication with its defaults. Raises BadRequest."""
    where = "consumerGroupReplication"
    patterns(given["consumerGroupsToReplicate"], "consumerGroupsToReplicate", 0, MAX_GROUPS, where)
    patterns(given.get("consumerGroupsToExclude", []), "consumerGroupsToExclude", 0, MAX_GROUPS, where)
    mode = given.get("consumerGroupOffsetSyncMode", "LEGACY")
    if mode == "ENHANCED" and topics["topicNameConfiguration"]["type"] != "IDENTICAL":
        raise BadRequest(
            "The consumerGroupOffsetSyncMode value ENHANCED is only supported when topicNameConfiguration type is "
            "IDENTICAL",
            f"{where}.consumerGroupOffsetSyncMode",
        )
    defaults: dict[str, Any] = {
        "consumerGroupsToExclude": [],
        "detectAndCopyNewConsumerGroups": True,
        "synchroniseConsumerGroupOffsets": True,
    }
    return defaults | dict(given) | {"consumerGroupOffsetSyncMode": mode}


def patterns(given: Sequence[str], name: str, least: int, most: int, block: str) -> None:
    """Regular expressions, so many of them. Their lengths are in the service model. Raises BadRequest."""
    where = f"replicationInfoList.{block}.{name}"
    if not least <= len(given) <= most:
        raise BadRequest(f"{name} must have between {least} and {most} items.", where)
    for pattern in given:
        if not pattern:
            raise BadRequest(f"{name} contains an empty pattern.", where)
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise BadRequest(f"{name} contains an invalid regular expression {pattern!r}: {error}", where) from None


def check_log_delivery(given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Each destination that is on must be named. Raises BadRequest."""
    for name, member in _DESTINATIONS.items():
        destination = ((given or {}).get("replicatorLogDelivery") or {}).get(name) or {}
        if destination.get("enabled") and not destination.get(member):
            raise BadRequest(
                f"{member} must be specified when {name} is enabled.", f"logDelivery.replicatorLogDelivery.{name}"
            )
    return dict(given) if given else None
