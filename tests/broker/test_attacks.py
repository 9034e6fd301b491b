"""Attacks that have had names elsewhere, replayed: each is refused and counted, says nothing secret, and the broker
goes on for everybody else. Those against clients are in `tests/wire/test_connection.py`."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import cramjam
import pytest
from kio.schema.errors import ErrorCode

from broker.clock import ManualClock
from broker.cluster import Cluster
from broker.control import serve_control
from broker.metrics.exposition import jmx
from broker.node import Listener, NodeState
from broker.security.acls import Acl
from broker.security.resources import Operation, PatternType, Permission, ResourceType
from broker.storage import compression
from tests.broker.test_security import Client, secured
from tests.support.eventually import until
from tests.support.rawclient import KEYS, Closed, batch

API_VERSIONS, METADATA = KEYS["api_versions"], KEYS["metadata"]
MEGABYTES = 1 << 20


@asynccontextmanager
async def under_attack(attack: Callable[[Client], Awaitable[Any]], *, secure: bool = False) -> AsyncIterator[Cluster]:
    """A cluster that has just been attacked over one connection. Another client is served before and after, and nothing
    has gone wrong inside."""
    async with secured() if secure else Cluster(listeners=[Listener()]) as cluster:
        async with Client(cluster) as attacker:
            tracemalloc.start()
            try:
                await attack(attacker)
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
        assert peak < 64 * MEGABYTES, f"{peak} bytes were taken"
        yield cluster
        async with Client(cluster) as other:
            if secure:
                assert (await other.log_in("PLAIN", "alice", "s3cret")).error_code == 0
            assert await other.works()
        assert cluster.internal_errors == 0


async def ends(client: Client) -> None:
    """The broker closes the connection, with nothing or after an answer."""
    with pytest.raises(Closed):  # noqa: PT012 - an answer may come before the end
        while True:
            await asyncio.to_thread(client.raw.receive_frame)


def uvarint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


# before authentication


@pytest.mark.parametrize("size", [512 * 1024 + 1, 100 * MEGABYTES, 2**31 - 1, -1])
async def test_cve_2022_34917_large_frames_before_authentication(size: int) -> None:
    async def attack(client: Client) -> None:
        client.raw._socket.sendall(struct.pack(">i", size) + bytes(1000))
        await ends(client)

    async with under_attack(attack, secure=True) as cluster:
        assert cluster.refused_requests == 1


@pytest.mark.parametrize("count", [200_000, 20_000_000])
async def test_cve_2026_111115_a_flood_of_tagged_fields_in_a_request_header(count: int) -> None:
    async def attack(client: Client) -> None:
        header = struct.pack(">hhih", API_VERSIONS, 3, 1, -1)
        client.raw.send_frame(header + uvarint(count) + b"\x00\x00" * 200_000)
        await ends(client)

    async with under_attack(attack, secure=True) as cluster:
        assert cluster.refused_requests == 1


@pytest.mark.parametrize("secure", [True, False])
async def test_cve_2026_111108_array_counts_that_no_request_holds(secure: bool) -> None:
    key, version = (KEYS["sasl_handshake"], 1) if secure else (METADATA, 12)

    async def attack(client: Client) -> None:
        if secure:
            client.raw.send_frame(struct.pack(">hhih", key, version, 1, -1) + struct.pack(">h", 32767))
        else:
            client.raw.send_body(key, version, uvarint(2**31 - 1) + bytes(100), flexible=True)
        await ends(client)

    async with under_attack(attack, secure=secure) as cluster:
        assert cluster.refused_requests == 1


async def test_kip_498_a_tls_hello_on_a_plaintext_listener_is_no_frame_of_350_megabytes() -> None:
    async def attack(client: Client) -> None:
        client.raw._socket.sendall(bytes.fromhex("16030100f8010000f40303") + bytes(200))
        await ends(client)

    async with under_attack(attack) as cluster:
        assert cluster.refused_requests == 1


@pytest.mark.parametrize("limit", ["max.connections", "max.connections.per.ip"])
async def test_connections_over_a_limit_are_closed_and_those_that_are_there_go_on(limit: str) -> None:
    async with Cluster(config={limit: "3"}) as cluster:
        async with Client(cluster) as one, Client(cluster) as two, Client(cluster) as three:
            assert [await each.works() for each in (one, two, three)] == [True] * 3
            with contextlib.suppress(ConnectionError):
                async with Client(cluster) as four:
                    assert not await four.works()
            assert cluster.refused_connections == 1
            assert await one.works()
        await until(lambda: not cluster.nodes[0].connections, "the end of the three")
        async with Client(cluster) as other:
            assert await other.works()


# what is in requests


@pytest.mark.parametrize("codec", [compression.GZIP, compression.LZ4, compression.ZSTD, compression.SNAPPY])
async def test_cve_2026_111073_batches_that_expand_without_end(codec: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression.decompress, "__defaults__", (8 * MEGABYTES,))
    bomb = {
        compression.GZIP: lambda data: bytes(cramjam.gzip.compress(data, level=9)),
        compression.LZ4: lambda data: compression.compress(compression.LZ4, data),
        compression.ZSTD: lambda data: compression.compress(compression.ZSTD, data),
        compression.SNAPPY: lambda data: bytes(cramjam.snappy.compress_raw(data)),
    }[codec](bytes(32 * MEGABYTES))[:900_000]
    codes: list[int] = []

    async def attack(client: Client) -> None:
        data = batch([b"x"], attributes=codec, payload=bomb)
        rows = [{"name": "orders", "partition_data": [{"index": 0, "records": data}]}]
        answer = await client.call("produce", 9, acks=-1, timeout=1000, topic_data=rows)
        codes.append(answer.responses[0].partition_responses[0].error_code)

    async with Cluster() as cluster:
        cluster.create_topic("orders", 1, 1)
        async with Client(cluster) as attacker:
            await attack(attacker)
        async with Client(cluster) as other:
            assert await other.works()
        assert cluster.log("orders", 0).log_end_offset == 0
        assert cluster.internal_errors == 0
    assert codes[0] != ErrorCode.none


async def test_ghsa_47w3_66wq_cpxg_a_transactional_batch_without_the_transaction_it_is_said_to_be_of() -> None:
    async with Cluster() as cluster:
        cluster.create_topic("orders", 1, 1)
        async with Client(cluster) as client:
            data = batch([b"x"], producer_id=1000, epoch=0, sequence=0, attributes=0x10)
            rows = [{"name": "orders", "partition_data": [{"index": 0, "records": data}]}]
            answer = await client.call("produce", 9, acks=-1, timeout=1000, topic_data=rows)
            code = answer.responses[0].partition_responses[0].error_code
            assert code == ErrorCode.transactional_id_authorization_failed
        assert cluster.log("orders", 0).log_end_offset == 0


@pytest.mark.parametrize("hijacked", [True, False])
async def test_ghsa_47w3_66wq_cpxg_a_batch_of_ones_own_transactional_id_in_anothers_transaction(hijacked: bool) -> None:
    """Kafka takes it (KIP-98, "limitations of coordinator authorization"); here it isn't, where rights count."""
    async with Cluster(authorizer="acl", config={"super.users": "User:ANONYMOUS"}) as cluster:
        cluster.create_topic("orders", 1, 1)
        async with Client(cluster) as client:
            producers = {}
            for name in ("victim", "attacker"):
                answer = await client.call("init_producer_id", 4, transactional_id=name, transaction_timeout=60_000)
                producers[name] = answer.producer_id, answer.producer_epoch
            rows = [{"name": "orders", "partitions": [0]}]
            where = dict(
                zip(("v3_and_below_producer_id", "v3_and_below_producer_epoch"), producers["victim"], strict=True)
            )
            where |= {"v3_and_below_transactional_id": "victim", "v3_and_below_topics": rows}
            added = await client.call("add_partitions_to_txn", 3, **where)
            assert added.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code == 0

            async def write(who: str, sequence: int) -> ErrorCode:
                own, epoch = producers["victim"]
                data = batch([b"x"], producer_id=own, epoch=epoch, sequence=sequence, attributes=0x10)
                topics = [{"name": "orders", "partition_data": [{"index": 0, "records": data}]}]
                answer = await client.call("produce", 9, transactional_id=who, acks=-1, timeout=1000, topic_data=topics)
                return ErrorCode(answer.responses[0].partition_responses[0].error_code)

            assert await write("victim", 0) is ErrorCode.none
            expected = ErrorCode.invalid_producer_id_mapping if hijacked else ErrorCode.none
            assert await write("attacker" if hijacked else "victim", 1) is expected
        assert cluster.log("orders", 0).log_end_offset == (1 if hijacked else 2)


@pytest.mark.parametrize("version", [12, 17])
async def test_cve_2018_1288_a_client_that_poses_as_a_replica_is_answered_nothing(version: int) -> None:
    may_read = Acl(
        ResourceType.TOPIC, "orders", PatternType.LITERAL, "User:ANONYMOUS", "*", Operation.READ, Permission.ALLOW
    )
    async with Cluster(authorizer="acl", config={"super.users": "User:admin"}) as cluster:
        topic = cluster.create_topic("orders", 1, 1)
        cluster.acls.create([may_read])
        cluster.log("orders", 0).append_as_client(batch([b"x"]))

        async def fetch(replica: int) -> Any:
            named = {"topic_id": topic.topic_id} if version >= 13 else {"topic": "orders"}
            row = named | {"partitions": [{"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1000}]}
            who = (
                {"replica_state": {"replica_id": replica, "replica_epoch": -1}}
                if version >= 15
                else {"replica_id": replica}
            )
            answer = await client.call("fetch", version, max_wait=1, max_bytes=1000, topics=[row], **who)
            return answer.responses[0].partitions[0]

        async with Client(cluster) as client:
            assert (await fetch(0)).error_code == ErrorCode.topic_authorization_failed
            assert (await fetch(-1)).records


async def test_ones_own_session_does_not_go_on_as_somebody_else_and_that_is_counted() -> None:
    async with secured() as cluster, Client(cluster) as client:
        assert (await client.log_in("PLAIN", "alice", "s3cret")).error_code == 0
        answer = await client.log_in("PLAIN", "bob", "other,pass=word")
        assert answer.error_code == ErrorCode.sasl_authentication_failed
        assert "Cannot change principals" in answer.error_message
        assert cluster.failed_authentications == 1
        counts = cluster.nodes[0].counts.log_ins("SECURE")
        assert (counts.succeeded.count, counts.failed.count) == (1, 1)
        shown = jmx(cluster, cluster.nodes[0]).decode()
        assert 'failed_authentication_total{listener="SECURE",networkProcessor="0"} 1.0' in shown


async def test_slowloris_hundreds_that_never_finish_a_request_keep_nobody_else_waiting() -> None:
    """Of requests whose sizes are announced, no more memory is taken than has come; whoever stands still is cut off."""
    count = 500
    async with secured() as cluster:
        writers = []
        tracemalloc.start()
        try:
            host, _, port = cluster.bootstrap.partition(":")
            for _ in range(count):
                _, writer = await asyncio.open_connection(host, int(port))
                writer.write(struct.pack(">i", 512 * 1024) + b"\x00\x12")
                writers.append(writer)
            async with Client(cluster) as other:
                began = time.monotonic()
                assert (await other.log_in("SCRAM-SHA-256", "alice", "s3cret")).error_code == 0
                assert await other.works()
                assert time.monotonic() - began < 2
                _, peak = tracemalloc.get_traced_memory()
                assert peak < 64 * MEGABYTES
                assert len(cluster.nodes[0].connections) == count + 1
                assert isinstance(cluster.clock, ManualClock)
                cluster.clock.advance(cluster.config.get_int("connections.max.idle.ms") / 1000 + 1)
                cluster.nodes[0].close_idle(cluster.config.get_int("connections.max.idle.ms") / 1000)
                await until(lambda: not cluster.nodes[0].connections, "the end of all connections")
        finally:
            tracemalloc.stop()
            for writer in writers:
                writer.close()
        assert cluster.internal_errors == 0


async def test_cve_2024_36543_nobody_else_reaches_the_control_port() -> None:
    async with Cluster() as cluster:
        for host in ("0.0.0.0", "192.0.2.1", "::"):
            with pytest.raises(ValueError, match="not a loopback address"):
                async with serve_control(cluster, host, 0):
                    pass


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "rebound.evil.example:1234"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "localhost:1234"}, 200),
        ({}, 200),
    ],
)
async def test_cve_2024_36543_no_web_page_reaches_the_control_port_through_somebodys_browser(
    headers: dict[str, str], status: int
) -> None:
    async with Cluster() as cluster, serve_control(cluster, "127.0.0.1", 0) as (host, port):
        async with aiohttp.ClientSession() as session:
            async with session.post(f"http://{host}:{port}/nodes/0/freeze", headers=headers) as answer:
                assert answer.status == status
        assert (cluster.nodes[0].state is NodeState.FROZEN) is (status == 200)
        await cluster.thaw_node(0)
