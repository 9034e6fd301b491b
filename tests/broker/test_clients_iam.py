"""Clients that log in by IAM, unmodified: Amazon's Java library; the Python signer through librdkafka and aiokafka."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.abc import AbstractTokenProvider
from confluent_kafka import Consumer, Producer

from broker.file_cluster import FileCluster
from tests.broker.test_file_cluster import ALICE, KEY, REGION, SECRET, policy, token
from tests.support.certificates import CertificateAuthority
from tests.support.file_bundled import FileBundled
from tests.support.javatools import iam_auth_jar, run_tool
from tests.support.rawclient import RawClient
from tests.support.waiting import wait_for

CLUSTER = "arn:aws:kafka:us-east-1:123456789012:cluster/one/uuid"


class World:
    """A cluster with MSK's listener for IAM, and Alice, whose rights the test gives."""

    def __init__(self, directory: Path) -> None:
        self.authority = CertificateAuthority(directory / "ca")
        server = self.authority.issue("server")
        self._credentials = directory / "credentials.json"
        self.allow("kafka-cluster:*")
        self.content: dict[str, Any] = {
            "control": "127.0.0.1:0",
            "nodes": [{"id": 1}],
            "listeners": [
                {"name": "CLIENT_IAM", "protocol": "SASL_SSL", "mechanisms": ["AWS_MSK_IAM", "OAUTHBEARER"]},
            ],
            "tls": {"cert": str(server.certificate), "key": str(server.key)},
            "iam": {"region": REGION, "cluster_arn": CLUSTER, "credentials": str(self._credentials)},
            "config": {"offsets.topic.num.partitions": "2", "group.initial.rebalance.delay.ms": "0"},
        }
        self.file = directory / "cluster.json"
        self.file.write_text(json.dumps(self.content))
        self.properties = directory / "client.properties"
        self.properties.write_text(
            "security.protocol=SASL_SSL\nsasl.mechanism=AWS_MSK_IAM\n"
            "sasl.jaas.config=software.amazon.msk.auth.iam.IAMLoginModule required;\n"
            "sasl.client.callback.handler.class=software.amazon.msk.auth.iam.IAMClientCallbackHandler\n"
            f"ssl.truststore.type=PEM\nssl.truststore.location={self.authority.certificate}\n"
        )

    def allow(self, *actions: str) -> None:
        """Give Alice these actions, on everything."""
        key = {"access_key_id": KEY, "secret_access_key": SECRET, "principal_arn": ALICE}
        alice = {"arn": ALICE, "policies": [policy(*actions)] if actions else []}
        self._credentials.write_text(json.dumps({"credentials": [key], "identities": [alice]}))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("iam"))


@pytest.fixture(scope="module")
def bootstrap(world: World) -> Iterator[str]:
    with FileBundled(world.file) as cluster:
        yield cluster.bootstrap["CLIENT_IAM"]


def java(
    world: World, main: str, *arguments: str, stdin: str | None = None, check: bool = True, secret: str = SECRET
) -> Any:
    """A tool of Kafka's with the library beside it, as Alice."""
    keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": REGION}
    return run_tool(main, *arguments, stdin=stdin, env=keys, check=check, more=[iam_auth_jar()])


@pytest.mark.kafka
def test_given_amazons_java_library_when_the_tools_create_produce_and_consume_then_it_is_satisfied(
    world: World, bootstrap: str
) -> None:
    where = ("--bootstrap-server", bootstrap)
    config = ("--command-config", str(world.properties))
    made = java(world, "org.apache.kafka.tools.TopicCommand", *where, *config, "--create", "--topic", "java")
    assert "Created topic java." in made.stdout
    producing = ("--producer.config", str(world.properties), "--topic", "java")
    java(world, "org.apache.kafka.tools.ConsoleProducer", *where, *producing, stdin="one\ntwo\n")
    consuming = (
        "--consumer.config",
        str(world.properties),
        "--topic",
        "java",
        "--from-beginning",
        "--max-messages",
        "2",
    )
    read = java(world, "org.apache.kafka.tools.consumer.ConsoleConsumer", *where, *consuming)
    assert read.stdout.splitlines()[:2] == ["one", "two"]
    refused = java(
        world, "org.apache.kafka.tools.TopicCommand", *where, *config, "--list", check=False, secret="guessed"
    )
    assert refused.returncode != 0
    assert "invalid credentials with SASL mechanism AWS_MSK_IAM" in refused.stdout + refused.stderr


def test_given_the_python_signer_when_librdkafka_writes_and_reads_then_it_is_satisfied(
    world: World, bootstrap: str
) -> None:
    settings = {
        "bootstrap.servers": bootstrap,
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": str(world.authority.certificate),
        "sasl.mechanism": "OAUTHBEARER",
        "oauth_cb": lambda _: token(),
    }
    producer = Producer(settings | {"enable.idempotence": True, "allow.auto.create.topics": True})
    producer.produce("librdkafka", b"x")
    assert producer.flush(20) == 0
    consumer = Consumer(settings | {"group.id": "g", "auto.offset.reset": "earliest"})
    consumer.subscribe(["librdkafka"])
    read: list[bytes] = []

    def arrived() -> bool:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            read.append(message.value() or b"")
        return bool(read)

    wait_for(arrived, within=20, what="the record")
    consumer.close()
    assert read == [b"x"]


class Tokens(AbstractTokenProvider):  # type: ignore[misc]
    """The Python signer, as aiokafka asks it."""

    async def token(self) -> str:
        return (await asyncio.to_thread(token))[0]


async def test_given_the_python_signer_when_aiokafka_writes_and_reads_then_it_is_satisfied(
    world: World, bootstrap: str
) -> None:
    settings: dict[str, Any] = {
        "bootstrap_servers": bootstrap,
        "security_protocol": "SASL_SSL",
        "ssl_context": ssl.create_default_context(cafile=str(world.authority.certificate)),
        "sasl_mechanism": "OAUTHBEARER",
        "sasl_oauth_token_provider": Tokens(),
    }
    async with AIOKafkaProducer(**settings) as producer:
        await producer.send_and_wait("aiokafka", b"y")
    async with AIOKafkaConsumer("aiokafka", **settings, auto_offset_reset="earliest") as consumer:
        record = await asyncio.wait_for(consumer.getone(), 20)
        assert record.value == b"y"


@asynccontextmanager
async def short_sessions(world: World, directory: Path) -> AsyncIterator[FileCluster]:
    """Log-ins are good for two seconds. In the end nobody was cut off for being late, and all have renewed theirs."""
    content = world.content | {"config": world.content["config"] | {"connections.max.reauth.ms": "2000"}}
    file = directory / "cluster.json"
    file.write_text(json.dumps(content))
    made = FileCluster(file)
    async with made.cluster:
        made.cluster.create_topic("renewed", 1, 1)
        yield made
        counts = made.cluster.nodes[1].counts
        log_ins = counts.log_ins("CLIENT_IAM")
        assert log_ins.succeeded.count >= counts.connections_made.count + 2
        assert (log_ins.failed.count, made.cluster.refused_requests) == (0, 0)


@pytest.mark.slow
async def test_given_sessions_that_end_when_librdkafka_goes_on_writing_then_it_renews_them(
    world: World, tmp_path: Path
) -> None:
    def write() -> list[object]:
        settings = {
            "bootstrap.servers": made.bootstrap()["CLIENT_IAM"],
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(world.authority.certificate),
            "sasl.mechanism": "OAUTHBEARER",
            "oauth_cb": lambda _: token(),
        }
        producer = Producer(settings)
        errors: list[object] = []
        end = time.monotonic() + 6
        while time.monotonic() < end:
            producer.produce("renewed", b"x", on_delivery=lambda error, _: errors.append(error))
            producer.poll(0.01)
        assert producer.flush(20) == 0
        return errors

    async with short_sessions(world, tmp_path) as made:
        errors = await asyncio.to_thread(write)
        assert set(errors) == {None}
        assert made.cluster.log("renewed", 0).log_end_offset == len(errors)


@pytest.mark.slow
@pytest.mark.kafka
async def test_given_sessions_that_end_when_amazons_java_library_goes_on_writing_then_it_renews_them(
    world: World, tmp_path: Path
) -> None:
    async with short_sessions(world, tmp_path) as made:
        where = ("--producer-props", f"bootstrap.servers={made.bootstrap()['CLIENT_IAM']}")
        config = ("--producer.config", str(world.properties), "--topic", "renewed")
        amount = ("--num-records", "600", "--record-size", "10", "--throughput", "100")
        tool = "org.apache.kafka.tools.ProducerPerformance"
        said = await asyncio.to_thread(java, world, tool, *where, *config, *amount)
        assert "600 records sent" in said.stdout
        assert made.cluster.log("renewed", 0).log_end_offset == 600


@pytest.mark.slow
async def test_given_two_hundred_connections_at_once_then_all_log_in_and_each_is_served(
    world: World, bootstrap: str
) -> None:
    authority = ssl.create_default_context(cafile=str(world.authority.certificate))
    shown = token()[0]

    async def one() -> int:
        def talk() -> int:
            with RawClient(bootstrap, timeout=60.0, tls=authority) as raw:
                assert raw.call("sasl_handshake", 1, mechanism="OAUTHBEARER").error_code == 0
                message = f"n,,\x01auth=Bearer {shown}\x01\x01".encode()
                assert raw.call("sasl_authenticate", 2, auth_bytes=message).error_code == 0
                together.wait(60)
                return len(raw.call("metadata", 12, topics=[]).brokers)

        return await asyncio.get_running_loop().run_in_executor(pool, talk)

    together = threading.Barrier(200)  # all of them are open at once
    with ThreadPoolExecutor(200) as pool:
        assert await asyncio.gather(*(one() for _ in range(200))) == [1] * 200
