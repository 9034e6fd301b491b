"""The properties given to librdkafka: accepted by it, and meaning what the settings say."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from pydantic import SecretStr

from replicator.config.librdkafka import client_properties
from replicator.config.models import ClusterConfig, SecurityConfig


def test_given_plaintext_then_librdkafka_takes_the_properties() -> None:
    properties = client_properties(ClusterConfig(bootstrap_servers="127.0.0.1:1", client_rack="a"), client_id="test")
    assert properties["security.protocol"] == "PLAINTEXT"
    assert properties["client.rack"] == "a"
    AdminClient(properties)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_given_sasl_then_mechanism_and_credentials_are_passed(mechanism: str) -> None:
    security = SecurityConfig.model_validate(
        {"protocol": "SASL_SSL", "mechanism": mechanism, "username": "u", "password": "p"}
    )
    properties = client_properties(ClusterConfig(bootstrap_servers="127.0.0.1:1", security=security), client_id="test")
    assert (properties["sasl.mechanism"], properties["sasl.username"], properties["sasl.password"]) == (
        mechanism,
        "u",
        "p",
    )
    assert properties["ssl.endpoint.identification.algorithm"] == "https"
    AdminClient(properties)


def test_given_a_client_certificate_then_its_files_are_passed(tmp_path: Path) -> None:
    security = SecurityConfig(
        protocol="SSL",
        ca_file="/ca.pem",
        cert_file="/both.pem",
        key_password=SecretStr("k"),
        verify_hostname=False,
    )
    properties = client_properties(ClusterConfig(bootstrap_servers="h:1", security=security), client_id="test")
    assert properties["ssl.ca.location"] == "/ca.pem"
    assert properties["ssl.key.location"] == properties["ssl.certificate.location"] == "/both.pem"
    assert properties["ssl.key.password"] == "k"
    assert properties["ssl.endpoint.identification.algorithm"] == "none"
