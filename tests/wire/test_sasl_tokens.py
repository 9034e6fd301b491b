"""OAUTHBEARER on our own connections and on librdkafka's: the same tokens, renewed before sessions end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from pydantic import SecretStr

from replicator.config.librdkafka import client_properties, require_token
from replicator.config.models import ClusterConfig, SecurityConfig
from replicator.config.tokens import token_source
from replicator.errors import AuthenticationError, UnreachableError
from replicator.wire.cluster import ClusterClient
from replicator.wire.connection import open_connection
from replicator.wire.metadata import METADATA, fetch_metadata
from tests.support.token_endpoint import TokenEndpoint
from tests.wire.fakebroker import BearerServer, FakeBroker

ANSWER = {"cluster_id": "c", "controller_id": 0, "brokers": [], "topics": []}


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    with TokenEndpoint("copier", "hush-hush") as serving:
        yield serving


@pytest.fixture
async def broker() -> AsyncIterator[FakeBroker]:
    async with FakeBroker() as serving:
        serving.versions[METADATA] = (0, 12)
        serving.handlers[METADATA] = lambda *_: {
            **ANSWER, "brokers": [{"node_id": 0, "host": "127.0.0.1", "port": serving.port, "rack": None}],
        }  # fmt: skip
        yield serving


def security(endpoint: TokenEndpoint, **given: Any) -> SecurityConfig:
    return SecurityConfig(
        **{
            "protocol": "SASL_PLAINTEXT",
            "mechanism": "OAUTHBEARER",
            "token_endpoint": endpoint.url,
            "client_id": "copier",
            "client_secret": SecretStr("hush-hush"),
            **given,
        }
    )


async def connect(broker: FakeBroker, how: SecurityConfig) -> Any:
    return await open_connection("us", "127.0.0.1", broker.port, security=how, client_id="me")


async def test_given_client_credentials_then_a_connection_shows_their_token_and_the_extensions(
    broker: FakeBroker, endpoint: TokenEndpoint
) -> None:
    server = BearerServer()
    server.attach(broker)
    how = security(endpoint, extensions={"logicalCluster": "lkc-1"})
    first, second = [await connect(broker, how) for _ in range(2)]
    assert (await fetch_metadata(first, [])).cluster_id == "c"
    assert len(set(server.tokens)) == 1, "both show the same token"
    assert len(endpoint.asked) == 1
    assert server.extensions == {"logicalCluster": "lkc-1"}
    first.close()
    second.close()


async def test_given_sessions_that_end_then_they_are_renewed_with_new_tokens_and_no_request_is_dropped(
    broker: FakeBroker, endpoint: TokenEndpoint
) -> None:
    server = BearerServer(lifetime_ms=200)
    server.attach(broker)
    endpoint.lifetime_s = 4.0
    connection = await connect(broker, security(endpoint))
    answers = 0
    async with asyncio.timeout(30):
        while len(set(server.tokens)) < 3:
            views = await asyncio.gather(*(fetch_metadata(connection, []) for _ in range(3)))
            assert [view.cluster_id for view in views] == ["c"] * 3
            answers += 3
            await asyncio.sleep(0.01)
    assert broker.count(METADATA) == answers
    assert broker.connections == 1
    assert len(server.tokens) > 10
    connection.close()


async def test_given_no_new_token_then_requests_go_on_until_the_session_ends_and_then_the_reason_is_told(
    broker: FakeBroker, endpoint: TokenEndpoint
) -> None:
    server = BearerServer(lifetime_ms=3_500)
    server.attach(broker)
    endpoint.lifetime_s = 2.6
    connection = await connect(broker, security(endpoint))
    began = time.monotonic()
    endpoint.answer = lambda: (503, b"")

    async def go_on() -> None:
        while True:
            assert (await fetch_metadata(connection, [])).cluster_id == "c"
            await asyncio.sleep(0.02)

    with pytest.raises(UnreachableError, match=r"cluster us: can't log in to .* again: .* answers 503"):
        await asyncio.wait_for(go_on(), 20)
    assert time.monotonic() - began > 3.0, "the session was used to its end"


async def test_given_a_token_that_the_broker_refuses_then_it_is_said_without_the_token(
    broker: FakeBroker, endpoint: TokenEndpoint
) -> None:
    server = BearerServer()
    server.attach(broker)
    how = security(endpoint)
    source = token_source(how)
    assert source is not None
    token = (await asyncio.to_thread(source.token)).text
    server.refused.add(token)
    with pytest.raises(AuthenticationError, match=r"status invalid_token, scope kafka; check security\.client_id"):
        await connect(broker, how)
    server.challenge = b'{"status":"' + token.encode() + b'"}'  # a broker that repeats what it was shown
    with pytest.raises(AuthenticationError) as caught:
        await connect(broker, how)
    assert token[:200] not in str(caught.value)
    said = {"error_code": 58, "error_message": f"bad token {token}", "auth_bytes": b""}
    broker.handlers[36] = lambda *_: said
    with pytest.raises(AuthenticationError, match="refused OAUTHBEARER authentication: bad token …") as caught:
        await connect(broker, how)
    assert token not in str(caught.value)


async def test_given_a_wrong_secret_then_the_cluster_and_the_reason_are_named_and_no_connection_is_made(
    broker: FakeBroker, endpoint: TokenEndpoint
) -> None:
    how = security(endpoint, client_secret=SecretStr("not-it"))
    client = ClusterClient("us", ClusterConfig(bootstrap_servers=f"127.0.0.1:{broker.port}", security=how), "me")
    with pytest.raises(AuthenticationError, match=r"cluster us: can't log in .*answers 401: invalid_client") as caught:
        await client.any_connection()
    assert "not-it" not in str(caught.value)
    assert broker.connections == 0
    await client.close()


# librdkafka


async def test_given_librdkafkas_clients_then_they_log_in_with_our_tokens_and_again_before_these_end(
    broker: FakeBroker, endpoint: TokenEndpoint
) -> None:
    server = BearerServer(lifetime_ms=1500)
    server.attach(broker)
    endpoint.lifetime_s = 4.0
    cluster = ClusterConfig(
        bootstrap_servers=f"127.0.0.1:{broker.port}", security=security(endpoint, extensions={"logicalCluster": "l"})
    )
    properties = client_properties(cluster, client_id="me")

    def use() -> None:
        admin = AdminClient(properties)
        deadline = time.monotonic() + 20
        while len(set(server.tokens)) < 3 and time.monotonic() < deadline:
            assert admin.list_topics(timeout=5).cluster_id == "c"
            time.sleep(0.05)

    await asyncio.to_thread(use)
    assert len(set(server.tokens)) >= 3
    assert server.extensions == {"logicalCluster": "l"}


async def test_given_no_token_then_a_client_of_librdkafka_is_not_even_made_and_it_is_said_at_once(
    endpoint: TokenEndpoint,
) -> None:
    how = security(endpoint, client_secret=SecretStr("not-it-either"))
    properties = client_properties(ClusterConfig(bootstrap_servers="127.0.0.1:1", security=how), client_id="me")
    began = time.monotonic()
    with pytest.raises(AuthenticationError, match=r"cluster us: can't log in: .*invalid_client") as caught:
        await asyncio.to_thread(require_token, properties, "us")
    assert time.monotonic() - began < 3
    assert "not-it-either" not in str(caught.value)
    assert "hush" not in repr(properties)


@pytest.mark.slow  # confluent-kafka waits 10 s
async def test_given_a_client_that_is_made_nevertheless_then_its_error_does_not_hold_the_secret(
    endpoint: TokenEndpoint,
) -> None:
    how = security(endpoint, client_secret=SecretStr("hidden-here"))
    properties = client_properties(ClusterConfig(bootstrap_servers="127.0.0.1:1", security=how), client_id="me")
    with pytest.raises(KafkaException) as caught:
        await asyncio.to_thread(AdminClient, properties)
    assert "hidden-here" not in str(caught.value)


def test_given_the_same_settings_twice_then_tokens_are_shared_and_others_have_their_own(
    endpoint: TokenEndpoint,
) -> None:
    one = security(endpoint)
    assert token_source(one) is token_source(security(endpoint))
    assert token_source(one) is not token_source(security(endpoint, scope="other"))
    assert token_source(one) is not token_source(security(endpoint, client_secret=SecretStr("other")))
    assert token_source(SecurityConfig(protocol="SASL_SSL", mechanism="PLAIN")) is None
