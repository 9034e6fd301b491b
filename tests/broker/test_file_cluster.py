"""Clusters of a file: several listeners, an address for each node, log-ins by IAM, and changes while they run."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from aws_msk_iam_sasl_signer import MSKAuthTokenProvider
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import CredentialProvider, Credentials
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from kio.schema.errors import ErrorCode
from scramp import ScramClient

from broker.cluster_file import ClusterFileError
from broker.file_cluster import FileCluster
from broker.security.scram_store import SCRAM_SHA_512, keys_of_password
from tests.broker.test_security import Client
from tests.support.certificates import CertificateAuthority
from tests.support.eventually import until
from tests.support.waiting import wait_for

ALICE = "arn:aws:iam::123456789012:user/alice"
KEY, SECRET = "AKIAALICE0000000", "a-secret-of-alice"
REGION = "us-east-1"


class Provider(CredentialProvider):  # type: ignore[misc]
    """Alice's credentials, or what somebody else makes of them."""

    METHOD = "test"

    def __init__(self, secret: str = SECRET) -> None:
        self._secret = secret

    def load(self) -> Credentials:
        return Credentials(KEY, self._secret)


def token(secret: str = SECRET) -> tuple[str, float]:
    """As the Python signer gives it."""
    made, expires_ms = MSKAuthTokenProvider.generate_auth_token_from_credentials_provider(REGION, Provider(secret))
    return made, expires_ms / 1000


def payload(host: str, session_token: str | None = None) -> bytes:
    """The first message of AWS_MSK_IAM."""
    request = AWSRequest("GET", f"https://{host}/?Action=kafka-cluster%3AConnect")
    SigV4QueryAuth(Credentials(KEY, SECRET, session_token), "kafka-cluster", REGION, expires=900).add_auth(request)
    signed = {name.lower(): value for name, value in parse_qsl(urlsplit(str(request.url)).query)}
    return json.dumps({"version": "2020_10_22", "host": host, "user-agent": "test"} | signed).encode()


def policy(*actions: str, resource: str = "*") -> dict[str, Any]:
    """One that allows these."""
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": resource}
    return {"Version": "2012-10-17", "Statement": [statement]}


class World:
    """A file, its neighbours, and what is in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "cluster.json"
        (directory / "credentials.json").write_text(
            json.dumps(
                {
                    "credentials": [{"access_key_id": KEY, "secret_access_key": SECRET, "principal_arn": ALICE}],
                    "identities": [{"arn": ALICE, "policies": [policy("kafka-cluster:*")]}],
                }
            )
        )
        self.content: dict[str, Any] = {
            "nodes": [{"id": 1, "host": "127.0.7.1", "rack": "az1"}, {"id": 2, "host": "127.0.7.2", "rack": "az2"}],
            "listeners": [
                {"name": "CLIENT", "port": 0},
                {"name": "SCRAM", "protocol": "SASL_PLAINTEXT", "mechanisms": ["SCRAM-SHA-512"]},
                {"name": "IAM", "protocol": "SASL_PLAINTEXT", "mechanisms": ["AWS_MSK_IAM", "OAUTHBEARER"]},
            ],
            "iam": {
                "region": REGION,
                "cluster_arn": "arn:aws:kafka:us-east-1:123456789012:cluster/one/uuid",
                "credentials": str(directory / "credentials.json"),
            },
            "scram_users": {"bob": {"password": "of-bob"}},
            "config": {"num.partitions": "3", "allow.everyone.if.no.acl.found": "true"},
        }
        self.write()

    def write(self, **changes: Any) -> None:
        self.content |= changes
        self.path.write_text(json.dumps(self.content))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[FileCluster]:
        made = FileCluster(self.path)
        async with made.cluster:
            yield made


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def client(made: FileCluster, listener: str, node: int = 0) -> Client:
    """A raw client of one of the nodes."""
    one = Client(made.cluster)
    one._address = made.bootstrap()[listener].split(",")[node]
    return one


async def test_given_nodes_with_addresses_of_their_own_then_each_listens_there_and_says_so(world: World) -> None:
    async with world.running() as made:
        hosts = [address.rpartition(":")[0] for address in made.bootstrap()["CLIENT"].split(",")]
        assert hosts == ["127.0.7.1", "127.0.7.2"]
        admin = AdminClient({"bootstrap.servers": made.bootstrap()["CLIENT"]})
        brokers = (await asyncio.to_thread(admin.list_topics, timeout=10)).brokers
        assert {node: broker.host for node, broker in brokers.items()} == {1: "127.0.7.1", 2: "127.0.7.2"}


async def test_given_several_listeners_then_each_has_its_own_mechanisms(world: World) -> None:
    async with world.running() as made:
        async with client(made, "SCRAM") as one:
            answer = await one.call("sasl_handshake", 1, mechanism="AWS_MSK_IAM")
            assert (answer.error_code, answer.mechanisms) == (ErrorCode.unsupported_sasl_mechanism, ("SCRAM-SHA-512",))
        async with client(made, "SCRAM") as one:
            assert (await one.log_in("SCRAM-SHA-512", "bob", "of-bob")).error_code == 0
        async with client(made, "IAM") as one:
            assert await one.handshake("SCRAM-SHA-512") == ErrorCode.unsupported_sasl_mechanism


async def test_given_the_payload_of_the_java_library_then_the_signer_is_let_in_on_the_node_it_was_signed_for(
    world: World,
) -> None:
    async with world.running() as made:
        async with client(made, "IAM", 1) as one:
            assert await one.handshake("AWS_MSK_IAM") == 0
            answer = await one.token(payload("127.0.7.2"))
            assert answer.error_code == 0
            assert json.loads(bytes(answer.auth_bytes))["version"] == "2020_10_22"
            assert 890 < answer.session_lifetime.total_seconds() <= 900
            assert await one.works()
            (connection,) = made.cluster.nodes[2].connections
            assert connection.state.principal == f"User:{ALICE}"
        async with client(made, "IAM", 0) as one:
            assert await one.handshake("AWS_MSK_IAM") == 0
            assert (await one.token(payload("127.0.7.2"))).error_code == ErrorCode.sasl_authentication_failed
            assert not await one.works()
        assert made.cluster.failed_authentications == 1


@pytest.mark.parametrize(
    ("limit_ms", "credential_s", "session_s"),
    [(0, None, 900), (60_000, None, 60), (0, 30, 30), (60_000, 30, 30), (20_000, 30, 20), (3_600_000, None, 900)],
)
async def test_given_limits_then_a_session_ends_with_the_first_of_them(
    world: World, limit_ms: int, credential_s: int | None, session_s: int
) -> None:
    """The signature's end, the credential's end, connections.max.reauth.ms."""
    file = world.directory / "credentials.json"
    content = json.loads(file.read_text())
    if credential_s is not None:
        expires = (datetime.now(UTC) + timedelta(seconds=credential_s)).isoformat()
        content["credentials"][0] |= {"session_token": "a-session", "expires": expires}
    file.write_text(json.dumps(content))
    world.write(config=world.content["config"] | {"connections.max.reauth.ms": str(limit_ms)})
    async with world.running() as made, client(made, "IAM") as one:
        assert await one.handshake("AWS_MSK_IAM") == 0
        answer = await one.token(payload("127.0.7.1", "a-session" if credential_s is not None else None))
        assert answer.error_code == 0
        assert session_s - 10 < answer.session_lifetime.total_seconds() <= session_s


async def test_given_no_right_to_connect_then_the_log_in_fails_and_the_log_names_the_action(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file = world.directory / "credentials.json"
    content = json.loads(file.read_text())
    content["identities"] = [{"arn": ALICE, "policies": [policy("kafka-cluster:ReadData")]}]
    file.write_text(json.dumps(content))
    async with world.running() as made, client(made, "IAM") as one:
        assert await one.handshake("AWS_MSK_IAM") == 0
        assert (await one.token(payload("127.0.7.1"))).error_code == ErrorCode.sasl_authentication_failed
    assert "is refused: kafka-cluster:Connect on arn:aws:kafka:us-east-1:123456789012:cluster/one/uuid" in caplog.text


async def test_given_a_user_with_a_principals_arn_for_a_name_then_no_password_lets_them_in(world: World) -> None:
    world.write(scram_users={ALICE: {"password": "x"}})
    async with world.running() as made, client(made, "SCRAM") as one:
        assert await one.handshake("SCRAM-SHA-512") == 0
        first = ScramClient(["SCRAM-SHA-512"], ALICE, "x").get_client_first()
        assert (await one.token(first.encode())).error_code == ErrorCode.sasl_authentication_failed


async def test_given_keys_for_a_password_then_it_lets_the_user_in_and_is_nowhere(world: World) -> None:
    keys = keys_of_password(SCRAM_SHA_512, "of-dora", b"a-salt-of-dora-s")
    parts = {"salt": keys.salt, "stored_key": keys.stored_key, "server_key": keys.server_key}
    entry: dict[str, Any] = {name: base64.b64encode(part).decode() for name, part in parts.items()}
    world.write(scram_users={"dora": {"keys": {"SCRAM-SHA-512": entry}}})
    async with world.running() as made:
        for password, code in (("of-dora", 0), ("of-bob", ErrorCode.sasl_authentication_failed)):
            async with client(made, "SCRAM") as one:
                assert (await one.log_in("SCRAM-SHA-512", "dora", password)).error_code == code
        both = {"password": "x", "keys": {"SCRAM-SHA-512": entry}}
        for wrong in (
            both,
            {},
            {"keys": {"SCRAM-SHA-256": entry}},
            {"keys": {"SCRAM-SHA-512": entry | {"iterations": 1}}},
        ):
            world.write(scram_users={"dora": wrong})
            with pytest.raises(ClusterFileError, match="dora") as refused:
                await made.reload()
            assert entry["stored_key"] not in str(refused.value)


async def test_given_a_token_then_librdkafka_writes_with_it_and_a_forged_one_is_refused_without_being_shown(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def write(secret: str) -> str:
        said: list[str] = []
        producer = Producer(
            {
                "bootstrap.servers": made.bootstrap()["IAM"],
                "security.protocol": "SASL_PLAINTEXT",
                "sasl.mechanism": "OAUTHBEARER",
                "oauth_cb": lambda _: token(secret),
                "error_cb": lambda error: said.append(str(error)),
                "message.timeout.ms": 10_000,
            }
        )
        producer.produce("orders", b"x", on_delivery=lambda error, _: said.append("written" if not error else "not"))
        wait_for(lambda: bool(producer.poll(0.1)) or bool(said), within=15, what="an answer")
        return said[0]

    async with world.running() as made:
        made.cluster.create_topic("orders", 1, 1)
        assert await asyncio.to_thread(write, SECRET) == "written"
        assert "authentication" in (await asyncio.to_thread(write, "guessed")).lower()
        assert made.cluster.failed_authentications >= 1
    assert "does not match the signature you provided" in caplog.text
    assert token("guessed")[0][:60] not in caplog.text


@pytest.mark.parametrize(
    "message",
    [b"", b"n,,", b"\xff", b"n,,\x01auth=Bearer \x01\x01", b"y,,\x01auth=Bearer x\x01\x01",
     b"n,,\x01auth=Basic x\x01\x01",
     b"n,,\x01auth=Bearer x\x01auth=Bearer y\x01\x01", b"n,,\x01auth=Bearer " + b"A" * 40_000 + b"\x01\x01"],
)  # fmt: skip
async def test_given_nonsense_for_a_token_then_refused_and_the_broker_goes_on(world: World, message: bytes) -> None:
    async with world.running() as made:
        async with client(made, "IAM") as one:
            assert await one.handshake("OAUTHBEARER") == 0
            answer = await one.token(message)
            if answer.error_code == 0:  # RFC 7628: what is wrong with the token, and then the failure
                assert json.loads(bytes(answer.auth_bytes)) == {"status": "invalid_token"}
                answer = await one.token(b"\x01")
            assert answer.error_code == ErrorCode.sasl_authentication_failed
            assert not await one.works()
        async with client(made, "CLIENT") as one:
            assert await one.works()


async def test_given_a_changed_file_when_reloaded_then_users_properties_and_nodes_are_others(world: World) -> None:
    async with world.running() as made:
        nodes = [*world.content["nodes"], {"id": 3, "host": "127.0.7.3", "rack": "az3"}]
        world.write(
            nodes=nodes,
            scram_users={"eve": {"password": "of-eve"}},
            config=world.content["config"] | {"num.partitions": "5"},
        )
        await made.reload()
        assert len(made.bootstrap()["CLIENT"].split(",")) == 3
        async with client(made, "SCRAM", 2) as one:
            assert (await one.log_in("SCRAM-SHA-512", "eve", "of-eve")).error_code == 0
        async with client(made, "SCRAM") as one:
            assert (await one.log_in("SCRAM-SHA-512", "bob", "of-bob")).error_code != 0
        assert len(made.cluster.create_topic("five").partitions) == 5
        assert made.cluster.create_topic("wide", 1, 3).partitions[0].replicas


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"nodes": [{"id": 1, "host": "127.0.7.1", "rack": "az1"}]}, "node 2"),
        ({"listeners": [{"name": "CLIENT"}]}, "listeners"),
        ({"data": "/elsewhere"}, "data"),
        ({"config": {"super.users": "User:eve", "allow.everyone.if.no.acl.found": "true"}}, "super.users"),
        ({"config": {"no.such.thing": "1", "allow.everyone.if.no.acl.found": "true"}}, "no.such.thing"),
        ({"scram_users": {"bob": {"password": ["of-bob"]}}}, "scram_users.bob.password"),
        ({"nodes": []}, "nodes"),
    ],
)
async def test_given_what_can_not_change_or_is_wrong_when_reloaded_then_said_and_nothing_has_changed(
    world: World, changes: dict[str, Any], said: str
) -> None:
    async with world.running() as made:
        before = made.file
        world.write(**changes)
        with pytest.raises(ClusterFileError, match=said) as refused:
            await made.reload()
        assert made.file is before
        assert "of-bob" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"listeners": [{"name": "A", "protocol": "SSL"}]}, "needs tls"),
        ({"listeners": [{"name": "A", "protocol": "SASL_PLAINTEXT"}]}, "mechanisms"),
        ({"listeners": [{"name": "A"}, {"name": "A"}]}, "two listeners"),
        ({"iam": None}, "need iam"),
        ({"listeners": [{"name": "A", "protocol": "SASL_PLAINTEXT", "mechanisms": ["GSSAPI"]}]}, "GSSAPI"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_given_a_file_that_is_not_valid_then_said_where(world: World, changes: dict[str, Any], said: str) -> None:
    world.write(**changes)
    with pytest.raises(ClusterFileError, match=said):
        FileCluster(world.path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b" \n", "is empty"),
        (b'{"nodes": [\n  {"id": 1,}]}', "at line 2"),
        (b"\xff", "UnicodeDecodeError"),
        (b"[" * 100_000, "RecursionError"),
        (b"[]", "the file"),
    ],
)
def test_given_a_file_that_is_no_json_object_then_said_where(world: World, content: bytes, said: str) -> None:
    world.path.write_bytes(content)
    with pytest.raises(ClusterFileError, match=said):
        FileCluster(world.path)


async def test_given_certificates_that_are_requested_then_clients_may_show_them(world: World, tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path / "ca")
    server, own = authority.issue("server"), authority.issue("carol")
    tls = {"cert": str(server.certificate), "key": str(server.key), "ca": str(authority.certificate)}
    listener = {"name": "SECURE", "protocol": "SSL", "client_certificates": "requested"}
    world.write(nodes=[{"id": 1}], listeners=[listener], iam=None, tls=tls)
    async with world.running() as made:
        principals = []
        for identity in (None, own):
            context = ssl.create_default_context(cafile=str(authority.certificate))
            if identity is not None:
                context.load_cert_chain(identity.certificate, identity.key)
            one = client(made, "SECURE")
            one._tls = context
            async with one:
                assert await one.works()
                principals.append({connection.state.principal for connection in made.cluster.nodes[1].connections})
            await until(lambda: not made.cluster.nodes[1].connections, "it is gone")
        assert principals == [{"User:ANONYMOUS"}, {"User:CN=carol"}]
        renewed = authority.issue("renewed")
        world.write(tls=tls | {"cert": str(renewed.certificate), "key": str(renewed.key)})
        await made.reload()


async def test_given_another_authority_when_reloaded_then_the_former_ones_clients_are_refused(
    world: World, tmp_path: Path
) -> None:
    former, later = CertificateAuthority(tmp_path / "former"), CertificateAuthority(tmp_path / "later")

    def material(authority: CertificateAuthority, name: str) -> dict[str, str]:
        own = authority.issue(name)
        return {"cert": str(own.certificate), "key": str(own.key), "ca": str(authority.certificate)}

    async def comes_in(authority: CertificateAuthority, server: CertificateAuthority) -> bool:
        context = ssl.create_default_context(cafile=str(server.certificate))
        own = authority.issue("carol")
        context.load_cert_chain(own.certificate, own.key)
        try:
            one = Client(made.cluster, context)
            one._address = made.bootstrap()["SECURE"]
            async with one:
                return await one.works()
        except (ConnectionError, ssl.SSLError):
            return False

    listener = {"name": "SECURE", "protocol": "SSL", "client_certificates": "required"}
    world.write(nodes=[{"id": 1}], listeners=[listener], iam=None, tls=material(former, "one"))
    async with world.running() as made:
        assert [await comes_in(who, former) for who in (former, later)] == [True, False]
        world.write(tls=material(later, "two"))
        await made.reload()
        assert [await comes_in(who, later) for who in (former, later)] == [False, True]
        assert not await comes_in(later, former)  # the certificate is another one
        (tmp_path / "broken.pem").write_text("-----BEGIN CERTIFICATE-----")
        world.write(tls=material(former, "three") | {"cert": str(tmp_path / "broken.pem")})
        with pytest.raises(ClusterFileError, match="tls can't be used"):
            await made.reload()
        assert [await comes_in(who, later) for who in (former, later)] == [False, True]


def test_given_the_command_when_it_is_told_to_reload_then_its_line_and_its_port_say_so(world: World) -> None:
    world.write(control="127.0.0.1:0", data=str(world.directory / "data"))
    with subprocess.Popen(
        [sys.executable, "-m", "broker.cli", "run", "--file", str(world.path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            assert set(ready["bootstrap"]) == {"CLIENT", "SCRAM", "IAM"}
            world.write(scram_users={"eve": {"password": "of-eve"}})
            os.kill(process.pid, signal.SIGHUP)
            address = ready["bootstrap"]["SCRAM"].split(",")[0]
            wait_for(lambda: _as_scram(address, "eve", "of-eve"), within=15, what="the new user is known")
        finally:
            process.terminate()
            process.communicate(timeout=15)


def _as_scram(address: str, user: str, password: str) -> bool:
    async def attempt() -> bool:
        one = Client.__new__(Client)
        one._address, one._tls = address, None
        async with one:
            return bool((await one.log_in("SCRAM-SHA-512", user, password)).error_code == 0)

    return asyncio.run(attempt())
