"""`check`, `topics` and `status` against clusters: what is there, what is missing, and who may not do what."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Producer
from confluent_kafka.admin import AclOperation, NewTopic, ResourceType
from typer.testing import CliRunner, Result

from replicator.cli.main import app
from tests.support.bundled import BundledCluster
from tests.support.granting import denied, make, obey
from tests.support.javatools import run_tool
from tests.support.kafka import KafkaCluster

Cluster = BundledCluster | KafkaCluster


def create(cluster: Cluster, *topics: NewTopic) -> None:
    admin = cluster.admin()
    for future in admin.create_topics(list(topics)).values():
        future.result(20)


def config(directory: Path, source: dict[str, Any], target: dict[str, Any], **link: Any) -> str:
    document = {
        "clusters": {"us": source, "eu": target},
        "links": [{"name": "us-to-eu", "source": "us", "target": "eu", **link}],
    }
    path = directory / "replicator.yaml"
    path.write_text(yaml.safe_dump(document))
    return str(path)


def reach(cluster: Cluster, **security: str) -> dict[str, Any]:
    return {"bootstrap_servers": cluster.bootstrap, "security": {**cluster.security, **security}}


def run(verb: str, path: str, *arguments: str) -> Result:
    return CliRunner().invoke(app, [verb, "-c", path, *arguments])


def told(result: Result) -> Any:
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def source() -> Iterator[BundledCluster]:
    with BundledCluster(name="check-source") as cluster:
        create(cluster, NewTopic("orders", 2, 1), NewTopic("a" * 247, 1, 1), NewTopic("x.internal", 1, 1))
        yield cluster


@pytest.fixture(scope="module")
def target() -> Iterator[BundledCluster]:
    with BundledCluster(nodes=2, name="check-target") as cluster:
        yield cluster


def test_given_usable_clusters_then_check_ends_with_0(
    source: BundledCluster, target: BundledCluster, tmp_path: Path
) -> None:
    path = config(tmp_path, reach(source), reach(target), topics={"include": ["orders"]})
    result = run("check", path)
    assert result.exit_code == 0, result.stdout
    assert "1 topics of us selected, 1 of them to be created on eu" in result.stdout
    assert "all 2 brokers reached" in result.stdout
    assert "the principals may do all that the link needs" in result.stdout  # without an authorizer, that is
    assert result.stdout.rstrip().endswith("Everything that the links need is there.")
    assert run("check", path, "-o", "json").exit_code == 0


def test_given_a_topic_whose_name_gets_too_long_then_check_and_topics_name_it(
    source: BundledCluster, target: BundledCluster, tmp_path: Path
) -> None:
    path = config(tmp_path, reach(source), reach(target))
    result = run("check", path)
    assert result.exit_code == 1
    assert "would have 250 characters; Kafka allows 249" in result.stdout
    rows = {row["topic"]: row for row in told(run("topics", path, "-o", "json"))["links"][0]["topics"]}
    assert (rows["orders"]["remote"], rows["orders"]["created"], rows["orders"]["reason"]) == ("us.orders", False, None)
    assert rows["a" * 247]["reason"] == "TOPIC_NAME_INVALID"
    assert (rows["x.internal"]["selected"], "topics.exclude" in rows["x.internal"]["detail"]) == (False, True)
    text = run("topics", path, "--all").stdout
    assert "to be created" in text
    assert "isn't selected by topics.include and topics.exclude" in text


def test_given_filters_that_take_nothing_then_check_warns(
    source: BundledCluster, target: BundledCluster, tmp_path: Path
) -> None:
    result = run("check", config(tmp_path, reach(source), reach(target), topics={"include": ["nothing"]}))
    assert result.exit_code == 0
    assert "no topic of us is selected" in result.stdout


def test_given_no_worker_yet_then_status_shows_what_is_pending(
    source: BundledCluster, target: BundledCluster, tmp_path: Path
) -> None:
    path = config(tmp_path, reach(source), reach(target), topics={"include": ["orders"]})
    (link,) = told(run("status", path, "-o", "json"))["links"]
    assert [(row["topic"], row["partition"], row["state"]) for row in link["partitions"]] == [
        ("orders", 0, "PENDING"),
        ("orders", 1, "PENDING"),
    ]


def test_given_a_broker_that_advertises_a_wrong_address_then_check_names_it(
    source: BundledCluster, target: BundledCluster, tmp_path: Path
) -> None:
    with BundledCluster(arguments=("--advertise", "no-such-host.invalid"), name="check-lost") as lost:
        result = run("check", config(tmp_path, reach(lost), reach(target)))
    assert result.exit_code == 3
    assert "broker" in result.stdout
    assert "no-such-host.invalid" in result.stdout


def test_given_copies_without_a_ledger_then_check_says_what_may_be_done(
    source: BundledCluster, target: BundledCluster, tmp_path: Path
) -> None:
    create(target, NewTopic("us.orders", 2, 1))
    producer = Producer({"bootstrap.servers": target.bootstrap})
    producer.produce("us.orders", b"older copy")
    assert producer.flush(20) == 0
    result = run("check", config(tmp_path, reach(source), reach(target), topics={"include": ["orders"]}))
    assert result.exit_code == 4
    assert "__replicator_us-to-eu_ledger on cluster eu doesn't exist" in result.stdout


ADMIN = ("--command-config", "admin.properties")


@pytest.mark.kafka
def test_given_real_kafka_with_acls_then_what_is_not_allowed_is_named_until_it_is(
    source: BundledCluster, tmp_path: Path
) -> None:
    with KafkaCluster(security="plain", authorizer=True, name="check-acls") as guarded:
        wrong = run("check", config(tmp_path, reach(source), reach(guarded, password="wrong")))
        assert wrong.exit_code == 3
        assert "cluster eu" in wrong.stdout
        assert "wrong" not in wrong.stdout.replace("wrong password", "")
        path = config(tmp_path, reach(source), reach(guarded), topics={"include": ["orders"]})
        refused = run("check", path)
        assert refused.exit_code == 1
        for words in (
            "Describe isn't allowed on topic us.orders, so that it can't be known what else is",
            "copies couldn't be created; records couldn't be written",
            "grant Create, Describe, DescribeConfigs, Read, Write, Alter and AlterConfigs on topics with the prefix",
            "with the prefix __replicator_us-to-eu_",
            "Describe isn't allowed on group replicator.us-to-eu",
            "Write isn't allowed on transactional id replicator.us-to-eu.",
            "grant Describe and Write on transactional ids with the prefix replicator.us-to-eu. to User:replicator",
            "kafka-cluster:AlterTransactionalId",
            "delivery: at_least_once",
        ):
            assert words in refused.stdout, words
        findings = told(run("check", path, "-o", "json"))["findings"]
        internal = next(each["command"] for each in findings if "__replicator_us-to-eu_" in each["what"])
        words = shlex.split(internal.replace(guarded.bootstrap, guarded.internal))
        run_tool("org.apache.kafka.tools.AclCommand", *[w for w in words[1:] if w not in ADMIN])
        assert internal not in run("check", path).stdout
        assert obey(findings, guarded) > 0
        granted = run("check", path)
        assert granted.exit_code == 0, granted.stdout
        assert "the principals may do all that the link needs" in granted.stdout
        make(guarded, "us.orders")
        with denied(guarded, ResourceType.TOPIC, "us.orders", AclOperation.ALTER):
            growing = run("check", path)
        assert growing.exit_code == 1
        assert "Alter isn't allowed on topic us.orders" in growing.stdout
        assert "partitions couldn't be added" in growing.stdout
