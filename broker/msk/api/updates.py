"""Update* of clusters, RebootBroker: each notes a cluster operation, which is carried out beside the call.

An update that changes nothing answers as if it had been done and does nothing; with --strict-msk it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.msk import kafka_versions
from broker.msk.api.clusters import cluster_of
from broker.msk.cluster_rules import (
    check_authentication,
    check_instance_type,
    check_storage_mode,
    check_version,
    configuration_info,
    express,
)
from broker.msk.clusters import mutable
from broker.msk.clusters.listeners import enabled, ways
from broker.msk.errors import BadRequest
from broker.msk.records import ClusterRecord, ClusterState
from broker.msk.registry import Call, operation

MAX_VOLUME_GIB = 16_384
THROUGHPUT_MIN, THROUGHPUT_MAX = 250, 2375  # MiB/s
IDENTICAL = "The specified values are identical to the current values. Specify different values, then try again."


def _current(call: Call) -> ClusterRecord:
    record = cluster_of(call)
    call.service.clusters.check_current(record, call.input["currentVersion"])
    if record.provisioned is None:
        raise BadRequest("This operation cannot be performed on serverless clusters.", "clusterArn")
    return record


def _begin(
    call: Call, record: ClusterRecord, type: str, target: Mapping[str, Any], identical: str = IDENTICAL
) -> Mapping[str, Any]:
    if mutable.read(record, *target) == dict(target):
        if call.service.settings.strict:
            raise BadRequest(identical)
        return _answer(record, call.service.clusters.note_done(call, record, type, target).arn)
    return _answer(record, call.service.clusters.begin(call, record, type, target).arn)


def _answer(record: ClusterRecord, operation_arn: str) -> Mapping[str, Any]:
    return {"clusterArn": record.arn, "clusterOperationArn": operation_arn}


@operation("UpdateBrokerCount")
async def update_broker_count(call: Call) -> Mapping[str, Any]:
    """More brokers, evenly over the zones; fewer when those that go (the newest) hold no partitions."""
    record = _current(call)
    wanted, present = call.input["targetNumberOfBrokerNodes"], len(record.nodes)
    zones = len({node.subnet for node in record.nodes})
    if wanted % zones:
        raise BadRequest(
            "The number of broker nodes must be a multiple of Availability Zones in the Subnets parameter.",
            "targetNumberOfBrokerNodes",
        )
    if wanted < present:
        busy = await call.service.clusters.brokers_with_partitions(record)
        going = {node.id for node in record.nodes[wanted:]}
        if busy & going:
            raise BadRequest(
                f"Brokers {sorted(busy & going)} hold partitions. Move these to other brokers before you "
                "remove the brokers.",
                "targetNumberOfBrokerNodes",
            )
    call.service.clusters.check_quota(record.account, record.region, max(0, wanted - present))
    type = "INCREASE_BROKER_COUNT" if wanted >= present else "DECREASE_BROKER_COUNT"
    target: dict[str, Any] = {"numberOfBrokerNodes": wanted}
    if wanted > present:
        created = [float(number) for number in range(present + 1, wanted + 1)]
        target["brokerCountUpdateInfo"] = {"createdBrokerIds": created}
    elif wanted < present:
        target["brokerCountUpdateInfo"] = {"deletedBrokerIds": [float(node.id) for node in record.nodes[wanted:]]}
    return _begin(call, record, type, target)


@operation("UpdateBrokerStorage")
async def update_broker_storage(call: Call) -> Mapping[str, Any]:
    """Larger volumes, of all brokers alike."""
    record = _current(call)
    volumes = call.input["targetBrokerEBSVolumeInfo"]
    if not volumes:
        raise BadRequest("Specify at least one volume.", "targetBrokerEBSVolumeInfo")
    sizes = {volume.get("volumeSizeGB") for volume in volumes}
    ids = {volume["kafkaBrokerNodeId"] for volume in volumes}
    if len(sizes) > 1 or (ids != {"All"} and ids != {str(node.id) for node in record.nodes}):
        raise BadRequest(
            'Storage is updated for all brokers alike: specify "All" as the kafkaBrokerNodeId.',
            "targetBrokerEBSVolumeInfo",
        )
    _check_volume(record, volumes[0].get("volumeSizeGB"), "targetBrokerEBSVolumeInfo.volumeSizeGB")
    _check_throughput(volumes[0].get("provisionedThroughput"))
    present = mutable.read(record, "brokerEBSVolumeInfo").get("brokerEBSVolumeInfo", [{}])[0]
    target = mutable.merged(present, {**volumes[0], "kafkaBrokerNodeId": "All"})
    return _begin(call, record, "UPDATE_BROKER_STORAGE", {"brokerEBSVolumeInfo": [target]})


@operation("UpdateStorage")
async def update_storage(call: Call) -> Mapping[str, Any]:
    """Storage mode, volume size, throughput."""
    record = _current(call)
    target: dict[str, Any] = {}
    if "storageMode" in call.input:
        present = (record.provisioned or {}).get("storageMode")
        if present == "TIERED" and call.input["storageMode"] == "LOCAL":
            raise BadRequest("You can't change the storage mode from TIERED to LOCAL.", "storageMode")
        version = (record.provisioned or {})["currentBrokerSoftwareInfo"]["kafkaVersion"]
        target["storageMode"] = check_storage_mode(call.input["storageMode"], version)
    volume = {}
    if "volumeSizeGB" in call.input:
        _check_volume(record, call.input["volumeSizeGB"], "volumeSizeGB")
        volume["volumeSizeGB"] = call.input["volumeSizeGB"]
    if "provisionedThroughput" in call.input:
        _check_throughput(call.input["provisionedThroughput"])
        volume["provisionedThroughput"] = call.input["provisionedThroughput"]
    if volume:
        present_volume = mutable.read(record, "brokerEBSVolumeInfo").get("brokerEBSVolumeInfo", [{}])[0]
        target["brokerEBSVolumeInfo"] = [mutable.merged(present_volume, volume)]
    if not target:
        raise BadRequest("The request does not include any updates to the storage of the cluster.")
    return _begin(call, record, "UPDATE_STORAGE", target)


@operation("UpdateBrokerType")
async def update_broker_type(call: Call) -> Mapping[str, Any]:
    """Another broker type; Standard brokers don't become Express brokers."""
    record = _current(call)
    wanted = check_instance_type(call.input["targetInstanceType"], "targetInstanceType")
    present = (record.provisioned or {})["brokerNodeGroupInfo"]["instanceType"]
    if express(wanted) != express(present):
        raise BadRequest("You can't change between Standard and Express broker types.", "targetInstanceType")
    return _begin(call, record, "UPDATE_BROKER_TYPE", {"instanceType": wanted})


@operation("UpdateClusterConfiguration")
async def update_cluster_configuration(call: Call) -> Mapping[str, Any]:
    """Another configuration or revision."""
    record = _current(call)
    configuration_info(call.service, call.input["configurationInfo"], call.region)
    target = {"configurationInfo": call.input["configurationInfo"]}
    return _begin(call, record, "UPDATE_CLUSTER_CONFIGURATION", target)


@operation("UpdateClusterKafkaVersion")
async def update_cluster_kafka_version(call: Call) -> Mapping[str, Any]:
    """A newer Kafka version."""
    record = _current(call)
    wanted = check_version(call.input["targetKafkaVersion"])
    present = (record.provisioned or {})["currentBrokerSoftwareInfo"]["kafkaVersion"]
    if wanted != present and wanted not in kafka_versions.upgrades(present):
        raise BadRequest(
            f"You can't update the cluster from Kafka version {present} to {wanted}. "
            f"Valid values: [{', '.join(kafka_versions.upgrades(present))}]",
            "targetKafkaVersion",
        )
    target: dict[str, Any] = {"kafkaVersion": wanted}
    if "configurationInfo" in call.input:
        configuration_info(call.service, call.input["configurationInfo"], call.region)
        target["configurationInfo"] = call.input["configurationInfo"]
    return _begin(call, record, "UPDATE_CLUSTER_KAFKA_VERSION", target)


@operation("UpdateMonitoring")
async def update_monitoring(call: Call) -> Mapping[str, Any]:
    """Monitoring level, open monitoring, broker logs."""
    record = _current(call)
    names = ("enhancedMonitoring", "openMonitoring", "loggingInfo")
    target = {name: call.input[name] for name in names if name in call.input}
    if not target:
        raise BadRequest("The request does not include any updates to the monitoring of the cluster.")
    return _begin(call, record, "UPDATE_MONITORING", target)


@operation("UpdateSecurity")
async def update_security(call: Call) -> Mapping[str, Any]:
    """Client authentication and encryption between clients and brokers."""
    record = _current(call)
    settings = record.provisioned or {}
    target: dict[str, Any] = {}
    encryption = settings["encryptionInfo"]
    if "encryptionInfo" in call.input:
        given = call.input["encryptionInfo"]
        if "encryptionAtRest" in given and given["encryptionAtRest"] != encryption["encryptionAtRest"]:
            raise BadRequest("Updating encryption-at-rest settings on your cluster is not currently supported.")
        transit = given.get("encryptionInTransit") or {}
        if (
            transit.get("inCluster", encryption["encryptionInTransit"]["inCluster"])
            != encryption["encryptionInTransit"]["inCluster"]
        ):
            raise BadRequest("Updating the inter-broker encryption setting on your cluster is not currently supported.")
        encryption = mutable.merged(encryption, given)
        target["encryptionInfo"] = encryption
    authentication = settings.get("clientAuthentication")
    if "clientAuthentication" in call.input:
        authentication = mutable.merged(authentication, call.input["clientAuthentication"])
        target["clientAuthentication"] = authentication
    if not target:
        raise BadRequest(NO_SECURITY_UPDATE)
    check_authentication(authentication, encryption)
    return _begin(call, record, "UPDATE_SECURITY", target, NO_SECURITY_UPDATE)


NO_SECURITY_UPDATE = (
    "The request does not include any updates to the security setting of the cluster. "
    "Verify the request, then try again."
)


@operation("UpdateConnectivity")
async def update_connectivity(call: Call) -> Mapping[str, Any]:
    """Public access, connections from other VPCs, network type: one of them at a time."""
    record = _current(call)
    given = call.input.get("connectivityInfo") or {}
    if "zookeeperAccess" in call.input and not given:
        return _begin(call, record, "UPDATE_CONNECTIVITY", {"zookeeperAccess": call.input["zookeeperAccess"]})
    present = (record.provisioned or {})["brokerNodeGroupInfo"]["connectivityInfo"]
    wanted = mutable.merged(present, given)
    changed = [
        name for name in ("networkType", "vpcConnectivity", "publicAccess") if wanted.get(name) != present.get(name)
    ]
    if not given:
        raise BadRequest(
            "The request does not include any updates to the connectivity of the cluster.", "connectivityInfo"
        )
    if len(changed) > 1:
        raise BadRequest(
            "You can't update multiple connectivity settings in the same request. Modify your request to update only "
            "NetworkType, VpcConnectivity, or PublicAccess connectivity setting, and try again."
        )
    _check_connectivity(record, present, wanted)
    return _begin(call, record, "UPDATE_CONNECTIVITY", {"connectivityInfo": wanted})


def _check_connectivity(record: ClusterRecord, present: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    on = ways(record)
    public = (wanted.get("publicAccess") or {}).get("type", "DISABLED")
    if public not in ("DISABLED", "SERVICE_PROVIDED_EIPS"):
        raise BadRequest("Valid values: [DISABLED, SERVICE_PROVIDED_EIPS]", "connectivityInfo.publicAccess.type")
    if public != "DISABLED" and on.unauthenticated:
        raise BadRequest("Public access needs unauthenticated access to be disabled.", "connectivityInfo.publicAccess")
    if present.get("networkType") == "DUAL" and wanted.get("networkType") == "IPV4":
        raise BadRequest("You can't change the network type from DUAL to IPV4.", "connectivityInfo.networkType")
    vpc = (wanted.get("vpcConnectivity") or {}).get("clientAuthentication")
    for path, there in ((("sasl", "iam"), on.iam), (("sasl", "scram"), on.scram), (("tls",), on.tls)):
        if enabled(vpc, *path) and not there:
            raise BadRequest(
                f"The authentication scheme {path[-1]} must be enabled on the cluster before it is enabled for "
                "VPC connectivity.",
                "connectivityInfo.vpcConnectivity.clientAuthentication",
            )


@operation("UpdateRebalancing")
async def update_rebalancing(call: Call) -> Mapping[str, Any]:
    """Intelligent rebalancing, of Express brokers."""
    record = _current(call)
    if not express((record.provisioned or {})["brokerNodeGroupInfo"]["instanceType"]):
        raise BadRequest("Intelligent rebalancing is only available for clusters with Express brokers.", "rebalancing")
    return _begin(call, record, "UPDATE_REBALANCING", {"rebalancing": call.input["rebalancing"]})


@operation("RebootBroker")
async def reboot_broker(call: Call) -> Mapping[str, Any]:
    """Stop a broker and start it again; its partitions have other leaders meanwhile."""
    record = cluster_of(call)
    call.service.clusters.check_current(record, None)
    if record.provisioned is None:
        raise BadRequest("This operation cannot be performed on serverless clusters.", "clusterArn")
    ids = call.input["brokerIds"]
    known = {str(node.id) for node in record.nodes}
    if len(ids) != 1 or ids[0] not in known:
        raise BadRequest("Specify the ID of one broker of the cluster: one broker is rebooted at a time.", "brokerIds")
    begun = call.service.clusters.begin(
        call, record, "REBOOT_NODE", {}, state=ClusterState.REBOOTING_BROKER, brokers=[int(ids[0])]
    )
    return _answer(record, begun.arn)


def _check_volume(record: ClusterRecord, wanted: int | None, parameter: str) -> None:
    if wanted is None:
        return
    group = (record.provisioned or {})["brokerNodeGroupInfo"]
    if express(group["instanceType"]):
        raise BadRequest("Storage can't be set for Express brokers.", parameter)
    present = group["storageInfo"]["ebsStorageInfo"]["volumeSize"]
    if not present <= wanted <= MAX_VOLUME_GIB:
        raise BadRequest(
            f"The volume size must be greater than the present one ({present} GiB) and at most {MAX_VOLUME_GIB} GiB.",
            parameter,
        )


def _check_throughput(given: Mapping[str, Any] | None) -> None:
    if given and given.get("enabled") and not THROUGHPUT_MIN <= given.get("volumeThroughput", 0) <= THROUGHPUT_MAX:
        raise BadRequest(
            f"The volume throughput must be {THROUGHPUT_MIN} to {THROUGHPUT_MAX} MiB per second.",
            "provisionedThroughput",
        )
