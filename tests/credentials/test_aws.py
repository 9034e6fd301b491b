"""Credentials of AWS, tokens for MSK made of them, and secrets of Secrets Manager; against moto's server."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest

from replicator.config.load import load_text
from replicator.credentials import secrets_manager
from replicator.credentials.aws import AwsCredentials, region_of_brokers
from replicator.credentials.msk_iam import fetcher
from replicator.credentials.secrets_manager import REREAD_S, STORE, SecretReference, SecretsManager
from replicator.errors import AuthenticationError, ConfigurationError, UnreachableError
from tests.support.waiting import wait_for

ROLE = "arn:aws:iam::123456789012:role/replicator"


def url_of(token: str) -> dict[str, str]:
    """The signed URL's parameters, and its host."""
    parts = urlsplit(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode())
    return {"host": parts.netloc, **{key: values[0] for key, values in parse_qs(parts.query).items()}}


@pytest.mark.parametrize(
    ("addresses", "region"),
    [
        ("b-1.d.a1.c2.kafka.us-east-1.amazonaws.com:9098,b-2.d.a1.c2.kafka.us-east-1.amazonaws.com:9098", "us-east-1"),
        ("b-1-public.demo.a1b2c3.c2.kafka.eu-west-3.amazonaws.com:9198", "eu-west-3"),
        ("boot-a1b2c3.c1.kafka-serverless.ap-southeast-2.amazonaws.com:9098", "ap-southeast-2"),
        ("b-1.demo.a1b2c3.c2.kafka.cn-north-1.amazonaws.com.cn:9098", "cn-north-1"),
        ("b-1.demo.a1b2c3.c2.kafka.us-gov-west-1.amazonaws.com:9098", "us-gov-west-1"),
        ("B-1.demo.a1b2c3.c2.KAFKA.us-east-1.amazonaws.com.:9098", "us-east-1"),
        ("b-1.x.kafka.us-east-1.amazonaws.com:9098, b-1.x.kafka.us-east-2.amazonaws.com:9098", None),
        ("b-1.x.kafka.us-east-1.amazonaws.com:9098,broker:9098", None),
        ("kafka.us-east-1.internal:9098", None),
        ("127.0.0.1:9098", None),
    ],
)  # fmt: skip
def test_given_names_of_brokers_then_their_region_is_found(addresses: str, region: str | None) -> None:
    assert region_of_brokers(addresses) == region


def test_given_credentials_of_the_environment_then_the_token_is_signed_with_them_for_the_region(aws: str) -> None:
    token = fetcher(AwsCredentials(region="eu-west-1"), "eu-west-1")()
    said = url_of(token.text)
    assert said["host"] == "kafka.eu-west-1.amazonaws.com"
    assert said["Action"] == "kafka-cluster:Connect"
    assert said["X-Amz-Credential"].startswith("AKIAIOSFODNN7EXAMPLE/")
    assert said["X-Amz-Credential"].endswith("/eu-west-1/kafka-cluster/aws4_request")
    assert token.ends_s - time.time() == pytest.approx(900, abs=5)


def test_given_a_role_then_it_is_assumed_once_and_its_session_signs(aws: str) -> None:
    fetch = fetcher(
        AwsCredentials(region="us-east-1", role_arn=ROLE, session_name="me", external_id="xyz"), "us-east-1"
    )
    first, second = url_of(fetch().text), url_of(fetch().text)
    assert first["X-Amz-Security-Token"] == second["X-Amz-Security-Token"]
    assert first["X-Amz-Credential"].startswith("ASIA")


def test_given_credentials_that_end_before_the_token_then_the_token_ends_with_them(aws: str, no_aws: Any) -> None:
    from replicator.credentials.aws import forget_sessions

    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 300))
    no_aws.setenv("AWS_CREDENTIAL_EXPIRATION", soon)
    no_aws.setenv("AWS_SESSION_TOKEN", "t")
    forget_sessions()
    token = fetcher(AwsCredentials(region="us-east-1"), "us-east-1")()
    assert token.ends_s - time.time() == pytest.approx(300, abs=5)


def test_given_a_profile_whose_file_changes_then_the_next_token_is_signed_with_the_new_key(
    no_aws: Any, tmp_path: Path
) -> None:
    def write(key: str) -> None:
        (tmp_path / "aws-credentials").write_text(f"[p]\naws_access_key_id = {key}\naws_secret_access_key = s\n")

    write("AKIAFIRST")
    fetch = fetcher(AwsCredentials(region="us-east-1", profile="p"), "us-east-1")
    assert url_of(fetch().text)["X-Amz-Credential"].startswith("AKIAFIRST/")
    write("AKIASECOND")
    assert url_of(fetch().text)["X-Amz-Credential"].startswith("AKIASECOND/")


def test_given_no_credentials_or_no_such_profile_or_nobody_there_then_it_is_said_what_to_do(no_aws: Any) -> None:
    with pytest.raises(AuthenticationError, match="no AWS credentials were found: set AWS_ACCESS_KEY_ID"):
        fetcher(AwsCredentials(region="us-east-1"), "us-east-1")()
    with pytest.raises(ConfigurationError, match=r"\(nobody\).*security.profile"):
        fetcher(AwsCredentials(region="us-east-1", profile="nobody"), "us-east-1")()
    no_aws.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    no_aws.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    no_aws.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    with pytest.raises(UnreachableError, match="assume role") as caught:
        fetcher(AwsCredentials(region="us-east-1", role_arn=ROLE), "us-east-1")()
    assert "hidden" not in str(caught.value)


# Secrets Manager

YAML = """
clusters:
  us:
    bootstrap_servers: "a:1"
    security:
      {{protocol: SASL_SSL, mechanism: SCRAM-SHA-512, username: {username}, password: {password}}}
  eu: {{bootstrap_servers: "b:1"}}
links:
  - {{name: l, source: us, target: eu}}
"""


def loaded(secret: str, **more: str) -> Any:
    given = ", ".join(f"{key}: '{value}'" for key, value in {"secretsmanager": secret, **more}.items())
    text = YAML.format(username=f"{{{given}}}", password=f"{{{given}}}")
    return load_text(text, file="r.yaml").settings.clusters["us"].security


@pytest.fixture
def manager(aws: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    STORE._known.clear()
    return boto3.client("secretsmanager", region_name="us-east-1")


def test_given_a_secret_as_amazon_msk_has_them_then_user_and_password_are_taken_from_it(manager: Any) -> None:
    arn = manager.create_secret(Name="AmazonMSK_ann", SecretString='{"username": "ann", "password": "hush"}')["ARN"]
    for name in ("AmazonMSK_ann", arn):
        security = loaded(name)
        assert (security.username, security.password.get_secret_value()) == ("ann", "hush")
        assert "hush" not in repr(security)
    assert loaded(arn, key="password").username == "hush"


def test_given_a_secret_that_is_changed_then_it_is_used_without_a_restart_within_the_rate(
    manager: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(STORE, "_clock", lambda: now[0])
    manager.create_secret(Name="rotated", SecretString="first")
    security = loaded("rotated")
    manager.put_secret_value(SecretId="rotated", SecretString="second")
    assert security.password.get_secret_value() == "first"
    now[0] += REREAD_S
    wait_for(lambda: security.password.get_secret_value() == "second", within=10, every=0.02, what="the new secret")
    assert loaded("rotated").password == security.password, "so a reload has nothing to do"


@pytest.mark.parametrize(
    ("secret", "more", "said"),
    [
        ("none", {}, "r.yaml:6: clusters.us.security.username: secret none of AWS Secrets Manager: ResourceNotFound"),
        ("json", {"key": "pin"}, "secret json is no JSON object with text under 'pin'"),
        ("json", {"kee": "pin"}, "clusters.us.security.username.kee: isn't known here; beside secretsmanager: key"),
        ("binary", {}, "secret binary of AWS Secrets Manager is binary"),
        ("", {}, "needs the name or ARN of a secret"),
    ],
)
def test_given_a_secret_that_can_not_be_had_then_file_line_and_key_are_named(
    manager: Any, secret: str, more: dict[str, str], said: str
) -> None:
    known = {each["Name"] for each in manager.list_secrets()["SecretList"]}
    if "json" not in known:
        manager.create_secret(Name="json", SecretString=json.dumps({"a": "b"}))
        manager.create_secret(Name="binary", SecretBinary=b"x")
    with pytest.raises(ConfigurationError) as caught:
        loaded(secret, **more)
    assert said in str(caught.value)


def test_given_the_service_is_away_when_a_secret_was_read_before_then_it_stays_and_is_asked_for_at_the_rate() -> None:
    now, asked = [0.0], [0]

    def ask(_: SecretReference) -> str:
        asked[0] += 1
        if asked[0] > 1:
            raise UnreachableError("away")
        return "kept"

    store, reference = SecretsManager(ask, lambda: now[0]), SecretReference("s")
    assert store.read(reference) == "kept"
    now[0] += REREAD_S
    assert store.read(reference) == "kept"
    assert store.read(reference) == "kept"
    assert asked[0] == 2
    now[0] += REREAD_S
    for _ in range(10):
        assert store.present(reference) == "kept"
    wait_for(lambda: not store._asking, within=5, every=0.01, what="the end of the attempt")
    assert store.present(reference) == "kept"
    assert asked[0] == 3


def test_given_parts_of_secrets_then_the_key_decides() -> None:
    part = secrets_manager.part_of
    assert part('{"password": "a", "pin": 7}', None, "password") == "a"
    assert part('{"password": "a"}', None, "token") == '{"password": "a"}'
    assert part('{"password": "a"}', "token", "password") is None
    assert part('{"pin": 7}', "pin", "password") is None
    assert part("plain\n", None, "password") == "plain"
