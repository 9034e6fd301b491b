"""What an update changes of a cluster: the members of MutableClusterInfo, read from and put into a record.

An update is its target alone, so that one which was cut off by a restart of the control plane is simply done again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.msk.records import ClusterRecord

_PLAIN = (
    "numberOfBrokerNodes",
    "enhancedMonitoring",
    "loggingInfo",
    "clientAuthentication",
    "storageMode",
    "rebalancing",
)


def read(record: ClusterRecord, *members: str) -> dict[str, Any]:
    """The named members of MutableClusterInfo as they are now; those that aren't set are left out."""
    settings = record.provisioned or {}
    group = settings.get("brokerNodeGroupInfo", {})
    software = settings.get("currentBrokerSoftwareInfo", {})
    all_members: dict[str, Any] = {name: settings.get(name) for name in _PLAIN}
    configuration = None
    if "configurationArn" in software:
        configuration = {"arn": software["configurationArn"], "revision": software["configurationRevision"]}
    ebs = (group.get("storageInfo") or {}).get("ebsStorageInfo") or {}
    volumes = {"kafkaBrokerNodeId": "All", "volumeSizeGB": ebs.get("volumeSize")}
    if ebs.get("provisionedThroughput"):
        volumes["provisionedThroughput"] = ebs["provisionedThroughput"]
    all_members |= {
        "kafkaVersion": software.get("kafkaVersion"),
        "configurationInfo": configuration,
        "instanceType": group.get("instanceType"),
        "connectivityInfo": group.get("connectivityInfo"),
        "encryptionInfo": settings.get("encryptionInfo"),
        "openMonitoring": settings.get("openMonitoring"),
        "brokerEBSVolumeInfo": [volumes] if ebs else None,
    }
    return {name: all_members[name] for name in members if all_members.get(name) is not None}


def apply(record: ClusterRecord, target: Mapping[str, Any]) -> ClusterRecord:
    """The record with an update done. Doing it twice is the same as once. `numberOfBrokerNodes` doesn't make nodes."""
    settings = dict(record.provisioned or {})
    group = dict(settings.get("brokerNodeGroupInfo", {}))
    software = dict(settings.get("currentBrokerSoftwareInfo", {}))
    for name in (*_PLAIN, "encryptionInfo", "openMonitoring"):
        if name in target:
            settings[name] = target[name]
    if "kafkaVersion" in target:
        software["kafkaVersion"] = target["kafkaVersion"]
    if "configurationInfo" in target:
        software["configurationArn"] = target["configurationInfo"]["arn"]
        software["configurationRevision"] = target["configurationInfo"]["revision"]
    for name in ("instanceType", "connectivityInfo"):
        if name in target:
            group[name] = target[name]
    for volume in target.get("brokerEBSVolumeInfo", ()):
        storage = dict(group.get("storageInfo") or {})
        ebs = dict(storage.get("ebsStorageInfo") or {})
        if volume.get("volumeSizeGB") is not None:
            ebs["volumeSize"] = volume["volumeSizeGB"]
        if volume.get("provisionedThroughput") is not None:
            ebs["provisionedThroughput"] = volume["provisionedThroughput"]
        group["storageInfo"] = storage | {"ebsStorageInfo": ebs}
    settings |= {"brokerNodeGroupInfo": group, "currentBrokerSoftwareInfo": software}
    return record.model_copy(update={"provisioned": settings})


def merged(present: Any, change: Any) -> Any:
    """A nested setting with a change put in: what the change doesn't name stays."""
    if isinstance(present, Mapping) and isinstance(change, Mapping):
        return {**present, **{name: merged(present.get(name), value) for name, value in change.items()}}
    return change
