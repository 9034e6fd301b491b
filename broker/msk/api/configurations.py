"""Configurations and their revisions: made, updated, deleted, described, listed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from broker.msk import identifiers, kafka_versions
from broker.msk.arns import Arn, parse, partition_of
from broker.msk.errors import BadRequest, Conflict, NotFound
from broker.msk.pages import page
from broker.msk.properties import check_properties
from broker.msk.records import ConfigurationRecord, RevisionRecord
from broker.msk.registry import Call, operation

_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,}")
MAX_NAME = 64
MAX_REVISIONS = 50
UNKNOWN = "Configuration ARN does not exist."


def _find(call: Call) -> ConfigurationRecord:
    parse(call.input["arn"], "configuration", parameter="arn")
    for record in call.service.configurations:
        if record.arn == call.input["arn"] and record.region == call.region:
            return record
    raise BadRequest(UNKNOWN, "arn")  # the service says BadRequest, and Terraform relies on it


@operation("CreateConfiguration")
async def create_configuration(call: Call) -> Mapping[str, Any]:
    """A configuration with its first revision."""
    name, versions = call.input["name"], call.input.get("kafkaVersions", [])
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        raise BadRequest("The parameter value contains one or more characters that are not valid.", "name")
    for version in versions:
        if version not in kafka_versions.STATUS:
            raise BadRequest(
                f"Unsupported KafkaVersion [{version}]. Valid values: [{', '.join(kafka_versions.ACTIVE)}]",
                "kafkaVersions",
            )
    mine = (
        one for one in call.service.configurations if (one.region, one.account) == (call.region, call.caller.account)
    )
    if any(record.name == name for record in mine):
        raise Conflict("A resource with this name already exists.", "name")
    properties = check_properties(call.input["serverProperties"])
    key = identifiers.key(call.service.entropy)
    description = call.input.get("description", "")
    record = ConfigurationRecord(
        key=key,
        arn=str(Arn(partition_of(call.region), call.region, call.caller.account, "configuration", f"{name}/{key}")),
        region=call.region,
        account=call.caller.account,
        created=call.now,
        name=name,
        description=description,
        kafka_versions=versions,
        revisions=[RevisionRecord(revision=1, created=call.now, description=description, properties=properties)],
    )
    call.service.configurations.put(key, record)
    described = _described(record)
    return {name: described[name] for name in ("arn", "creationTime", "latestRevision", "name", "state")}


@operation("UpdateConfiguration")
async def update_configuration(call: Call) -> Mapping[str, Any]:
    """A new revision."""
    record = _find(call)
    properties = check_properties(call.input["serverProperties"])
    if len(record.revisions) >= MAX_REVISIONS:
        raise BadRequest(f"A configuration can have at most {MAX_REVISIONS} revisions.", "arn")
    revision = RevisionRecord(
        revision=record.revisions[-1].revision + 1,
        created=call.now,
        description=call.input.get("description", ""),
        properties=properties,
    )
    record = record.model_copy(update={"revisions": [*record.revisions, revision]})
    call.service.configurations.put(record.key, record)
    return {"arn": record.arn, "latestRevision": _revision(revision)}


@operation("DeleteConfiguration")
async def delete_configuration(call: Call) -> Mapping[str, Any]:
    """Refused while a cluster has it."""
    record = _find(call)
    for cluster in call.service.clusters.records:
        software = (cluster.provisioned or {}).get("currentBrokerSoftwareInfo", {})
        if software.get("configurationArn") == record.arn:
            raise BadRequest(
                "Configuration is in use by one or more clusters. Dissociate the configuration from the clusters.",
                "arn",
            )
    call.service.configurations.delete(record.key)
    return {"arn": record.arn, "state": "DELETING"}


@operation("DescribeConfiguration")
async def describe_configuration(call: Call) -> Mapping[str, Any]:
    """A configuration and its latest revision's number."""
    return _described(_find(call))


@operation("DescribeConfigurationRevision")
async def describe_configuration_revision(call: Call) -> Mapping[str, Any]:
    """One revision, with its server.properties."""
    record = _find(call)
    for revision in record.revisions:
        if revision.revision == call.input["revision"]:
            return {
                "arn": record.arn,
                "serverProperties": revision.properties.encode(),
                **_revision(revision),
            }
    raise NotFound("The configuration revision does not exist.", "revision")


@operation("ListConfigurations")
async def list_configurations(call: Call) -> Mapping[str, Any]:
    """All configurations."""
    mine = [
        one for one in call.service.configurations if (one.region, one.account) == (call.region, call.caller.account)
    ]
    shown, token = page(call, mine, lambda record: record.arn)
    return {"configurations": [_described(record) for record in shown], "nextToken": token}


@operation("ListConfigurationRevisions")
async def list_configuration_revisions(call: Call) -> Mapping[str, Any]:
    """All revisions, the oldest first."""
    shown, token = page(call, _find(call).revisions, lambda revision: f"{revision.revision:09}")
    return {"revisions": [_revision(revision) for revision in shown], "nextToken": token}


def _described(record: ConfigurationRecord) -> dict[str, Any]:
    return {
        "arn": record.arn,
        "creationTime": record.created,
        "description": record.description,
        "kafkaVersions": record.kafka_versions,
        "latestRevision": _revision(record.revisions[-1]),
        "name": record.name,
        "state": record.state,
    }


def _revision(revision: RevisionRecord) -> dict[str, Any]:
    return {
        "creationTime": revision.created,
        "description": revision.description,
        "revision": revision.revision,
    }
