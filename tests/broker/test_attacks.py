"""Attacks that have had names elsewhere, replayed: each is refused and counted, says nothing secret, and the broker
goes on for everybody else. Those against clients are in `tests/wire/test_connection.py`."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import struct
import tracemalloc
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cramjam
import pytest
from kio.schema.errors import ErrorCode

from broker.cluster import Cluster
from broker.control import serve_control
from broker.node import Listener
from broker.security.credentials import Credentials
from broker.security.sasl import AuthenticationFailed, SaslServer
from broker.storage import compression
from tests.broker.iam.test_signature import decoded, encoded, presigned
from tests.broker.test_file_cluster import REGION, World, payload, token
from tests.broker.test_file_cluster import client as client_of
from tests.broker.test_security import Client, secured
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


async def test_cve_2018_1288_a_client_that_poses_as_a_replica_moves_nothing() -> None:
    async with Cluster(authorizer="acl", config={"super.users": "User:admin"}) as cluster:
        cluster.create_topic("orders", 1, 1)
        before = cluster.log("orders", 0).high_watermark
        async with Client(cluster) as client:
            row = {"topic": "orders", "partitions": [{"partition": 0, "fetch_offset": 5, "partition_max_bytes": 100}]}
            answer = await client.call("fetch", 12, replica_id=0, max_wait=1, max_bytes=100, topics=[row])
            assert answer.responses[0].partitions[0].error_code == ErrorCode.topic_authorization_failed
        assert cluster.log("orders", 0).high_watermark == before


# who somebody is


def test_cve_2017_12610_to_log_in_as_oneself_and_act_as_another() -> None:
    exchange = SaslServer(["PLAIN"], Credentials({"alice": "s3cret", "bob": "x"})).begin("PLAIN")
    with pytest.raises(AuthenticationFailed):
        exchange.step(b"bob\0alice\0s3cret")


def test_cve_2021_38153_passwords_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest

    def noted(a: Any, b: Any) -> bool:
        compared.append((a, b))
        return real(a, b)

    monkeypatch.setattr(hmac, "compare_digest", noted)
    assert not Credentials({"alice": "s3cret"}).matches("alice", "s3cre")
    assert not Credentials({"alice": "s3cret"}).matches("nobody", "s3cret")
    assert len(compared) == 2


def _jwt(header: dict[str, str]) -> str:
    parts = (header, {"sub": "admin", "exp": 2**40})
    return ".".join(urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


CONNECT = "https://kafka.us-east-1.amazonaws.com/?Action=kafka-cluster%3AConnect"


def _tampered() -> str:
    url = decoded(token()[0])
    place = url.index("X-Amz-Signature=") + len("X-Amz-Signature=")
    return encoded(url[:place] + ("1" if url[place] == "0" else "0") + url[place + 1 :])


TOKENS: dict[str, Callable[[], str]] = {
    "CVE-2026-33557, CVE-2026-110985: a JWT that nobody signed": lambda: _jwt({"alg": "none"}),
    "a tampered one": _tampered,
    "one of somebody who isn't known": lambda: presigned(CONNECT),
    "an over-long one": lambda: token()[0] + "A" * 40_000,
    "for another region's host": lambda: presigned(CONNECT.replace("us-east-1", "eu-west-1")),
    "for another service": lambda: presigned(CONNECT, service="sts"),
    "one that lasts too long": lambda: presigned(CONNECT, expires=7 * 86400),
    "for another action": lambda: presigned(CONNECT.replace("Connect", "DeleteTopic")),
    "a link to somewhere": lambda: encoded("https://evil.example/?Action=kafka-cluster%3AConnect"),
}


@pytest.mark.parametrize("what", TOKENS)
async def test_tokens_that_are_not_what_they_seem(what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "broker")
    shown = TOKENS[what]()
    async with World(tmp_path).running() as made:
        async with client_of(made, "IAM") as one:
            assert await one.handshake("OAUTHBEARER") == 0
            answer = await one.token(f"n,,\x01auth=Bearer {shown}\x01\x01".encode())
            if answer.error_code == 0:
                answer = await one.token(b"\x01")
            assert answer.error_code == ErrorCode.sasl_authentication_failed
            assert not await one.works()
        assert made.cluster.failed_authentications == 1
        assert made.cluster.internal_errors == 0
        async with client_of(made, "IAM") as other:
            assert await other.handshake("AWS_MSK_IAM") == 0
            assert (await other.token(payload("127.0.7.1"))).error_code == 0
    assert shown[:200] not in caplog.text
    assert "X-Amz-Signature" not in caplog.text


@pytest.mark.parametrize(("minutes", "good"), [(-14, True), (-16, False), (4, True), (6, False)])
async def test_tokens_of_another_time(minutes: int, good: bool, tmp_path: Path) -> None:
    made_at = datetime.now(UTC)
    shown = token()[0]
    async with World(tmp_path).running() as made:
        assert made.cluster.sasl is not None
        assert made.cluster.sasl.iam is not None
        object.__setattr__(made.cluster.sasl.iam, "now", lambda: made_at - timedelta(minutes=minutes))
        async with client_of(made, "IAM") as one:
            assert await one.handshake("OAUTHBEARER") == 0
            answer = await one.token(f"n,,\x01auth=Bearer {shown}\x01\x01".encode())
            assert (answer.auth_bytes == b"") is good
    assert REGION in CONNECT


async def test_cve_2024_36543_nobody_else_reaches_the_control_port() -> None:
    async with Cluster() as cluster:
        for host in ("0.0.0.0", "192.0.2.1", "::"):
            with pytest.raises(ValueError, match="not a loopback address"):
                async with serve_control(cluster, host, 0):
                    pass
