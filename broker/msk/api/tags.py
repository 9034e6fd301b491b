"""TagResource, UntagResource, ListTagsForResource: of clusters, configurations, VPC connections and replicators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.msk.arns import parse
from broker.msk.errors import NotFound
from broker.msk.registry import Call, operation
from broker.msk.tagged import TagStore, check_tags


def _store(call: Call) -> tuple[str, TagStore, Mapping[str, str]]:
    arn = call.input["resourceArn"]
    parse(arn, parameter="resourceArn")
    for store in call.service.tagged:
        tags = store.tags(arn)
        if tags is not None:
            return arn, store, tags
    raise NotFound("The resource could not be found due to incorrect input. Correct the input, then retry the request.")


async def _tell_brokers(call: Call, arn: str) -> None:
    """A cluster's brokers judge by its tags, too."""
    record = next((one for one in call.service.clusters.records if one.arn == arn), None)
    if record is not None:
        await call.service.clusters.reload(record)


@operation("TagResource")
async def tag_resource(call: Call) -> Mapping[str, Any]:
    """Adds tags, and replaces values of those that are there."""
    arn, store, tags = _store(call)
    store.set_tags(arn, check_tags({**tags, **call.input["tags"]}))
    await _tell_brokers(call, arn)
    return {}


@operation("UntagResource")
async def untag_resource(call: Call) -> Mapping[str, Any]:
    """Removes tags; keys that aren't there are passed over."""
    arn, store, tags = _store(call)
    gone = set(call.input["tagKeys"])
    store.set_tags(arn, {key: value for key, value in tags.items() if key not in gone})
    await _tell_brokers(call, arn)
    return {}


@operation("ListTagsForResource")
async def list_tags(call: Call) -> Mapping[str, Any]:
    """All tags of a resource."""
    return {"tags": dict(_store(call)[2])}
