"""What a new cluster must be like, beyond its shape; and what is filled in where nothing was said.

Messages are the service's where they are known from what users were told (issues of terraform-provider-aws, aws-cdk).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from broker.msk import kafka_versions
from broker.msk.clusters.listeners import enabled
from broker.msk.errors import BadRequest
from broker.msk.registry import Call

if TYPE_CHECKING:
    from broker.msk.service import Service

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")
_SUBNET = re.compile(r"subnet-[0-9a-zA-Z-]{1,64}")
_SECURITY_GROUP = re.compile(r"sg-[0-9a-zA-Z-]{1,64}")
INSTANCE_TYPE = re.compile(r"(?:express\.m7g\.[0-9a-z]+|kafka\.(?:t3\.small|m5\.[0-9a-z]+|m7g\.[0-9a-z]+))")
MAX_SECURITY_GROUPS = 5
DEFAULT_VOLUME_GIB = 100
DEFAULT_KEY = "arn:{partition}:kms:{region}:{account}:key/alias/aws/kafka"


def check_provisioned(call: Call, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a provisioned cluster, in the shape Provisioned. Raises BadRequest."""
    _check_name(name)
    version = check_version(given["kafkaVersion"])
    group = _check_group(given["brokerNodeGroupInfo"])
    brokers = given["numberOfBrokerNodes"]
    if brokers % len(group["clientSubnets"]):
        raise BadRequest(
            "The number of broker nodes must be a multiple of Availability Zones in the Subnets parameter.",
            "numberOfBrokerNodes",
        )
    encryption = check_encryption(call, given.get("encryptionInfo") or {})
    authentication = given.get("clientAuthentication")
    check_authentication(authentication, encryption)
    software: dict[str, Any] = {"kafkaVersion": version}
    if given.get("configurationInfo"):
        software |= configuration_info(call.service, given["configurationInfo"], call.region)
    out = {
        "brokerNodeGroupInfo": group,
        "clientAuthentication": authentication or {"unauthenticated": {"enabled": True}},
        "currentBrokerSoftwareInfo": software,
        "encryptionInfo": encryption,
        "enhancedMonitoring": given.get("enhancedMonitoring", "DEFAULT"),
        "numberOfBrokerNodes": brokers,
        "storageMode": check_storage_mode(given.get("storageMode", "LOCAL"), version),
        "openMonitoring": given.get("openMonitoring")
        or {"prometheus": {"jmxExporter": {"enabledInBroker": False}, "nodeExporter": {"enabledInBroker": False}}},
        "loggingInfo": given.get("loggingInfo"),
        "rebalancing": given.get("rebalancing") or ({"status": "ACTIVE"} if express(group["instanceType"]) else None),
    }
    return {member: value for member, value in out.items() if value is not None}


def check_serverless(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a serverless cluster: IAM is its only way in. Raises BadRequest."""
    _check_name(name)
    configs = given["vpcConfigs"]
    if not 1 <= len(configs) <= 5:
        raise BadRequest("Specify one to five VPC configurations.", "vpcConfigs")
    for config in configs:
        if len(config["subnetIds"]) < 2:
            raise BadRequest("Specify at least two subnets in each VPC configuration.", "vpcConfigs.subnetIds")
        _check_ids(config["subnetIds"], _SUBNET, "vpcConfigs.subnetIds")
        _check_ids(config.get("securityGroupIds", []), _SECURITY_GROUP, "vpcConfigs.securityGroupIds")
    authentication = given.get("clientAuthentication") or {"sasl": {"iam": {"enabled": True}}}
    if not enabled(authentication, "sasl", "iam"):
        raise BadRequest("IAM access control must be enabled for serverless clusters.", "clientAuthentication")
    return {"vpcConfigs": configs, "clientAuthentication": authentication, "connectivityInfo": {"networkType": "IPV4"}}


def check_version(version: str) -> str:
    """A Kafka version that clusters may have; those that the service has retired can be had here, too."""
    if version not in kafka_versions.STATUS:
        raise BadRequest(
            f"Unsupported KafkaVersion [{version}]. Valid values: [{', '.join(kafka_versions.ACTIVE)}]", "kafkaVersion"
        )
    return version


def check_instance_type(instance_type: str, parameter: str) -> str:
    """A broker type that MSK has. Raises BadRequest."""
    if not INSTANCE_TYPE.fullmatch(instance_type):
        raise BadRequest(
            f"Unsupported InstanceType [{instance_type}]. "
            "Valid values: [kafka.t3.small, kafka.m5.*, kafka.m7g.*, express.m7g.*]",
            parameter,
        )
    return instance_type


def express(instance_type: str) -> bool:
    """Whether brokers of this type are Express brokers: storage without limits, rebalanced by the service."""
    return instance_type.startswith("express.")


def check_storage_mode(mode: str, version: str) -> str:
    """Raises BadRequest for tiered storage on versions without it."""
    if mode == "TIERED" and not kafka_versions.tiered(version):
        raise BadRequest(f"Tiered storage isn't supported in Kafka version {version}.", "storageMode")
    return mode


def check_encryption(call: Call, given: Mapping[str, Any]) -> dict[str, Any]:
    """The encryption settings with their defaults: TLS between clients and brokers, and among brokers."""
    key = DEFAULT_KEY.format(
        partition="aws-cn" if call.region.startswith("cn-") else "aws", region=call.region, account=call.caller.account
    )
    transit = given.get("encryptionInTransit") or {}
    return {
        "encryptionAtRest": given.get("encryptionAtRest") or {"dataVolumeKMSKeyId": key},
        "encryptionInTransit": {"clientBroker": "TLS", "inCluster": True} | transit,
    }


def check_authentication(given: Mapping[str, Any] | None, encryption: Mapping[str, Any]) -> None:
    """Raises BadRequest for ways in that need TLS where there is none, or for no way in at all."""
    plain_only = encryption["encryptionInTransit"]["clientBroker"] == "PLAINTEXT"
    for path, words in ((("sasl", "iam"), "IAM"), (("sasl", "scram"), "SASL/SCRAM"), (("tls",), "TLS")):
        if plain_only and enabled(given, *path):
            raise BadRequest(
                f"{words} authentication needs encryption in transit: clientBroker must be TLS or TLS_PLAINTEXT.",
                "encryptionInfo.encryptionInTransit.clientBroker",
            )
    if (
        given
        and (given.get("unauthenticated") or {}).get("enabled") is False
        and not any((enabled(given, "sasl", "iam"), enabled(given, "sasl", "scram"), enabled(given, "tls")))
    ):
        raise BadRequest("At least one way of client authentication must be enabled.", "clientAuthentication")


def configuration_info(service: Service, given: Mapping[str, Any], region: str) -> dict[str, Any]:
    """BrokerSoftwareInfo's members for a configuration that is there. Raises BadRequest."""
    for configuration in service.configurations:
        if configuration.arn == given["arn"] and configuration.region == region:
            if any(revision.revision == given["revision"] for revision in configuration.revisions):
                return {"configurationArn": given["arn"], "configurationRevision": given["revision"]}
            raise BadRequest("Configuration revision does not exist.", "configurationInfo.revision")
    raise BadRequest("Configuration ARN does not exist.", "configurationInfo.arn")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise BadRequest("The parameter value contains one or more characters that are not valid.", "clusterName")


def _check_group(given: Mapping[str, Any]) -> dict[str, Any]:
    subnets = given["clientSubnets"]
    if len(subnets) not in (2, 3):
        raise BadRequest("Specify either two or three client subnets.", "brokerNodeGroupInfo.clientSubnets")
    if len(set(subnets)) != len(subnets):
        raise BadRequest(
            "Each client subnet must be in a different Availability Zone.", "brokerNodeGroupInfo.clientSubnets"
        )
    _check_ids(subnets, _SUBNET, "brokerNodeGroupInfo.clientSubnets")
    groups = given.get("securityGroups", ["sg-default"])
    if len(groups) > MAX_SECURITY_GROUPS:
        raise BadRequest(
            f"Specify at most {MAX_SECURITY_GROUPS} security groups.", "brokerNodeGroupInfo.securityGroups"
        )
    _check_ids(groups, _SECURITY_GROUP, "brokerNodeGroupInfo.securityGroups")
    instance_type = check_instance_type(given["instanceType"], "brokerNodeGroupInfo.instanceType")
    connectivity = dict(given.get("connectivityInfo") or {})
    vpc = (connectivity.get("vpcConnectivity") or {}).get("clientAuthentication")
    if any((enabled(vpc, "sasl", "iam"), enabled(vpc, "sasl", "scram"), enabled(vpc, "tls"))):
        raise BadRequest(
            "When creating a cluster, all vpcConnectivity auth schemes must be disabled ('enabled' : false). "
            "You can enable auth schemes after the cluster is created.",
            "vpcConnectivity.clientAuthentication",
        )
    if (connectivity.get("publicAccess") or {}).get("type", "DISABLED") != "DISABLED":
        raise BadRequest("Public access can't be enabled when a cluster is created.", "connectivityInfo.publicAccess")
    if connectivity.get("networkType", "IPV4") != "IPV4":
        raise BadRequest("The network type must be IPV4 when a cluster is created.", "connectivityInfo.networkType")
    connectivity.setdefault("publicAccess", {"type": "DISABLED"})
    connectivity.setdefault("networkType", "IPV4")
    out = {
        **given,
        "brokerAZDistribution": given.get("brokerAZDistribution", "DEFAULT"),
        "securityGroups": groups,
        "connectivityInfo": connectivity,
    }
    if express(instance_type):
        if given.get("storageInfo"):
            raise BadRequest("Storage can't be set for Express brokers.", "brokerNodeGroupInfo.storageInfo")
    else:
        storage = given.get("storageInfo") or {}
        ebs = {"volumeSize": DEFAULT_VOLUME_GIB} | (storage.get("ebsStorageInfo") or {})
        out["storageInfo"] = {"ebsStorageInfo": ebs}
    return out


def _check_ids(ids: list[str], pattern: re.Pattern[str], parameter: str) -> None:
    for one in ids:
        if not pattern.fullmatch(one):
            raise BadRequest("One or more of the parameters are not valid.", parameter)
