"""CreateReplicator, DescribeReplicator, ListReplicators, UpdateReplicationInfo, DeleteReplicator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.msk import identifiers
from broker.msk.arns import parse
from broker.msk.errors import BadRequest, Conflict, NotFound
from broker.msk.pages import page
from broker.msk.registry import Call, operation
from broker.msk.replicators import rules, views
from broker.msk.replicators.fitness import check_fit, check_reachable
from broker.msk.replicators.names import alias, replicator_arn
from broker.msk.replicators.park import STALE
from broker.msk.replicators.records import Pinned, ReplicatorRecord, ReplicatorState, reference_of
from broker.msk.tagged import check_tags

IDENTICAL = (
    "The specified replication info is identical to the current value. Specify a different value, then try again."
)


def _replicator(call: Call) -> ReplicatorRecord:
    arn = call.input["replicatorArn"]
    parse(arn, "replicator", parameter="replicatorArn")
    record = call.service.replicators.find(arn, call.region)
    if record.account != call.caller.account:
        raise NotFound("The replicator doesn't exist.", "replicatorArn")
    return record


def _own(call: Call) -> ReplicatorRecord:
    """One that can be changed here: references are for looking at."""
    record = _replicator(call)
    if record.region != call.region:
        raise BadRequest(f"This is a reference: use region {record.region}, where the replicator is.", "replicatorArn")
    version = call.input.get("currentVersion")
    if version is not None and version != record.version:
        raise BadRequest(STALE, "currentVersion")
    return record


@operation("CreateReplicator")
async def create_replicator(call: Call) -> Mapping[str, Any]:
    """Checks everything, then starts it: RUNNING follows within seconds."""
    given, service = call.input, call.service
    name, clusters, infos = given["replicatorName"], given["kafkaClusters"], given["replicationInfoList"]
    rules.check_clusters(clusters)
    if len(infos) != 1:
        raise BadRequest("Exactly one replication info must be specified.", "replicationInfoList")
    info = infos[0]
    source, target = rules.check_pair(info, [reference_of(cluster) for cluster in clusters])
    topics = rules.topics_of(info["topicReplication"])
    groups = rules.groups_of(info["consumerGroupReplication"], topics)
    rules.check_role(given["serviceExecutionRoleArn"], call.caller.account)
    tags = check_tags(given.get("tags", {}))
    log_delivery = rules.check_log_delivery(given.get("logDelivery"))
    if any(
        (one.name, one.region, one.account) == (name, call.region, call.caller.account)
        for one in service.replicators.records
    ):
        raise Conflict("A resource with this name already exists.", "replicatorName")
    _check_clusters(call, clusters, source, target, topics["topicNameConfiguration"]["type"] == "IDENTICAL")
    service.replicators.roles.check(given["serviceExecutionRoleArn"], call.caller.account)
    key = identifiers.key(service.entropy)
    record = ReplicatorRecord(
        key=key,
        arn=replicator_arn(call.region, call.caller.account, name, key),
        region=call.region,
        account=call.caller.account,
        created=call.now,
        tags=tags,
        name=name,
        description=given.get("description"),
        state=ReplicatorState.CREATING,
        version=identifiers.version(service.entropy),
        role=given["serviceExecutionRoleArn"],
        clusters=[dict(cluster) for cluster in clusters],
        source=source,
        target=target,
        source_alias=alias(source),
        target_alias=alias(target),
        compression=info["targetCompressionType"],
        topics=topics,
        groups=groups,
        log_delivery=log_delivery,
        link=name,
    )
    record = service.replicators.create(record)
    return {"replicatorArn": record.arn, "replicatorName": record.name, "replicatorState": record.state.value}


def _check_clusters(call: Call, clusters: list[dict[str, Any]], source: str, target: str, identical: bool) -> None:
    by_reference = {reference_of(cluster): cluster for cluster in clusters}
    for side, reference in (("source", source), ("target", target)):
        if "apacheKafkaCluster" in by_reference[reference]:
            continue
        arn = parse(reference, "cluster", parameter="kafkaClusters")
        if arn.account != call.caller.account:
            raise BadRequest("Source and target clusters must be in the account of the caller.", "kafkaClusters")
        if side == "target" and arn.region != call.region:
            raise BadRequest(f"The target cluster must be from region {call.region}", "kafkaClusters")
        record = call.service.clusters.find(reference)
        check_fit(record, side, identical=identical)
        if arn.region != call.region:
            check_reachable(record)


@operation("DescribeReplicator")
async def describe_replicator(call: Call) -> Mapping[str, Any]:
    """A replicator, or the reference to one in the region of its source."""
    return views.description(_replicator(call), call.region)


@operation("ListReplicators")
async def list_replicators(call: Call) -> Mapping[str, Any]:
    """Replicators whose name begins with the filter, references among them."""
    prefix = call.input.get("replicatorNameFilter", "")
    records = [
        record
        for record in call.service.replicators.seen_from(call.region)
        if record.account == call.caller.account and record.name.startswith(prefix)
    ]
    shown, token = page(call, records, lambda record: f"{record.created.timestamp():020.6f} {record.arn}")
    return {"replicators": [views.summary(record, call.region) for record in shown], "nextToken": token}


@operation("UpdateReplicationInfo")
async def update_replication_info(call: Call) -> Mapping[str, Any]:
    """Topics and groups, or log delivery. What changes nothing answers as if it had been done; with --strict-msk it is
    refused."""
    record, given = _own(call), call.input
    topics, groups, logs = (given.get(name) for name in ("topicReplication", "consumerGroupReplication", "logDelivery"))
    if topics is None and groups is None and logs is None:
        raise BadRequest("Specify topicReplication, consumerGroupReplication or logDelivery.", "topicReplication")
    if logs is not None and (topics is not None or groups is not None):
        raise BadRequest("Log delivery must be updated in a call of its own.", "logDelivery")
    if logs is None or any(name.endswith(("ClusterArn", "ClusterId")) for name in given):
        sides = rules.check_pair(given, [reference_of(cluster) for cluster in record.clusters])
        if sides != (record.source, record.target):
            raise BadRequest("Source and target Kafka cluster can't be changed.", "sourceKafkaClusterArn")
    if record.state is not ReplicatorState.RUNNING:
        raise BadRequest(
            f"You can't update the replicator while it is in the {record.state} state. Wait until it is RUNNING, then "
            "try again."
        )
    changes: dict[str, Any] = {}
    if topics is not None:
        changes["topics"] = rules.topics_of({**record.topics, **topics})
    if groups is not None:
        changes["groups"] = rules.groups_of({**record.groups, **groups}, record.topics)
    if logs is not None:
        changes["log_delivery"] = rules.check_log_delivery(logs)
    changes = {name: value for name, value in changes.items() if value != getattr(record, name)}
    if not changes and call.service.settings.strict:
        raise BadRequest(IDENTICAL)
    if "log_delivery" in changes:
        record = call.service.replicators.update_logs(record, changes["log_delivery"])
    elif changes:
        pinned = Pinned(
            topics=None if "topics" in changes else record.pinned.topics,
            groups=None if "groups" in changes else record.pinned.groups,
        )
        record = call.service.replicators.update(record, pinned=pinned, **changes)
    return {"replicatorArn": record.arn, "replicatorState": record.state.value}


@operation("DeleteReplicator")
async def delete_replicator(call: Call) -> Mapping[str, Any]:
    """Ends a replicator; what it has copied stays."""
    record = call.service.replicators.delete(_own(call))
    return {"replicatorArn": record.arn, "replicatorState": record.state.value}
