"""AlterUserScramCredentials (51), v0: make, change and remove SCRAM credentials (KIP-554).

A user whose name is that of a principal of IAM (`arn:…`) can't have any. A user's changes are made together or not at
all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import kio.schema.alter_user_scram_credentials
from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.node import RequestContext
from broker.registry import api, build
from broker.security.credentials import ScramKeys
from broker.security.resources import Operation, ResourceType
from broker.security.sasl import is_user_name
from broker.security.scram_store import MAX_CREDENTIALS, MAX_ITERATIONS, MECHANISMS, MIN_ITERATIONS, keys_of

Key = tuple[str, int]


@api(schema=kio.schema.alter_user_scram_credentials, versions=range(1), asks={ResourceType.CLUSTER})
async def alter_user_scram_credentials(ctx: RequestContext, request: Any) -> Any:
    """Needs Alter on the cluster."""
    problems: dict[str, KafkaError] = {}
    if not ctx.access.allows(Operation.ALTER, ResourceType.CLUSTER):
        refused = KafkaError(ErrorCode.cluster_authorization_failed, "Cluster authorization failed.")
        everybody = (*request.deletions, *request.upsertions)
        return build(ctx, results=list(_results(request, {item.name: refused for item in everybody})))
    seen: set[str] = set()
    deletions: list[Key] = []
    upserts: dict[Key, ScramKeys] = {}
    for item in (*request.deletions, *request.upsertions):
        try:
            key = _checked(item, seen)
            if hasattr(item, "iterations"):
                upserts[key] = _keys(ctx, item)
            elif key not in ctx.cluster.scram:
                raise KafkaError(
                    ErrorCode.resource_not_found, "Attempt to delete a user credential that does not exist"
                )
            else:
                deletions.append(key)
        except KafkaError as error:
            problems[item.name] = error
    upserts = {key: keys for key, keys in upserts.items() if key[0] not in problems}
    deletions = [key for key in deletions if key[0] not in problems]
    if upserts or deletions:
        ctx.cluster.scram.change(upserts, deletions)
    return build(ctx, results=list(_results(request, problems)))


def _checked(item: Any, seen: set[str]) -> Key:
    if item.name in seen:  # for another mechanism, too
        raise KafkaError(ErrorCode.duplicate_resource, "A user credential cannot be altered twice in the same request")
    seen.add(item.name)
    if not item.name:
        raise KafkaError(ErrorCode.unacceptable_credential, "Username must not be empty")
    if not is_user_name(item.name):
        raise KafkaError(ErrorCode.unacceptable_credential, "This can't be the name of a user")
    if item.mechanism not in MECHANISMS:
        raise KafkaError(ErrorCode.unsupported_sasl_mechanism, "Unknown SCRAM mechanism")
    return item.name, int(item.mechanism)


def _keys(ctx: RequestContext, item: Any) -> ScramKeys:
    if item.iterations < MIN_ITERATIONS:
        raise KafkaError(ErrorCode.unacceptable_credential, "Too few iterations")
    if item.iterations > MAX_ITERATIONS:
        raise KafkaError(ErrorCode.unacceptable_credential, "Too many iterations")
    if len(ctx.cluster.scram) >= MAX_CREDENTIALS:
        raise KafkaError(ErrorCode.policy_violation, f"There are {MAX_CREDENTIALS} credentials already")
    return keys_of(int(item.mechanism), bytes(item.salt), bytes(item.salted_password), int(item.iterations))


def _results(request: Any, problems: dict[str, KafkaError]) -> Iterator[dict[str, Any]]:
    for user in dict.fromkeys(item.name for item in (*request.deletions, *request.upsertions)):
        problem = problems.get(user)
        yield {
            "user": user,
            "error_code": problem.code if problem is not None else ErrorCode.none,
            "error_message": problem.message if problem is not None else None,
        }
