from __future__ import annotations

from typing import Any

import pytest
import yaml

from replicator.config.load import load_text
from replicator.config.mm2_import import Imported, import_mm2
from replicator.errors import ConfigurationError

MINIMAL = """
clusters = us, eu
us.bootstrap.servers = u1:9092, u2:9092
eu.bootstrap.servers = e1:9092
us->eu.enabled = true
"""
FULL = r"""
clusters = us, eu, asia
us.bootstrap.servers = u1:9093
eu.bootstrap.servers = e1:9093
asia.bootstrap.servers = a1:9093
security.protocol = SASL_SSL
sasl.mechanism = SCRAM-SHA-512
sasl.jaas.config = org.apache.kafka.common.security.scram.ScramLoginModule required \
    username="mirror" password="every\"where;";
eu.sasl.mechanism = PLAIN
eu.sasl.jaas.config = org.apache.kafka.common.security.plain.PlainLoginModule required \
  username=eu-user password='s3cret';
eu.ssl.truststore.type = PEM
eu.ssl.truststore.location = /etc/eu-ca.pem
eu.ssl.endpoint.identification.algorithm =
us.ssl.truststore.location = /etc/us.jks
us.ssl.truststore.password = changeit
us.consumer.auto.offset.reset = latest
us.consumer.isolation.level = read_committed
us.consumer.client.rack = rack-1
us.consumer.fetch.max.bytes = 52428800
eu.producer.compression.type = zstd
eu.exactly.once.source.support = enabled
eu.offset.storage.topic = my-offsets
us->eu.enabled = true
us->eu.topics = orders\\..*, payments
us->eu.groups.exclude = temp-.*
us->eu.sync.group.offsets.enabled = true
us->eu.use.defaults.from = source
us->eu.replication.factor = 3
eu->us.enabled = false
eu->us.topics = .*
topics = everything
topics.exclude = secret-.*
groups = app-.*
replication.policy.separator = _
sync.topic.acls.enabled = false
refresh.topics.interval.seconds = 2
sync.topic.configs.interval.seconds = 60
config.properties.exclude = retention\\..*, min\\.insync\\.replicas
tasks.max = 4
offset.lag.max = 10
use.defaults.from = source
transforms = drop
us.topics = x
frobnicate = 1
us->mars.enabled = true
asia.producer.linger.ms = 5
"""


def imported(text: str) -> tuple[dict[str, Any], dict[str, Any], Imported]:
    """The document, its only or first link, and all."""
    result = import_mm2(text.encode("latin-1"), "dir/mm2.properties")
    document = yaml.safe_load(result.yaml)
    return document, document["links"][0], result


def notes(result: Imported) -> str:
    return "\n".join(map(str, result.notes))


def test_given_the_least_that_starts_when_imported_then_the_link_does_what_mirrormaker_did() -> None:
    document, link, result = imported(MINIMAL)
    assert document["clusters"] == {
        "us": {"bootstrap_servers": "u1:9092, u2:9092"},
        "eu": {"bootstrap_servers": "e1:9092"},
    }
    assert (link["name"], link["source"], link["target"]) == ("us-to-eu", "us", "eu")
    assert link["topics"] == {"include": [".*"], "naming": "prefix"}
    assert load_text(result.yaml).settings.links[0].remote_topic("orders") == "us.orders"
    assert "MirrorMaker copied at least once" in notes(result)
    assert "replication.factor isn't set" in notes(result)
    assert link["sync"] == {"groups": False}
    assert [flow.positions_topic for flow in result.flows] == ["mm2-offsets.us.internal"]


def test_given_properties_at_all_levels_when_imported_then_flow_goes_before_cluster_before_top_level() -> None:
    document, link, result = imported(FULL)
    assert list(document["clusters"]) == ["us", "eu"]
    us, eu = document["clusters"]["us"], document["clusters"]["eu"]
    assert us["security"] == {
        "protocol": "SASL_SSL", "mechanism": "SCRAM-SHA-512", "username": "mirror", "password": "${US_PASSWORD}",
        "ca_file": "us-ca.pem",
    }  # fmt: skip
    assert us["client_rack"] == "rack-1"
    assert eu["security"] == {
        "protocol": "SASL_SSL", "mechanism": "PLAIN", "username": "eu-user", "password": "${EU_PASSWORD}",
        "ca_file": "/etc/eu-ca.pem", "verify_hostname": False,
    }  # fmt: skip
    assert link["topics"] == {
        "include": [r"orders\..*", "payments"],
        "exclude": ["secret-.*", r".*[\-.]internal", ".*_internal"],
        "naming": "prefix",
        "start": "latest",
    }
    assert link["groups"] == {"include": ["app-.*"], "exclude": ["temp-.*"]}
    assert (link["separator"], link["replication_factor"], link["compression"]) == ("_", 3, "zstd")
    assert link["use_defaults_from"] == "source"
    assert link["sync"]["config_exclude"] == [r"retention\..*", r"min\.insync\.replicas"]
    assert link["sync"]["every"] == 2.0
    assert "groups" not in link["sync"]
    assert result.flows[0].positions_topic == "my-offsets"


def test_given_secrets_when_imported_then_they_are_nowhere_in_what_is_written() -> None:
    result = imported(FULL)[2]
    for secret in ('every"where', "every\\", "s3cret", "changeit"):
        assert secret not in result.yaml
        assert secret not in notes(result)
    assert "set the environment variable US_PASSWORD" in notes(result)
    assert "set the environment variable EU_PASSWORD" in notes(result)


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("tasks.max", "divided into `lanes`"),
        ("offset.lag.max", "translated exactly"),
        ("transforms", "aren't supported"),
        ("us.consumer.fetch.max.bytes", "passed through"),
        ("sync.topic.configs.interval.seconds", "every `sync.every` seconds"),
        ("use.defaults.from", "from a flow (A->B.) alone"),
        ("us.topics", "has no effect for a cluster"),
        ("frobnicate", "isn't known"),
        ("us->mars.enabled", "names no flow"),
        ("asia.producer.linger.ms", "no enabled flow"),
        ("asia.bootstrap.servers", "no enabled flow"),
        ("eu->us.enabled", "is disabled: no link is written; its 2 properties"),
        ("us.ssl.truststore.location", "keytool -list -rfc -keystore /etc/us.jks"),
    ],
)
def test_given_what_has_no_equivalent_when_imported_then_it_is_named_with_its_line_and_why(key: str, why: str) -> None:
    result = imported(FULL)[2]
    line = next(n for n, text in enumerate(FULL.split("\n"), 1) if text.startswith(key + " "))
    (note,) = [note for note in result.notes if note.key == key]
    assert why in note.text
    assert note.line == line
    assert f"line {line}: {key}: " in result.yaml


def test_given_any_property_when_imported_then_none_is_dropped_in_silence() -> None:
    keys = [line.split("=")[0].strip() for line in FULL.split("\n") if "=" in line and not line.startswith(" ")]
    result = imported(FULL)[2]
    carried = {
        "clusters", "us.bootstrap.servers", "eu.bootstrap.servers", "security.protocol", "sasl.mechanism",
        "sasl.jaas.config", "eu.sasl.mechanism", "eu.sasl.jaas.config", "eu.ssl.truststore.type",
        "eu.ssl.truststore.location", "eu.ssl.endpoint.identification.algorithm", "us.consumer.auto.offset.reset",
        "us.consumer.isolation.level", "us.consumer.client.rack", "eu.producer.compression.type",
        "eu.exactly.once.source.support", "eu.offset.storage.topic", "us->eu.enabled", "us->eu.topics",
        "us->eu.groups.exclude", "us->eu.sync.group.offsets.enabled", "us->eu.use.defaults.from",
        "us->eu.replication.factor", "topics", "topics.exclude", "groups", "replication.policy.separator",
        "sync.topic.acls.enabled", "refresh.topics.interval.seconds", "config.properties.exclude",
        "eu->us.topics",  # counted with its flow
    }  # fmt: skip
    assert set(keys) - carried == {note.key for note in result.notes if note.key} - carried


def test_given_the_identity_policy_and_a_blank_filter_when_imported_then_names_stay_and_nothing_is_selected() -> None:
    _, link, result = imported(
        MINIMAL + "replication.policy.class=org.apache.kafka.connect.mirror.IdentityReplicationPolicy\ntopics =\n"
    )
    assert link["topics"]["naming"] == "identical"
    settings = load_text(result.yaml).settings
    assert not settings.links[0].selects("orders")
    assert settings.links[0].selects("heartbeats")


def test_given_config_providers_when_imported_then_their_references_become_ours() -> None:
    document, _, result = imported(
        MINIMAL
        + "config.providers = file, env, dir\n"
        + "config.providers.file.class = org.apache.kafka.common.config.provider.FileConfigProvider\n"
        + "config.providers.env.class = org.apache.kafka.common.config.provider.EnvVarConfigProvider\n"
        + "config.providers.dir.class = org.apache.kafka.common.config.provider.DirectoryConfigProvider\n"
        + "security.protocol = SASL_PLAINTEXT\nsasl.mechanism = PLAIN\n"
        + 'us.sasl.jaas.config = M required username="${env:KAFKA_USER}" password="${file:/run/s.properties:pw}";\n'
        + 'eu.sasl.jaas.config = M required username="eu" password="${dir:/run/secrets:eu-password}";\n'
    )
    us, eu = (document["clusters"][alias]["security"] for alias in ("us", "eu"))
    assert (us["username"], us["password"]) == ("${KAFKA_USER}", "${US_PASSWORD}")
    assert eu["password"] == {"file": "/run/secrets/eu-password"}
    assert "it is the value of pw in /run/s.properties" in notes(result)


@pytest.mark.parametrize(
    ("lines", "expected", "said"),
    [
        (
            "security.protocol=SASL_SSL\nsasl.mechanism=AWS_MSK_IAM\nus.bootstrap.servers=b-1.x.kafka.eu-west-1.amazonaws.com:9098\n"
            'sasl.jaas.config=software.amazon.msk.auth.iam.IAMLoginModule required awsRoleArn="arn:aws:iam::1:role/r";',
            {"mechanism": "AWS_MSK_IAM", "region": None, "role_arn": "arn:aws:iam::1:role/r"},
            "",
        ),
        (
            "security.protocol=SASL_SSL\nsasl.mechanism=AWS_MSK_IAM\n"
            'sasl.jaas.config=M required awsProfileName="p" awsRoleSessionName="s" awsRoleAccessKeyId="hidden";',
            {"region": "SET-ME", "profile": "p", "role_session_name": "s"},
            "the login option awsRoleAccessKeyId has no equivalent",
        ),
        (
            "security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\nus.bootstrap.servers=b.kafka.eu-west-1.amazonaws.com:9098\n"
            "sasl.login.callback.handler.class=software.amazon.msk.auth.iam.IAMOAuthBearerLoginCallbackHandler\n"
            'sasl.jaas.config=M required awsRoleArn="arn:aws:iam::1:role/r";',
            {"mechanism": "AWS_MSK_IAM", "role_arn": "arn:aws:iam::1:role/r", "token_endpoint": None},
            "",
        ),
        (
            "security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\nsasl.oauthbearer.token.endpoint.url=https://t/o\n"
            'sasl.jaas.config=M required clientId="me" clientSecret="hidden" scope="kafka" '
            'extension_logicalCluster="lkc-1";',
            {
                "token_endpoint": "https://t/o",
                "client_id": "me",
                "client_secret": "${US_CLIENT_SECRET}",
                "scope": "kafka",
                "extensions": {"logicalCluster": "lkc-1"},
            },
            "US_CLIENT_SECRET",
        ),
        ("security.protocol=SASL_SSL", {"mechanism": "GSSAPI"}, "Kerberos isn't supported"),
        (
            "security.protocol=SSL\nus.ssl.keystore.type=PEM\nus.ssl.keystore.location=/k.pem\nus.ssl.key.password=hidden",
            {"cert_file": "/k.pem", "key_password": "${US_KEY_PASSWORD}"},
            "US_KEY_PASSWORD",
        ),
        (
            "security.protocol=SSL\nus.ssl.keystore.location=/k.p12\nus.ssl.truststore.certificates=-----BEGIN",
            {"cert_file": "us-client.pem", "ca_file": "us-ca.pem"},
            "openssl pkcs12 -in /k.p12",
        ),
    ],
)
def test_given_each_way_to_log_in_when_imported_then_the_cluster_has_it(
    lines: str, expected: dict[str, Any], said: str
) -> None:
    document, _, result = imported(MINIMAL + lines)
    security = document["clusters"]["us"]["security"]
    assert {key: security.get(key) for key in expected} == expected
    assert said in notes(result)
    assert "hidden" not in result.yaml


def test_given_javas_regular_expressions_when_they_arent_pythons_then_it_is_said() -> None:
    assert "write it for Python's `re`" in notes(imported(MINIMAL + "topics = \\\\p{Alpha}+, ok\n")[2])
    assert "write it for Python's `re`" in notes(imported(MINIMAL + "topics = [a-z&&[^b]]+\n")[2])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("us.bootstrap.servers=x:1", "mm2.properties: `clusters` isn't set"),
        ("clusters=us,eu", "no flow is enabled"),
        ("clusters=us,eu\nus->eu.enabled=\\u00", "malformed"),
    ],
)
def test_given_a_file_that_copies_nothing_when_imported_then_it_is_refused(text: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        imported(text)


def test_given_values_that_look_like_references_when_imported_then_they_stay_what_they_are() -> None:
    settings = load_text(imported(MINIMAL + "topics = a$$, b\\\\$\\\\{x}\n")[2].yaml).settings
    assert settings.links[0].topics.include == ("a$$", "b\\$\\{x}")


def test_given_a_value_with_line_ends_when_imported_then_it_can_not_get_out_of_its_note() -> None:
    result = imported(MINIMAL + "us.ssl.truststore.location=/x\\nlinks: []\nsecurity.protocol=SSL\n")[2]
    assert yaml.safe_load(result.yaml)["links"][0]["name"] == "us-to-eu"
