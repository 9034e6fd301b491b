"""Connection against a small server: framing, order, ends, authentication."""

from __future__ import annotations

import asyncio
import random
import ssl
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr

from replicator.config.models import SecurityConfig
from replicator.errors import (
    AuthenticationError,
    ProtocolError,
    ReplicatorError,
    UnreachableError,
    UnsupportedVersionError,
)
from replicator.wire import connection as module
from replicator.wire.connection import Connection, open_connection
from replicator.wire.metadata import METADATA, fetch_metadata
from tests.support.certificates import CertificateAuthority
from tests.support.eventually import until
from tests.wire.fakebroker import API_VERSIONS, FakeBroker, Request, SaslServer, frame

PLAINTEXT = SecurityConfig()
PASSWORD = "correct horse battery staple"


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.aborted = False

    def write(self, data: Any) -> None:
        self.written += data

    def writelines(self, list_of_data: Any) -> None:
        for data in list_of_data:
            self.write(data)

    def abort(self) -> None:
        self.aborted = True


def connected(max_frame_bytes: int = 1 << 20) -> tuple[Connection, Wire]:
    connection, wire = Connection("us", "broker:9092", "me", max_frame_bytes), Wire()
    connection.connection_made(wire)
    return connection, wire


def feed(connection: Connection, data: bytes, pieces: list[int]) -> None:
    """Let `data` arrive in pieces of these sizes, again and again."""
    position = turn = 0
    while position < len(data) and not connection.is_closed:
        buffer = connection.get_buffer(-1)
        assert isinstance(buffer, memoryview)
        size = min(len(buffer), pieces[turn % len(pieces)], len(data) - position)
        buffer[:size] = data[position : position + size]
        connection.buffer_updated(size)
        position += size
        turn += 1


def response(correlation: int, body: bytes, *, flexible: bool = True) -> bytes:
    data = struct.pack(">i", correlation) + (b"\x00" if flexible else b"") + body
    return struct.pack(">i", len(data)) + data


async def test_invariant_a_answers_in_any_pieces_go_to_their_requests_in_order() -> None:
    sizes = random.Random(7)
    for _ in range(40):
        connection, _wire = connected()
        futures = [connection.request(3, 12, [b"x"], flexible=True, timeout_s=60) for _ in range(5)]
        bodies = [bytes([n]) * sizes.choice((0, 1, 3, 900)) for n in range(5)]
        answers = b"".join(response(n + 1, body) for n, body in enumerate(bodies))
        feed(connection, answers, [sizes.randint(1, 9) for _ in range(7)] + [sizes.randint(1, 400)])
        assert [bytes(await future) for future in futures] == bodies
        assert connection.in_flight == 0
        connection.close()


async def test_given_every_way_to_cut_one_answer_in_two_then_it_arrives() -> None:
    answer = response(1, b"hello, world")
    for cut in range(1, len(answer)):
        connection, _ = connected()
        future = connection.request(3, 12, [], flexible=True, timeout_s=60)
        feed(connection, answer[:cut], [1 << 20])
        assert not future.done()
        feed(connection, answer[cut:], [1 << 20])
        assert bytes(await future) == b"hello, world"


async def test_given_requests_then_their_bytes_are_framed_with_header_and_body() -> None:
    connection, wire = connected()
    body = [b"a" * 10, memoryview(b"b" * (64 << 10)), b"c"]
    connection.request(0, 9, body, flexible=True, timeout_s=60).cancel()
    header = struct.pack(">hhih", 0, 9, 1, 2) + b"me" + b"\x00"
    data = header + b"".join(body)
    assert wire.written == struct.pack(">i", len(data)) + data
    connection.close()


BAD_ANSWERS = {
    "oversized": (struct.pack(">i", (1 << 20) + 1), "announced a response of 1048577 bytes"),
    "negative": (struct.pack(">i", -5), "announced a response of -5 bytes"),
    "http": (b"HTTP/1.1 400 Bad Request", "is this a Kafka listener"),
    "wrong request": (response(9, b""), "answered request 9, not 1"),
    "tagged header": (response(1, b"\x01", flexible=False), "tagged fields"),
}


@pytest.mark.parametrize(("answer", "said"), BAD_ANSWERS.values(), ids=BAD_ANSWERS)
async def test_invariant_d_given_an_answer_that_no_broker_sends_then_the_connection_ends_and_says_why(
    answer: bytes, said: str
) -> None:
    connection, wire = connected()
    futures = [connection.request(3, 12, [], flexible=True, timeout_s=60) for _ in range(2)]
    feed(connection, answer, [1 << 20])
    for future in futures:
        with pytest.raises(ProtocolError, match=said):
            await future
    assert wire.aborted
    assert connection.closed.done()


async def test_given_an_answer_that_nobody_asked_for_then_the_connection_ends() -> None:
    connection, wire = connected()
    feed(connection, response(1, b""), [1 << 20])
    assert wire.aborted
    with pytest.raises(ProtocolError, match="answered without a request"):
        await connection.request(3, 12, [], flexible=True)


@pytest.mark.parametrize("part", [0, 3, 9])
async def test_invariant_b_given_a_connection_that_ends_anywhere_then_every_request_ends(part: int) -> None:
    connection, _ = connected()
    futures = [connection.request(3, 12, [], flexible=True, timeout_s=60) for _ in range(3)]
    feed(connection, response(1, b"0123456789")[:part], [1 << 20])
    connection.connection_lost(ConnectionResetError("reset by peer"))
    for future in futures:
        with pytest.raises(UnreachableError, match="connection to broker:9092 lost: reset by peer"):
            await future


async def test_invariant_b_given_no_answer_in_time_then_all_requests_fail_and_the_connection_is_closed() -> None:
    connection, wire = connected()
    late = connection.request(3, 12, [], flexible=True, timeout_s=0.01)
    behind = connection.request(3, 12, [], flexible=True, timeout_s=60)
    for future in (late, behind):
        with pytest.raises(UnreachableError, match="didn't answer \\(API 3\\) in time"):
            await future
    assert wire.aborted


async def test_given_a_request_whose_waiter_has_gone_then_the_next_answer_still_finds_its_own() -> None:
    connection, _ = connected()
    gone = connection.request(3, 12, [], flexible=True, timeout_s=60)
    here = connection.request(3, 12, [], flexible=True, timeout_s=60)
    gone.cancel()
    feed(connection, response(1, b"one") + response(2, b"two"), [1 << 20])
    assert bytes(await here) == b"two"
    connection.close()


# against a server


@pytest.fixture
async def broker() -> AsyncIterator[FakeBroker]:
    async with FakeBroker() as broker:
        broker.handlers[METADATA] = lambda *_: METADATA_ANSWER
        yield broker


METADATA_ANSWER: dict[str, Any] = {
    "brokers": [{"node_id": 0, "host": "h", "port": 1, "rack": None}],
    "cluster_id": "c", "controller_id": 0, "topics": [],
}  # fmt: skip


async def connect(broker: FakeBroker, security: SecurityConfig = PLAINTEXT, host: str = "127.0.0.1") -> Connection:
    return await open_connection("us", host, broker.port, security=security, client_id="me", timeout_s=5)


async def test_given_pipelined_requests_then_all_are_sent_before_the_first_is_answered(broker: FakeBroker) -> None:
    hold = asyncio.Event()

    async def slowly(_: Request, __: object) -> dict[str, Any]:
        await hold.wait()
        return METADATA_ANSWER

    broker.handlers[METADATA] = slowly
    connection = await connect(broker)
    asked = [asyncio.create_task(fetch_metadata(connection, [])) for _ in range(3)]
    await until(lambda: connection.in_flight == 3, "sending")
    hold.set()
    assert [view.cluster_id for view in await asyncio.gather(*asked)] == ["c"] * 3
    connection.close()


async def test_given_a_server_that_says_nothing_then_connecting_ends_in_time(broker: FakeBroker) -> None:
    broker.handlers[API_VERSIONS] = lambda *_: None
    with pytest.raises(UnreachableError, match="no answer in time; check bootstrap_servers"):
        await open_connection("us", "127.0.0.1", broker.port, security=PLAINTEXT, client_id="me", timeout_s=0.05)


@pytest.mark.parametrize(
    ("host", "port"), [("127.0.0.1", 1), ("no such host.invalid", 9092), ("a..b", 9092), ("127.0.0.1", 99_999)]
)
async def test_given_an_address_that_cannot_be_then_it_is_unreachable(host: str, port: int) -> None:
    with pytest.raises(UnreachableError, match="cluster us: can't connect to"):
        await open_connection("us", host, port, security=PLAINTEXT, client_id="me", timeout_s=5)


async def test_given_a_broker_that_is_too_old_then_the_message_says_what_is_needed(broker: FakeBroker) -> None:
    broker.versions = {3: (0, 4)}
    connection = await connect(broker)
    with pytest.raises(UnsupportedVersionError, match=r"API 3 in versions \(0, 4\).*Kafka 2.8"):
        await fetch_metadata(connection, [])
    connection.close()


async def test_given_garbage_behind_a_good_frame_then_the_answer_is_a_protocol_error(broker: FakeBroker) -> None:
    broker.handlers[METADATA] = lambda request, _: response(
        request.correlation, b"\x00\x00\x00\x00\xff\xff\xff\xff\x07"
    )
    connection = await connect(broker)
    with pytest.raises(ProtocolError):
        await fetch_metadata(connection, [])
    connection.close()


def security(mechanism: str, password: str = PASSWORD, **more: Any) -> SecurityConfig:
    settings: dict[str, Any] = {"protocol": "SASL_PLAINTEXT", "mechanism": mechanism, "username": "ann"}
    return SecurityConfig(**(settings | {"password": SecretStr(password)} | more))


MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_given_the_right_password_then_the_session_opens(broker: FakeBroker, mechanism: str) -> None:
    server = SaslServer(mechanism, "ann", PASSWORD)
    server.attach(broker)
    connection = await connect(broker, security(mechanism))
    assert server.exchanges == 1
    assert (await fetch_metadata(connection, [])).cluster_id == "c"
    connection.close()


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_given_a_wrong_password_then_the_message_says_so_without_it(broker: FakeBroker, mechanism: str) -> None:
    SaslServer(mechanism, "ann", "another").attach(broker)
    with pytest.raises(AuthenticationError) as raised:
        await connect(broker, security(mechanism))
    text = everything_said(raised.value)
    assert f"refused {mechanism} authentication" in str(raised.value)
    assert "check security.username and security.password" in str(raised.value)
    assert "cluster us" in str(raised.value)
    assert PASSWORD not in text


def everything_said(error: BaseException | None) -> str:
    said = ""
    while error is not None:
        said += f"{error!r} {error} "
        error = error.__cause__ or error.__context__
    return said


async def test_given_a_mechanism_that_is_not_offered_then_the_offered_ones_are_named(broker: FakeBroker) -> None:
    SaslServer("SCRAM-SHA-512", "ann", PASSWORD).attach(broker)
    with pytest.raises(AuthenticationError, match=r"doesn't offer PLAIN but SCRAM-SHA-512; set security\.mechanism"):
        await connect(broker, security("PLAIN"))


async def test_given_a_server_that_does_not_know_the_password_itself_then_it_is_not_trusted(broker: FakeBroker) -> None:
    server = SaslServer("SCRAM-SHA-256", "ann", PASSWORD)
    server.attach(broker)
    real = server._next

    def posing(message: bytes) -> tuple[bytes, bool]:
        reply, done = real(message)
        return (b"v=" + b"A" * 43 + b"=", True) if done else (reply, done)

    server._next = posing  # type: ignore[method-assign]
    with pytest.raises(AuthenticationError, match="SCRAM-SHA-256 exchange failed"):
        await connect(broker, security("SCRAM-SHA-256"))


async def test_given_a_server_that_wants_endless_hashing_then_it_is_refused(broker: FakeBroker) -> None:
    """CVE-2026-10143."""
    server = SaslServer("SCRAM-SHA-256", "ann", PASSWORD)
    server.attach(broker)
    real = server._next

    def costly(message: bytes) -> tuple[bytes, bool]:
        reply, done = real(message)
        return reply.replace(b"i=4096", b"i=4096000000"), done

    server._next = costly  # type: ignore[method-assign]
    with pytest.raises(AuthenticationError, match="iterations"):
        await connect(broker, security("SCRAM-SHA-256"))


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
async def test_given_a_limited_session_then_it_is_renewed_and_no_request_is_dropped(
    broker: FakeBroker, mechanism: str
) -> None:
    server = SaslServer(mechanism, "ann", PASSWORD, lifetime_ms=60)
    server.attach(broker)
    connection = await connect(broker, security(mechanism))
    answers = 0
    while server.exchanges < 4:
        views = await asyncio.gather(*(fetch_metadata(connection, []) for _ in range(3)))
        assert [view.cluster_id for view in views] == ["c"] * 3
        answers += 3
    assert broker.count(METADATA) == answers
    order = [request.api for request in broker.requests]
    begun = order.index(36)
    assert 3 in order[begun:]
    connection.close()


async def test_given_a_request_during_renewal_then_it_is_held_and_sent_after_it(broker: FakeBroker) -> None:
    server = SaslServer("PLAIN", "ann", PASSWORD, lifetime_ms=50)
    server.attach(broker)
    renew = asyncio.Event()
    real = server.authenticate

    async def slowly(request: Request, writer: asyncio.StreamWriter) -> Any:
        if server.exchanges:
            await renew.wait()
        return real(request, writer)

    connection = await connect(broker, security("PLAIN"))
    broker.handlers[36] = slowly
    await until(lambda: connection._held is not None, "the renewal")
    asked = asyncio.create_task(fetch_metadata(connection, []))
    await asyncio.sleep(0.02)
    assert broker.count(METADATA) == 0
    renew.set()
    assert (await asked).cluster_id == "c"
    connection.close()


async def test_given_a_password_changed_meanwhile_then_the_connection_ends_with_the_reason(broker: FakeBroker) -> None:
    SaslServer("PLAIN", "ann", PASSWORD, lifetime_ms=50).attach(broker)
    connection = await connect(broker, security("PLAIN"))
    SaslServer("PLAIN", "ann", "changed").attach(broker)
    await connection.closed
    with pytest.raises(AuthenticationError, match="refused PLAIN authentication"):
        await fetch_metadata(connection, [])
    assert connection.is_closed


# TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def tls_broker(authority: CertificateAuthority) -> AsyncIterator[FakeBroker]:
    identity = authority.issue("broker")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.certificate))
    context.load_cert_chain(identity.certificate, identity.key)
    context.verify_mode = ssl.CERT_OPTIONAL
    async with FakeBroker(context) as broker:
        broker.handlers[METADATA] = lambda *_: METADATA_ANSWER
        yield broker


async def test_given_tls_scram_and_large_answers_then_no_byte_changes(
    tls_broker: FakeBroker, authority: CertificateAuthority
) -> None:
    SaslServer("SCRAM-SHA-512", "ann", PASSWORD).attach(tls_broker)
    noise = random.Random(1).randbytes(3 << 20)
    tls_broker.handlers[1] = lambda request, _: response(request.correlation, noise)
    settings = security("SCRAM-SHA-512", protocol="SASL_SSL", ca_file=str(authority.certificate))
    connection = await connect(tls_broker, settings)
    answers = await asyncio.gather(*(connection.request(1, 12, [b"x" * 70_000], flexible=True) for _ in range(4)))
    assert all(answer == noise for answer in answers)
    connection.close()


async def test_given_requests_in_many_parts_of_any_size_when_the_reader_is_slow_then_no_byte_changes(
    broker: FakeBroker,
) -> None:
    random_parts = random.Random(7)
    broker.handlers[1] = lambda request, _: response(request.correlation, b"")
    connection = await connect(broker, PLAINTEXT)
    sent = []
    for sizes in ([1] * 3000, [200_000] * 40, [0, 70_000, 0, 5, 4_000_000], [10] * 1024, [50_000, 20] * 600):
        parts = [random_parts.randbytes(size) for size in sizes]
        sent.append((b"".join(parts), connection.request(1, 12, parts, flexible=True)))  # all at once
    await asyncio.gather(*(answer for _, answer in sent))
    assert [request.body for request in broker.requests if request.api == 1] == [whole for whole, _ in sent]
    connection.close()


async def test_given_a_client_certificate_then_it_is_shown(
    tls_broker: FakeBroker, authority: CertificateAuthority
) -> None:
    own = authority.issue("client")
    settings = SecurityConfig(
        protocol="SSL", ca_file=str(authority.certificate), cert_file=str(own.certificate), key_file=str(own.key)
    )
    connection = await connect(tls_broker, settings)
    connection.close()


async def test_given_a_certificate_that_is_not_trusted_then_the_message_names_what_to_check(
    tls_broker: FakeBroker,
) -> None:
    with pytest.raises(AuthenticationError, match=r"TLS with 127.0.0.1:\d+ failed.*check security.protocol"):
        await connect(tls_broker, SecurityConfig(protocol="SSL"))


@pytest.mark.parametrize("tls_listener", [True, False])
async def test_given_the_wrong_protocol_for_the_listener_then_connecting_fails_with_a_hint(
    tls_broker: FakeBroker, broker: FakeBroker, authority: CertificateAuthority, tls_listener: bool
) -> None:
    tls = SecurityConfig(protocol="SSL", ca_file=str(authority.certificate))
    port, settings = (tls_broker.port, PLAINTEXT) if tls_listener else (broker.port, tls)
    with pytest.raises(ReplicatorError, match=r"security\.protocol"):
        await open_connection("us", "127.0.0.1", port, security=settings, client_id="me", timeout_s=0.5)


async def test_given_an_answer_too_large_over_tls_then_the_connection_ends(
    tls_broker: FakeBroker, authority: CertificateAuthority
) -> None:
    """CVE-2026-10142."""
    tls_broker.handlers[METADATA] = lambda *_: struct.pack(">i", 2**31 - 1) + b"x" * 100_000
    connection = await connect(tls_broker, SecurityConfig(protocol="SSL", ca_file=str(authority.certificate)))
    with pytest.raises(ProtocolError, match="announced a response of 2147483647"):
        await fetch_metadata(connection, [])


async def test_given_python_before_gathering_writes_then_parts_arrive_joined(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for gathers in (True, False):
        monkeypatch.setattr(module, "_GATHERS", gathers)
        connection = await connect(broker)
        body = [b"\x01", memoryview(bytes(80_000)), b"\x02", memoryview(bytes(10)), b""]
        broker.handlers[0] = lambda request, _: frame(request, {"responses": []})
        await connection.request(0, 9, body, flexible=True)
        assert broker.requests[-1].body == b"\x01" + bytes(80_000) + b"\x02" + bytes(10)
        connection.close()
