"""Frames, versions and hostile bytes."""

from __future__ import annotations

import asyncio
import random
import struct
from typing import Any

import pytest
from kio.schema.errors import ErrorCode

from broker import protocol
from broker.clock import ManualClock
from broker.errors import CloseConnection
from broker.node import Listener
from broker.registry import load_apis
from tests.broker.calls import Caller, batch, client_of, running
from tests.support.rawclient import Closed

LISTENERS = [Listener(sasl=True)]


async def closes(client: Caller, frame: bytes) -> bool:
    """Whether the broker closes the connection upon this frame."""
    await asyncio.to_thread(client.raw.send_frame, frame)
    try:
        await asyncio.to_thread(client.raw.receive_frame)
    except Closed:
        return True
    return False


async def test_given_any_version_when_api_versions_is_asked_then_answered_and_newer_ones_get_version_zero() -> None:
    async with running() as cluster, client_of(cluster) as client:
        for version in range(3):
            answer = await client.call("api_versions", version)
            assert answer.error_code is ErrorCode.none
        name = {"client_software_name": "tests", "client_software_version": "1.0"}
        for version in (3, 4):
            answer = await client.call("api_versions", version, **name)
            keys = {key.api_key: (key.min_version, key.max_version) for key in answer.api_keys}
            assert keys[0] == (0, 13)
            assert keys[1] == (4, 17)
        answer = await client.call("api_versions", 4, client_software_name="", client_software_version="")
        assert answer.error_code is ErrorCode.invalid_request
        await asyncio.to_thread(client.raw.send_frame, struct.pack(">hhih", 18, 99, 7, -1) + b"\x00\x01\x01\x00")
        answer = await client.receive("api_versions", 0)
        assert answer.error_code is ErrorCode.unsupported_version
        assert [key.api_key for key in answer.api_keys] == [18]


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x00\x03",
        struct.pack(">hhih", 9999, 0, 1, -1),
        struct.pack(">hhih", 3, 99, 1, -1),
        struct.pack(">hhih", 3, 12, 1, 500),
        struct.pack(">hhih", 3, 1, 1, -1) + struct.pack(">i", 2_000_000_000),
        struct.pack(">hhih", 3, 12, 1, -1) + b"\xff\xff\xff\xff\x0f" * 3,
        struct.pack(">hhih", 3, 12, 1, 1) + b"\xff",
        struct.pack(">hhih", 0, 9, 1, -1) + b"\x00\x00\xff\xff\x00\x00\x00\x01\xff\xff\xff\xff\x0f",
        struct.pack(">hhih", 1, 12, 1, -1) + b"\x00" + b"\xff" * 50,
    ],
)
async def test_given_broken_bytes_when_received_then_the_connection_closes_and_others_live(frame: bytes) -> None:
    async with running() as cluster, client_of(cluster) as healthy:
        async with client_of(cluster) as client:
            assert await closes(client, frame)
        assert await healthy.call("metadata", 1, topics=None)


@pytest.mark.parametrize("size", [-1, 512 * 1024 + 1, 2**31 - 1])
async def test_given_a_sasl_listener_when_a_frame_is_too_large_before_authentication_then_closed(size: int) -> None:
    async with running(listeners=LISTENERS) as cluster, client_of(cluster) as client:
        client.raw._socket.sendall(struct.pack(">i", size))
        with pytest.raises(Closed):
            await asyncio.to_thread(client.raw.receive_frame)


async def test_given_a_sasl_listener_when_not_authenticated_then_only_the_handshake_apis_answer() -> None:
    async with running(listeners=LISTENERS) as cluster:
        async with client_of(cluster) as client:
            assert (await client.call("api_versions", 0)).error_code is ErrorCode.none
            with pytest.raises(Closed):
                await client.call("metadata", 1, topics=None)


async def test_given_a_frame_over_the_limit_when_received_then_closed() -> None:
    async with running(config={"socket.request.max.bytes": "1000"}) as cluster, client_of(cluster) as client:
        cluster.create_topic("t")
        with pytest.raises(Closed):
            await client.produce("t", batch([b"x" * 2000]))


async def test_given_an_idle_connection_when_its_time_is_over_then_closed() -> None:
    clock = ManualClock()
    config = {"connections.max.idle.ms": "2000"}
    async with running(config=config, clock=clock) as cluster, client_of(cluster) as client:
        await client.call("metadata", 1, topics=None)
        for seconds in (1, 1):
            clock.advance(seconds)
            cluster.tick()
        await client.call("metadata", 1, topics=None)
        clock.advance(3)
        cluster.tick()
        with pytest.raises(Closed):
            await client.call("metadata", 1, topics=None)


async def test_given_pipelined_requests_when_sent_then_answered_in_order() -> None:
    async with running() as cluster, client_of(cluster) as client:
        cluster.create_topic("t")
        for number in range(20):
            row = [{"name": "t", "partition_data": [{"index": 0, "records": batch([b"%d" % number])}]}]
            await client.send("produce", 9, acks=-1, timeout=100, transactional_id=None, topic_data=row)
        for number in range(20):
            answer = await client.receive("produce", 9)
            assert answer.responses[0].partition_responses[0].base_offset == number


def test_given_any_bytes_when_decoded_then_refused_or_understood_but_never_anything_else() -> None:
    rng = random.Random(7)
    for api in load_apis().values():
        for version in api.versions:
            for _ in range(15):
                body = rng.randbytes(rng.randrange(60))
                header = protocol.RequestHeader(api.key, version, 0, None, 0)
                try:
                    _decode(api, body, header)
                except CloseConnection:
                    continue


def _decode(api: Any, body: bytes, header: protocol.RequestHeader) -> Any:
    from broker.dispatch import _decode as decode

    return decode(api, body, header)


def test_given_a_name_that_no_version_has_when_building_then_type_error() -> None:
    from kio.schema.metadata.v1 import MetadataResponse

    made = protocol.entity(MetadataResponse, {"brokers": [{"node_id": 1, "rack": None}], "cluster_id": "dropped"})
    assert made.brokers[0].node_id == 1
    with pytest.raises(TypeError, match="brokrs"):
        protocol.entity(MetadataResponse, {"brokrs": []})
