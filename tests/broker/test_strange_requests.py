"""Well-formed requests with senseless contents, for every API and version: answered or refused, no handler breaks."""

from __future__ import annotations

import asyncio
import io
import logging
import random
import struct
import uuid
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pytest
from kio.index import load_request_schema
from kio.schema.errors import ErrorCode
from kio.serial import entity_writer

from broker import protocol
from broker.dispatch import dispatch
from broker.errors import CloseConnection
from broker.node import ConnectionState
from broker.registry import load_apis
from tests.broker.calls import batch, running

PATIENCE_S = 0.05
NAMES = ["", "t", "u", "nope", "__consumer_offsets", "a b", "é", "x" * 300, "retention.ms", "cleanup.policy", "0", "-1"]
NUMBERS = [-(2**15), -2, -1, 0, 1, 2, 3, 7, 100, 2**15 - 1]
BYTES = [
    b"",
    b"\x00",
    b"\xff" * 20,
    batch([b"v"]),
    batch([b"v"], producer_id=1, epoch=0, sequence=0),
    batch([b"v"])[:40],
]


def random_value(rng: random.Random, annotation: Any, kind: str | None, known: list[uuid.UUID]) -> Any:
    if get_origin(annotation) in (UnionType, Union):
        if rng.random() < 0.3:
            return None
        annotation = next(arg for arg in get_args(annotation) if arg is not type(None))
    if get_origin(annotation) is tuple:
        element = get_args(annotation)[0]
        return tuple(random_value(rng, element, kind, known) for _ in range(rng.choice([0, 1, 1, 2, 3])))
    if is_dataclass(annotation):
        return random_entity(rng, annotation, known)
    choices: dict[str, Any] = {
        "string": lambda: rng.choice(NAMES),
        "bytes": lambda: rng.choice(BYTES),
        "records": lambda: rng.choice(BYTES),
        "bool": lambda: rng.random() < 0.5,
        "uuid": lambda: rng.choice([uuid.UUID(int=0), uuid.UUID(int=5), *known]),
        "int8": lambda: rng.randint(-128, 127),
        "uint16": lambda: rng.randint(0, 65535),
        "error_code": lambda: rng.choice(list(ErrorCode)),
        "timedelta_i32": lambda: timedelta(milliseconds=rng.choice([-5, 0, 1, 20])),
        "timedelta_i64": lambda: timedelta(milliseconds=rng.choice([-5, 0, 1, 20])),
        "datetime_i64": lambda: datetime(2020, 1, 1, tzinfo=UTC),
        "float64": rng.random,
    }
    return choices.get(str(kind), lambda: rng.choice(NUMBERS))()


def random_entity(rng: random.Random, schema: Any, known: list[uuid.UUID]) -> Any:
    values = {
        field.name: random_value(rng, field.type, field.metadata.get("kafka_type"), known) for field in fields(schema)
    }
    return schema(**values)


def frame(rng: random.Random, key: int, version: int, known: list[uuid.UUID]) -> bytes:
    schema = load_request_schema(key, version)
    body = io.BytesIO()
    entity_writer(schema)(body, random_entity(rng, schema, known))
    tags = b"\x00" if schema.__flexible__ else b""
    return struct.pack(">hhih", key, version, 1, -1) + tags + body.getvalue()


@pytest.mark.parametrize("seed", [1])
async def test_given_senseless_requests_when_served_then_no_handler_breaks(
    seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    rng = random.Random(seed)
    caplog.set_level(logging.ERROR)
    async with running() as cluster:
        known = [cluster.create_topic(name, 2).topic_id for name in ("t", "u")]
        node = cluster.nodes[0]
        for api in load_apis().values():
            for version in api.versions:
                for _ in range(4):
                    try:
                        data = frame(rng, api.key, version, known)
                    except (ValueError, TypeError):
                        continue  # kio can't encode it either
                    await _serve(node, data)
                    assert cluster.internal_errors == 0, (api.name, version, caplog.text)
                    for name in ("t", "u"):
                        if name not in cluster.topics:
                            known.append(cluster.create_topic(name, 2).topic_id)


async def _serve(node: Any, data: bytes) -> None:
    state = ConnectionState(listener=node.listeners[0])
    try:
        async with asyncio.timeout(PATIENCE_S):
            await dispatch(node, state, data)
    except (CloseConnection, TimeoutError):
        pass
    finally:
        for callback in state.on_close:
            callback()


def test_given_a_length_prefix_when_encoded_then_the_frame_says_what_it_holds() -> None:
    parts = protocol.response_parts(18, 0, 7, protocol.RawResponse([b"abc", b"de"]))
    data = b"".join(parts)
    assert struct.unpack_from(">ii", data) == (len(data) - 4, 7)
