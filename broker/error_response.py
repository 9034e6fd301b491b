"""An answer that carries one error for everything a request asked, for any API.

Kafka writes such a method by hand for each request class. The shapes are regular enough to derive: a response either
has an error code of its own, or mirrors the request's arrays, whose elements have one.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from kio.index import load_response_schema
from kio.schema.errors import ErrorCode

from broker import protocol
from broker.node import RequestContext
from broker.registry import RawResponse

ARRAYS = {  # response array -> request arrays that it answers, besides the one of the same name
    "responses": ("topics", "topic_data", "topic_names", "resources"),
    "results": ("topics", "resources", "groups_names"),
    "results_by_topic_v3_and_below": ("v3_and_below_topics",),
    "groups": ("groups", "groups_names", "group_ids"),
    "topics": ("topics", "topic_names"),
    "partitions": ("partitions", "partition_indexes"),
    "results_by_partition": ("partitions",),
    "coordinators": ("coordinator_keys",),
    "transaction_states": ("transactional_ids",),
}
SCALARS = {
    "name": ("name", "topic"),
    "topic": ("topic", "name"),
    "partition_index": ("partition_index", "partition"),
    "partition": ("partition", "partition_index"),
    "index": ("index", "partition"),
    "key": ("key",),
    "group_id": ("group_id",),
    "resource_name": ("resource_name",),
    "resource_type": ("resource_type",),
}


def error_response(ctx: RequestContext, request: Any, code: ErrorCode) -> Any:
    """The response to `request` with `code` wherever its schema has room for one.

    Raises KeyError when the schema has none at all (then the caller closes the connection).
    """
    custom = getattr(request, "error_response", None)
    if custom is not None:
        raw: RawResponse = custom(ctx, code)
        return raw
    made_type = load_response_schema(ctx.api_key, ctx.api_version)
    return protocol.entity(made_type, _mirror(made_type, request, code))


def _mirror(made_type: type[Any], asked: Any, code: ErrorCode) -> dict[str, Any]:
    values: dict[str, Any] = {}
    own_code = False
    for field in fields(made_type):
        if field.metadata.get("kafka_type") == "error_code":
            values[field.name] = code
            own_code = True
    for field in fields(made_type):
        inner, _, is_array = protocol.unwrap(field.type)
        if field.name in values or field.name == "error_message":
            continue
        if is_array and is_dataclass(inner):
            nested: type[Any] = inner  # type: ignore[assignment]
            if own_code and field.name not in ("partitions", "topics"):
                continue
            items = _first(asked, ARRAYS.get(field.name, (field.name,)))
            if items is not None and not own_code:
                values[field.name] = [_mirror(nested, item, code) for item in items]
        elif not is_array:
            found = asked if isinstance(asked, str | int) else _first(asked, SCALARS.get(field.name, (field.name,)))
            if found is not None and field.name in (*SCALARS, "topic_id") and not is_dataclass(found):
                values[field.name] = found
    return values


def _first(asked: Any, names: tuple[str, ...]) -> Any:
    for name in names:
        found = getattr(asked, name, None)
        if found is not None:
            return found
    return None
