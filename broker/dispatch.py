"""From a request frame to the frame that answers it: header, version, authentication, faults, handler."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kio.index import load_request_schema
from kio.schema.errors import ErrorCode

from broker import protocol
from broker.decoder import decode_request
from broker.error_response import error_response
from broker.errors import CloseConnection, KafkaError
from broker.faults import Action
from broker.node import ConnectionState, RequestContext
from broker.registry import APIS, Api, build
from broker.security.access import EVERYTHING, access_of

if TYPE_CHECKING:
    from broker.node import Node

log = logging.getLogger(__name__)

Parts = list[bytes | bytearray | memoryview]
TOPICWISE = frozenset({"Produce", "Fetch"})  # these ask for topic faults themselves, partition by partition


async def dispatch(node: Node, connection: ConnectionState, frame: bytes) -> Parts | None:
    """Serve one request. None means that nothing is to be sent (acks=0).

    Raises CloseConnection for what Kafka answers by closing: unknown APIs and versions, broken bytes, an API that is
    not allowed before authentication, an expired session, or a fault that says so.
    """
    key, version = protocol.peek_api(frame)
    api = APIS.get(key)
    if api is None:
        raise CloseConnection(f"API key {key} is not served")
    if version not in api.versions:
        if key == protocol.API_VERSIONS_KEY:
            return _unsupported_api_versions(node, connection, frame)
        raise CloseConnection(f"{api.name} v{version} is not served")
    _check_session(node, connection, api)
    clock = node.cluster.clock
    began = clock.monotonic()
    try:
        header = protocol.read_header(frame, protocol.request_is_flexible(key, version))
        connection.client_id = header.client_id
        access = access_of(node.cluster.authorizer, connection.principal, connection.client_host, api.name)
        ctx = RequestContext(
            node.cluster, node, connection, key, version, header.correlation_id, header.client_id, access
        )
        request = _decode(api, frame, header)
        response = await _serve(ctx, api, request)
        if response is None:
            return None
        return protocol.response_parts(key, version, header.correlation_id, response)
    finally:
        node.counts.served(api.name, len(frame), clock.monotonic() - began)


def _check_session(node: Node, connection: ConnectionState, api: Api) -> None:
    if api.before_authentication:
        return
    if not connection.authenticated:
        raise CloseConnection(f"{api.name} before authentication")
    if connection.session_expires_at is not None and node.cluster.clock.monotonic() > connection.session_expires_at:
        raise CloseConnection("the session has expired and wasn't renewed")


def _decode(api: Api, frame: bytes, header: protocol.RequestHeader) -> Any:
    if api.decode is not None:
        return api.decode(frame, header.body_offset, header.api_version)
    request_type = load_request_schema(header.api_key, header.api_version)
    return decode_request(request_type, frame, header.body_offset)


async def _serve(ctx: RequestContext, api: Api, request: Any) -> Any:
    faults = ctx.cluster.faults
    if faults.active:
        topics = [] if api.name in TOPICWISE else list(topics_of(request))

        def struck(action: Action) -> Any:
            names = topics if api.name not in TOPICWISE else topics_of_raw(ctx, request)
            return faults.strike(action, api.name, node=ctx.node.node_id, client_id=ctx.client_id, topics=names)

        if delay := struck(Action.DELAY):
            await asyncio.sleep(delay.seconds)
        if struck(Action.DROP):
            raise CloseConnection(f"fault: {api.name} dropped")
        if api.name not in TOPICWISE and (broken := struck(Action.FAIL)):
            return error_response(ctx, request, broken.error)
        drop_response = struck(Action.DROP_RESPONSE)
        response = await _call(ctx, api, request)
        if drop_response:
            raise CloseConnection(f"fault: answer to {api.name} dropped")
        return response
    return await _call(ctx, api, request)


async def _call(ctx: RequestContext, api: Api, request: Any) -> Any:
    try:
        if api.asks is None and ctx.access is not EVERYTHING:
            raise KafkaError(ErrorCode.cluster_authorization_failed, f"{api.name} doesn't authorize what it does")
        return await api.handler(ctx, request)
    except KafkaError as error:
        return error_response(ctx, request, error.code)
    except (CloseConnection, asyncio.CancelledError):
        raise
    except Exception as error:
        log.exception("%s v%d failed", api.name, ctx.api_version)
        ctx.cluster.internal_errors += 1
        try:
            return error_response(ctx, request, ErrorCode.unknown_server_error)
        except Exception:  # noqa: BLE001 - the schema has no room for an error
            raise CloseConnection(f"{api.name} failed: {error!r}") from error


def topics_of(request: Any) -> Iterator[str]:
    """The topic names in a request, wherever its schema keeps them."""
    for name in ("topics", "topic_names", "topic_data", "topics_data", "resources"):
        for item in getattr(request, name, None) or ():
            if isinstance(item, str):
                yield item
                continue
            topic = getattr(item, "name", None) or getattr(item, "topic", None) or getattr(item, "resource_name", None)
            if isinstance(topic, str):
                yield topic
    for group in getattr(request, "groups", None) or ():
        if not isinstance(group, str):
            yield from topics_of(group)


def topics_of_raw(ctx: RequestContext, request: Any) -> Iterator[str]:
    """The topic names in a Produce or Fetch request, topic ids resolved."""
    for item in request.topics:
        topic_id = getattr(item, "topic_id", None)
        if topic_id is not None:
            topic = ctx.cluster.topics.by_id(topic_id)
            if topic is not None:
                yield topic.name
        else:
            yield getattr(item, "name", None) or item.topic


def _unsupported_api_versions(node: Node, connection: ConnectionState, frame: bytes) -> Parts:
    # KIP-511: whoever asks in a version we don't know gets v0 with the ranges, and asks again.
    header = protocol.read_header(frame, flexible=False)
    ctx = RequestContext(
        node.cluster,
        node,
        connection,
        protocol.API_VERSIONS_KEY,
        0,
        header.correlation_id,
        header.client_id,
        EVERYTHING,
    )
    ranges = [
        {"api_key": api.key, "min_version": api.versions[0], "max_version": api.versions[-1]}
        for api in APIS.values()
        if api.key == protocol.API_VERSIONS_KEY
    ]
    response = build(ctx, error_code=ErrorCode.unsupported_version, api_keys=ranges)
    return protocol.response_parts(protocol.API_VERSIONS_KEY, 0, header.correlation_id, response)
