"""PutClusterPolicy, GetClusterPolicy, DeleteClusterPolicy: who else may use a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.iam.errors import PolicyError
from broker.iam.policy import PolicyDocument
from broker.msk import identifiers
from broker.msk.api.clusters import cluster_of
from broker.msk.errors import BadRequest, NotFound
from broker.msk.registry import Call, operation

MAX_BYTES = 20_480
NONE = "The cluster policy could not be found."


@operation("PutClusterPolicy")
async def put_cluster_policy(call: Call) -> Mapping[str, Any]:
    """Sets the policy; replacing one takes its current version."""
    record = cluster_of(call)
    text = call.input["policy"]
    if len(text.encode()) > MAX_BYTES:
        raise BadRequest(f"The policy is larger than {MAX_BYTES} bytes.", "policy")
    try:
        PolicyDocument.parse(text, kind="resource")
    except PolicyError as error:
        raise BadRequest(f"The policy isn't valid: {error}", "policy") from None
    given = call.input.get("currentVersion")
    if record.policy is not None and not given:
        raise BadRequest("Current cluster policy version needed for Update", "currentVersion")
    if given and given != record.policy_version:
        raise BadRequest(
            "The version of the cluster policy isn't current. Check the current version and try again.",
            "currentVersion",
        )
    version = identifiers.version(call.service.entropy)
    record = call.service.clusters.save(record, policy=text, policy_version=version)
    await call.service.clusters.reload(record)
    return {"currentVersion": version}


@operation("GetClusterPolicy")
async def get_cluster_policy(call: Call) -> Mapping[str, Any]:
    """The policy as it was put."""
    record = cluster_of(call)
    if record.policy is None:
        raise NotFound(NONE, "clusterArn")
    return {"currentVersion": record.policy_version, "policy": record.policy}


@operation("DeleteClusterPolicy")
async def delete_cluster_policy(call: Call) -> Mapping[str, Any]:
    """Takes the policy away."""
    record = cluster_of(call)
    if record.policy is None:
        raise NotFound(NONE, "clusterArn")
    record = call.service.clusters.save(record, policy=None, policy_version=None)
    await call.service.clusters.reload(record)
    return {}
