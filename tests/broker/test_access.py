"""No API may be forgotten: whoever may do nothing learns nothing and changes nothing, by whatever request."""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kio.schema.errors import ErrorCode

from broker.cluster import Cluster
from broker.dispatch import dispatch
from broker.errors import CloseConnection
from broker.node import ConnectionState
from broker.registry import APIS, OPEN, Api, load_apis
from broker.security.acls import Acl
from broker.security.authorizer import Requester
from broker.security.resources import Operation, PatternType, Permission, ResourceType
from tests.broker.calls import batch, client_of, running
from tests.broker.test_strange_requests import frame

NOTHING_TO_AUTHORIZE = {"ApiVersions", "SaslHandshake", "SaslAuthenticate"}
SECRET = b"secret-"
PATIENCE_S = 0.05
ROUNDS = 5


class Refuser:
    """Allows nothing and keeps the questions of each API."""

    def __init__(self) -> None:
        self.asked: dict[str, set[ResourceType]] = {}

    def allows(self, who: Requester, operation: Operation, kind: ResourceType, name: str) -> bool:
        self.asked.setdefault(who.api, set()).add(kind)
        return False

    def allows_any(self, who: Requester, operation: Operation, kind: ResourceType) -> bool:
        return self.allows(who, operation, kind, "")

    def refusal(self, who: Requester, operation: Operation, kind: ResourceType, name: str) -> str:
        return ""


async def _furnish(cluster: Cluster) -> list[uuid.UUID]:
    """Something of every kind that could be learnt or broken: "t" is what random requests ask for by name."""
    topics = [cluster.create_topic(name, 2) for name in ("t", "secret-topic")]
    cluster.acls.create(
        [Acl(ResourceType.TOPIC, "t", PatternType.LITERAL, "User:secret-user", "*", Operation.READ, Permission.ALLOW)]
    )
    async with client_of(cluster) as client:
        for kind in (0, 1):
            await client.call("find_coordinator", 4, key_type=kind, coordinator_keys=["t"])
        for topic in topics:
            assert (await client.produce(topic.name, batch([b"secret-record"]))).error_code == ErrorCode.none
        for name in ("t", "secret-transaction"):
            made = await client.call(
                "init_producer_id",
                4,
                transactional_id=name,
                transaction_timeout=1000,
                producer_id=-1,
                producer_epoch=-1,
            )
            assert made.error_code == ErrorCode.none, made
        row = {"committed_offset": 1, "committed_leader_epoch": -1, "committed_metadata": "secret-metadata"}
        for name in ("t", "secret-group"):
            done = await client.call(
                "offset_commit",
                9,
                group_id=name,
                generation_id_or_member_epoch=-1,
                member_id="",
                topics=[{"name": topic.name, "partitions": [{"partition_index": 0, **row}]} for topic in topics],
            )
            assert {each.partitions[0].error_code for each in done.topics} == {ErrorCode.none}, done
    return [topic.topic_id for topic in topics]


def _state(cluster: Cluster) -> Any:
    """Everything that a request could have changed."""
    groups, transactions = cluster.coordinators.groups, cluster.coordinators.transactions
    return (
        {topic.name: (topic.topic_id, dict(topic.configs), len(topic.partitions)) for topic in cluster.topics},
        {p.name: (p.log.log_start_offset, p.log.log_end_offset, p.leader_epoch) for p in cluster.topics.partitions()},
        sorted(groups.groups),
        {name: dict(groups.offsets.positions(name)) for name in ("t", "secret-group")},
        {
            name: (found.producer_epoch, found.state, found.timeout_ms)
            for name, found in transactions.transactions.items()
        },
        list(cluster.acls),
        dict(cluster.config.dynamic_default),
        {node: dict(values) for node, values in cluster.config.dynamic_by_node.items()},
    )


@contextmanager
def _refused(cluster: Cluster) -> Iterator[Refuser]:
    refuser = Refuser()
    cluster.authorizer = refuser
    yield refuser
    cluster.authorizer = None


@pytest.mark.parametrize("api", load_apis().values(), ids=lambda api: api.name)
def test_given_every_api_when_registered_then_it_declares_what_it_authorizes(api: Api) -> None:
    assert api.asks is not None, f"{api.name}: say what it asks `ctx.access` about (`asks=`), or that it is OPEN"
    assert (api.asks == OPEN) == (api.name in NOTHING_TO_AUTHORIZE)


async def test_given_somebody_without_any_right_when_asking_everything_then_nothing_is_told_or_changed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    rng = random.Random(7)
    async with running(config={"offsets.topic.num.partitions": "1", "auto.create.topics.enable": "true"}) as cluster:
        known = await _furnish(cluster)
        before = _state(cluster)
        with _refused(cluster) as refuser:
            for api in APIS.values():
                for version in api.versions:
                    for _ in _rounds(api, version, refuser):
                        try:
                            data = frame(rng, api.key, version, known)
                        except (ValueError, TypeError):
                            continue  # it can't be encoded
                        answer = await _answer(cluster, data)
                        assert SECRET not in answer, (api.name, version, answer)
                        assert _state(cluster) == before, (api.name, version)
                if api.asks:
                    asked = refuser.asked.get(api.name)
                    assert asked, f"{api.name} asks nobody"
                    assert asked <= api.asks, f"{api.name} asks about what it doesn't declare"
        assert cluster.internal_errors == 0, caplog.text


def _rounds(api: Api, version: int, refuser: Refuser) -> Iterator[int]:
    """A few; at the last version many, if it takes so many random requests until something is asked about."""
    yield from range(ROUNDS)
    for number in range(1000 if api.asks and version == api.versions[-1] else 0):
        if api.name in refuser.asked:
            return
        yield number


async def _answer(cluster: Cluster, data: bytes) -> bytes:
    state = ConnectionState(listener=cluster.nodes[0].listeners[0])
    try:
        async with asyncio.timeout(PATIENCE_S):
            return b"".join(await dispatch(cluster.nodes[0], state, data) or ())
    except (CloseConnection, TimeoutError):
        return b""
    finally:
        for callback in state.on_close:
            callback()


async def test_given_an_api_that_declares_nothing_when_there_is_an_authorizer_then_it_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forgetful = Api(**{**_fields(APIS[60]), "asks": None})
    monkeypatch.setitem(APIS, 60, forgetful)
    async with running() as cluster, client_of(cluster) as client:
        asked = {"include_cluster_authorized_operations": False}
        assert (await client.call("describe_cluster", 0, **asked)).error_code == ErrorCode.none
        with _refused(cluster):
            refused = await client.call("describe_cluster", 0, **asked)
        assert refused.error_code == ErrorCode.cluster_authorization_failed
        assert not refused.brokers


def _fields(api: Api) -> dict[str, Any]:
    return {name: getattr(api, name) for name in Api.__slots__}


async def test_given_no_authorizer_when_operations_are_asked_for_then_all_that_the_resource_has_are_allowed() -> None:
    async with running() as cluster, client_of(cluster) as client:
        cluster.create_topic("t", 1)
        answer = await client.call(
            "metadata",
            10,
            topics=[{"name": "t"}],
            include_topic_authorized_operations=True,
            include_cluster_authorized_operations=True,
        )
        assert answer.cluster_authorized_operations == 8096
        assert answer.topics[0].topic_authorized_operations == 3576
