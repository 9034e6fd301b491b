"""BatchAssociateScramSecret, BatchDisassociateScramSecret, ListScramSecrets: users that log in with SCRAM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.msk.api.clusters import cluster_of
from broker.msk.clusters.listeners import ways
from broker.msk.errors import BadRequest
from broker.msk.pages import page
from broker.msk.records import ClusterRecord
from broker.msk.registry import Call, operation
from broker.msk.secrets_source import InvalidSecret

MAX_IN_CALL = 10
MAX_SECRETS = 1000


def _checked(call: Call) -> tuple[ClusterRecord, list[str]]:
    record = cluster_of(call)
    arns = call.input["secretArnList"]
    if not 1 <= len(arns) <= MAX_IN_CALL:
        raise BadRequest(f"Specify 1 to {MAX_IN_CALL} secrets.", "secretArnList")
    if not ways(record).scram:
        raise BadRequest(
            "The cluster doesn't have SASL/SCRAM authentication enabled. Enable it, then try again.", "clusterArn"
        )
    return record, arns


@operation("BatchAssociateScramSecret")
async def associate(call: Call) -> Mapping[str, Any]:
    """Lets the secrets' users log in; those that can't be used are named, the others are taken."""
    record, arns = _checked(call)
    unprocessed, good = [], []
    for arn in dict.fromkeys(arns):
        try:
            await call.service.secrets.read(arn)
        except InvalidSecret as error:
            unprocessed.append({"errorCode": "InvalidSecretArn", "errorMessage": str(error), "secretArn": arn})
        else:
            good.append(arn)
    record = call.service.clusters.find(record.arn)
    together = list(dict.fromkeys([*record.scram_secrets, *good]))
    if len(together) > MAX_SECRETS:
        raise BadRequest(f"A cluster can have at most {MAX_SECRETS} secrets.", "secretArnList")
    if good:
        await call.service.clusters.reload(call.service.clusters.save(record, scram_secrets=together))
    return {"clusterArn": record.arn, "unprocessedScramSecrets": unprocessed}


@operation("BatchDisassociateScramSecret")
async def disassociate(call: Call) -> Mapping[str, Any]:
    """Takes users away."""
    record, arns = _checked(call)
    unknown = [arn for arn in arns if arn not in record.scram_secrets]
    unprocessed = [
        {
            "errorCode": "InvalidSecretArn",
            "errorMessage": "The provided secret ARN is not associated with the cluster.",
            "secretArn": arn,
        }
        for arn in unknown
    ]
    left = [arn for arn in record.scram_secrets if arn not in arns]
    if left != record.scram_secrets:
        await call.service.clusters.reload(call.service.clusters.save(record, scram_secrets=left))
    return {"clusterArn": record.arn, "unprocessedScramSecrets": unprocessed}


@operation("ListScramSecrets")
async def list_scram_secrets(call: Call) -> Mapping[str, Any]:
    """The secrets' ARNs."""
    shown, token = page(call, cluster_of(call).scram_secrets, str)
    return {"secretArnList": shown, "nextToken": token}
