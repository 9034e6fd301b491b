"""SASL, TLS and re-authentication, with the raw client and against a clock of the test's own."""

from __future__ import annotations

import asyncio
import logging
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from kio.schema.errors import ErrorCode
from scramp import ScramClient

from broker.clock import ManualClock
from broker.cluster import Cluster
from broker.node import Listener
from broker.security.credentials import Credentials
from broker.security.sasl import AuthenticationFailed, SaslServer
from broker.security.tls import server_context
from tests.support.certificates import CertificateAuthority
from tests.support.rawclient import Closed, RawClient

USERS = {"alice": "s3cret", "bob": "other,pass=word", "ümit": "gizli"}
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@asynccontextmanager
async def secured(
    *, mechanisms: tuple[str, ...] = MECHANISMS, tls: ssl.SSLContext | None = None, **config: str
) -> AsyncIterator[Cluster]:
    """A cluster with a SASL listener first and a plain one second."""
    listeners = [Listener(name="SECURE", sasl=True, ssl_context=tls), Listener(name="PLAINTEXT")]
    settings = {key.replace("_", "."): value for key, value in config.items()}
    sasl = SaslServer(mechanisms, Credentials(USERS))
    async with Cluster(listeners=listeners, config=settings, sasl=sasl, clock=ManualClock()) as cluster:
        yield cluster


class Client:
    """A raw connection whose calls run off the loop."""

    def __init__(self, cluster: Cluster, tls: ssl.SSLContext | None = None) -> None:
        self._address = cluster.bootstrap
        self._tls = tls

    async def __aenter__(self) -> Client:
        self.raw = await asyncio.to_thread(RawClient, self._address, timeout=5.0, tls=self._tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.raw.__exit__()

    async def call(self, api: str, version: int, /, **values: Any) -> Any:
        return await asyncio.to_thread(self.raw.call, api, version, **values)

    async def handshake(self, mechanism: str) -> int:
        return int((await self.call("sasl_handshake", 1, mechanism=mechanism)).error_code)

    async def token(self, data: bytes) -> Any:
        return await self.call("sasl_authenticate", 2, auth_bytes=data)

    async def log_in(self, mechanism: str, user: str, password: str) -> Any:
        """The last answer."""
        assert await self.handshake(mechanism) == 0
        if mechanism == "PLAIN":
            return await self.token(f"\0{user}\0{password}".encode())
        client = ScramClient([mechanism], user, password)
        first = await self.token(client.get_client_first().encode())
        assert first.error_code == 0
        client.set_server_first(bytes(first.auth_bytes).decode())
        final = await self.token(client.get_client_final().encode())
        if final.error_code == 0:
            client.set_server_final(bytes(final.auth_bytes).decode())
        return final

    async def works(self) -> bool:
        """Whether ordinary requests are answered."""
        try:
            return bool((await self.call("metadata", 12, topics=[])).brokers)
        except Closed:
            return False


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("user", list(USERS))
async def test_given_the_right_password_when_logging_in_then_requests_are_answered(mechanism: str, user: str) -> None:
    async with secured() as cluster, Client(cluster) as client:
        done = await client.log_in(mechanism, user, USERS[user])
        assert (done.error_code, done.session_lifetime.total_seconds()) == (0, 0)
        assert await client.works()
        (connection,) = cluster.nodes[0].connections
        assert connection.state.principal == f"User:{user}"


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("user", ["alice", "nobody"])
async def test_given_a_wrong_password_or_user_when_logging_in_then_the_answer_is_the_same(
    mechanism: str, user: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with secured() as cluster, Client(cluster) as client:
        done = await client.log_in(mechanism, user, "wrong-guess")
        assert done.error_code == ErrorCode.sasl_authentication_failed
        assert done.error_message == (
            f"Authentication failed during authentication due to invalid credentials with SASL mechanism {mechanism}"
        )
        assert not await client.works()
    assert "wrong-guess" not in caplog.text
    assert "s3cret" not in caplog.text
    credentials = Credentials(USERS)
    shown = repr(cluster.sasl) + repr(credentials) + repr(credentials.scram("SCRAM-SHA-256", "alice"))
    assert "s3cret" not in shown


async def test_given_no_login_when_requests_come_then_only_the_first_three_apis_are_served() -> None:
    async with secured() as cluster:
        for api, version in (("metadata", 12), ("find_coordinator", 4), ("init_producer_id", 4)):
            async with Client(cluster) as client:
                with pytest.raises(Closed):
                    await client.call(api, version)
        async with Client(cluster) as client:
            assert (
                await client.call("api_versions", 3, client_software_name="t", client_software_version="1")
            ).error_code == 0
            offered = await client.call("sasl_handshake", 1, mechanism="GSSAPI")
            assert offered.error_code == ErrorCode.unsupported_sasl_mechanism
            assert offered.mechanisms == MECHANISMS
            assert not await client.works()
        async with Client(cluster) as client:
            with pytest.raises(Closed):  # a token before any handshake
                await client.token(b"\0alice\0s3cret")


async def test_given_no_login_when_a_large_frame_is_announced_then_the_connection_is_closed() -> None:
    async with secured() as cluster, Client(cluster) as client:
        client.raw._socket.sendall(struct.pack(">i", 512 * 1024 + 1))
        with pytest.raises(Closed):
            await asyncio.to_thread(client.raw.receive_frame)


@pytest.mark.parametrize(
    "message",
    [b"", b"\0", b"alice\0s3cret", b"\0alice\0", b"\0\0s3cret", b"bob\0alice\0s3cret", b"\xff\xfe\0a\0b", b"\0a\0b\0c"],
)
def test_given_a_malformed_plain_message_when_it_comes_then_it_fails(message: bytes) -> None:
    exchange = SaslServer(["PLAIN"], Credentials(USERS)).begin("PLAIN")
    with pytest.raises(AuthenticationFailed):
        exchange.step(message)
    assert not exchange.done


@pytest.mark.parametrize(
    "message", [b"", b"n,,", b"x", b"n,,n=alice", b"p=tls-unique,,n=alice,r=x", b"\xff", b"n,,n=alice,r="]
)
def test_given_a_malformed_scram_message_when_it_comes_then_it_fails(message: bytes) -> None:
    exchange = SaslServer(["SCRAM-SHA-256"], Credentials(USERS)).begin("SCRAM-SHA-256")
    with pytest.raises(AuthenticationFailed):
        exchange.step(message)
    with pytest.raises(AuthenticationFailed):
        exchange.step(message)


def test_given_an_unknown_user_when_scram_begins_then_salt_and_iterations_give_nothing_away() -> None:
    credentials = Credentials(USERS)
    known, unknown = credentials.scram("SCRAM-SHA-256", "alice"), credentials.scram("SCRAM-SHA-256", "nobody")
    assert credentials.scram("SCRAM-SHA-256", "nobody") == unknown
    assert (len(unknown.salt), unknown.iterations) == (len(known.salt), known.iterations)
    assert known.iterations >= 4096


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_given_a_session_limit_when_it_ends_then_only_reauthentication_keeps_the_connection(
    mechanism: str,
) -> None:
    async with secured(connections_max_reauth_ms="5000") as cluster:
        clock = cluster.clock
        assert isinstance(clock, ManualClock)
        async with Client(cluster) as client:
            done = await client.log_in(mechanism, "alice", "s3cret")
            assert done.session_lifetime.total_seconds() == 5
            clock.advance(4)
            assert await client.works()
            assert (await client.log_in(mechanism, "alice", "s3cret")).error_code == 0
            clock.advance(4)
            assert await client.works()
            clock.advance(2)
            assert (await client.log_in(mechanism, "alice", "s3cret")).error_code == 0  # late, but before a request
            assert await client.works()
            clock.advance(6)
            assert not await client.works()


async def test_given_a_session_when_another_user_or_mechanism_comes_then_it_ends() -> None:
    async with secured(connections_max_reauth_ms="5000") as cluster:
        async with Client(cluster) as client:
            await client.log_in("PLAIN", "alice", "s3cret")
            done = await client.log_in("PLAIN", "bob", USERS["bob"])
            assert done.error_code == ErrorCode.sasl_authentication_failed
            assert not await client.works()
        async with Client(cluster) as client:
            await client.log_in("PLAIN", "alice", "s3cret")
            with pytest.raises(Closed):
                await client.handshake("SCRAM-SHA-256")


async def test_given_a_listener_without_sasl_when_a_handshake_comes_then_illegal_sasl_state() -> None:
    async with secured() as cluster:
        with await asyncio.to_thread(RawClient, cluster.bootstrap_of("PLAINTEXT")) as raw:
            answer = await asyncio.to_thread(raw.call, "sasl_handshake", 1, mechanism="PLAIN")
            assert answer.error_code == ErrorCode.illegal_sasl_state


async def test_given_tls_when_certificates_are_demanded_then_only_trusted_clients_come_in(tmp_path: Path) -> None:
    authority, stranger = CertificateAuthority(tmp_path / "a"), CertificateAuthority(tmp_path / "b")
    server, client, foreign = authority.issue("server"), authority.issue("client"), stranger.issue("client")

    def client_context(certificate: Path | None, key: Path | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(authority.certificate))
        if certificate is not None:
            context.load_cert_chain(certificate, key)
        return context

    tls = server_context(server.certificate, server.key, authority.certificate)
    async with Cluster(listeners=[Listener(name="SSL", ssl_context=tls)]) as cluster:
        async with Client(cluster, client_context(client.certificate, client.key)) as trusted:
            assert await trusted.works()
            (connection,) = cluster.nodes[0].connections
            assert connection.state.principal == "User:CN=client"
        for context in (client_context(None, None), client_context(foreign.certificate, foreign.key)):
            with pytest.raises((ssl.SSLError, ConnectionError, Closed)):
                async with Client(cluster, context) as untrusted:
                    await untrusted.call("metadata", 12, topics=[])


async def test_given_sasl_over_tls_when_logging_in_then_both_hold(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path)
    server = authority.issue("server")
    tls = server_context(server.certificate, server.key)
    async with secured(tls=tls) as cluster:
        async with Client(cluster, ssl.create_default_context(cafile=str(authority.certificate))) as client:
            assert (await client.log_in("SCRAM-SHA-512", "alice", "s3cret")).error_code == 0
            assert await client.works()
