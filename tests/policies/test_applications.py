"""Producers and consumers under policies/producer.json and consumer.json: enough, and nothing to spare."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import NewTopic

from replicator.config.librdkafka import client_properties
from replicator.config.models import ClusterConfig, SecurityConfig
from tests.support.policed import ACCOUNT, REGION, Policed, principal, write_profiles
from tests.support.policies import document, each_action, without
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

VALUES = {"Region": REGION, "Account": ACCOUNT, "ClusterName": "one", "ClusterUuid": "uuid-of-one"}
VALUES |= {"Topic": "orders", "SourceAlias": "us", "Group": "shop"}
TOPICS = ("orders", "us.orders")
DONE = "done"
LACKING = {
    f"{name}-without-{action.removeprefix('kafka-cluster:')}": (name, sid, action)
    for name in ("producer", "consumer")
    for sid, action in each_action(name)
}
ROLES = {"producer": "producer", "consumer": "consumer", **{role: name for role, (name, *_) in LACKING.items()}}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """By role what came of its work: DONE, or how the broker's log says why not. All at the same time."""
    directory = tmp_path_factory.mktemp("applications")
    write_profiles(directory / "profiles", ROLES)
    with pytest.MonkeyPatch.context() as patch, Policed(directory, "one") as cluster:
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(directory / "profiles"))
        patch.setenv("AWS_CONFIG_FILE", str(directory / "none"))
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        admin = cluster.admin()
        for made in admin.create_topics([NewTopic(topic, 1, 1) for topic in TOPICS]).values():
            made.result(20)
        inside = Producer(cluster.client_config)
        for topic in TOPICS:
            inside.produce(topic, b"before")
        assert inside.flush(20) == 0
        allowed = {name: document(name, VALUES)["Statement"] for name in ("producer", "consumer")}
        roles = {role: allowed[name] for role, name in ROLES.items()}
        roles |= {role: without(allowed[name], sid, action) for role, (name, sid, action) in LACKING.items()}
        cluster.allow(roles)
        work = {"producer": produces, "consumer": consumes}
        with ThreadPoolExecutor(len(ROLES)) as threads:
            found = {role: threads.submit(work[name], cluster, role) for role, name in ROLES.items()}
            yield {role: future.result() for role, future in found.items()}


def properties(cluster: Policed, role: str) -> dict[str, Any]:
    security = SecurityConfig(**cluster.security(role))  # type: ignore[arg-type]
    config = ClusterConfig(bootstrap_servers=cluster.bootstrap, security=security)
    return dict(client_properties(config, client_id=role))


def refusals(cluster: Policed, role: str) -> str:
    return "\n".join(line for line in cluster.log().splitlines() if f"{principal(role)} " in line)


def until(done: Any, cluster: Policed, role: str) -> str:
    """DONE, or what the broker has refused this role."""

    def over() -> bool:
        return bool(done()) or bool(refusals(cluster, role))

    wait_for(over, within=60, every=0.2, what=f"{role} is done or refused")
    return refusals(cluster, role) or DONE


def produces(cluster: Policed, role: str) -> str:
    """Writes a record idempotently."""
    producer = Producer({**properties(cluster, role), "enable.idempotence": True})
    written: list[bool] = []
    with contextlib.suppress(KafkaException):  # it was quick to be refused a producer id; the broker says why
        producer.produce("orders", b"x", on_delivery=lambda error, _: written.append(error is None))

    def done() -> bool:
        with contextlib.suppress(KafkaException):
            producer.poll(0)
        return any(written)

    return until(done, cluster, role)


def consumes(cluster: Policed, role: str) -> str:
    """Reads both topics as the member of a group, and commits."""
    settings = {"group.id": "shop", "auto.offset.reset": "earliest"}
    consumer = Consumer({**properties(cluster, role), **settings, "enable.auto.commit": False})
    consumer.subscribe(list(TOPICS))
    read: set[str] = set()

    def done() -> bool:
        message = consumer.poll(0.1)
        if message is None or message.error() is not None:
            return False
        read.add(message.topic())
        if role == "consumer" and read < set(TOPICS):
            return False
        try:
            consumer.commit(message, asynchronous=False)
        except KafkaException:
            return False  # the broker says why
        return True

    try:
        return until(done, cluster, role)
    finally:
        consumer.close()


@pytest.mark.parametrize("name", ["producer", "consumer"])
def test_given_the_document_then_the_application_does_its_work(outcomes: dict[str, str], name: str) -> None:
    assert outcomes[name] == DONE


@pytest.mark.parametrize("role", LACKING)
def test_given_one_action_less_then_the_application_is_refused_and_the_broker_names_it(
    outcomes: dict[str, str], role: str
) -> None:
    *_, action = LACKING[role]
    assert action in outcomes[role], outcomes[role]
