"""Kafka clients of a local MSK's clusters, by each way in."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import botocore.credentials
from aws_msk_iam_sasl_signer import MSKAuthTokenProvider
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.msk.world import REGION, ROOT


class _Keys(botocore.credentials.CredentialProvider):  # type: ignore[misc]
    def __init__(self, keys: Mapping[str, str]) -> None:
        super().__init__()
        self._keys = keys

    def load(self) -> Any:
        return botocore.credentials.Credentials(self._keys["AWS_ACCESS_KEY_ID"], self._keys["AWS_SECRET_ACCESS_KEY"])


def iam(bootstrap: str, authority: Path, keys: Mapping[str, str] = ROOT, region: str = REGION) -> dict[str, Any]:
    """Settings of librdkafka for the IAM listener, with Amazon's Python signer."""

    def token(_: object) -> tuple[str, float]:
        provider = MSKAuthTokenProvider
        made, expires_ms = provider.generate_auth_token_from_credentials_provider(region, _Keys(keys))
        return made, expires_ms / 1000

    return {
        "bootstrap.servers": bootstrap,
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": str(authority),
        "sasl.mechanism": "OAUTHBEARER",
        "oauth_cb": token,
    }


def scram(bootstrap: str, authority: Path, user: str, password: str) -> dict[str, Any]:
    """Settings of librdkafka for the SCRAM listener."""
    return {
        "bootstrap.servers": bootstrap,
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": str(authority),
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": user,
        "sasl.password": password,
    }


def produce(settings: Mapping[str, Any], topic: str, values: Iterable[bytes], within: float = 30) -> None:
    """Write, and wait until all is acknowledged."""
    failed: list[object] = []
    producer = Producer({**settings, "enable.idempotence": True, "log_level": 0})
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: failed.append(error) if error else None)
    left = producer.flush(within)
    assert left == 0, f"{left} records weren't acknowledged within {within:g} s"
    assert failed == []


def consume(
    settings: Mapping[str, Any], topic: str, count: int, within: float = 30, *, as_group: bool = False
) -> list[bytes]:
    """The first `count` values of a topic; as a member of a group, which takes some seconds, or by itself."""
    group = {"group.id": f"readers-of-{topic}", "auto.offset.reset": "earliest", "enable.auto.commit": False}
    consumer = Consumer({**settings, **group, "log_level": 0})
    out: list[bytes] = []
    deadline = time.monotonic() + within
    try:
        if as_group:
            consumer.subscribe([topic])
        else:
            found = consumer.list_topics(topic, timeout=within).topics[topic]
            consumer.assign([TopicPartition(topic, index, 0) for index in found.partitions])
        while len(out) < count and time.monotonic() < deadline:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                out.append(message.value())
    finally:
        consumer.close()
    return out
