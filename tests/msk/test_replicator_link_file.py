"""What a replicator is as a link: the file that its process reads."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from broker.msk.replicators.link_file import render
from broker.msk.replicators.names import alias, reference_arn
from broker.msk.replicators.records import Pinned, ReplicatorRecord, ReplicatorState
from broker.msk.replicators.rules import groups_of, topics_of
from broker.msk.replicators.telemetry import sections
from replicator.config.load import load_text
from replicator.config.models import LinkConfig

SOURCE = "arn:aws:kafka:us-east-1:123456789012:cluster/us-cluster/11111111-2222-3333-4444-555555555555-1"
SERVICE = {"http": "unix:/tmp/socket"}
TARGET = "arn:aws:kafka:eu-west-1:123456789012:cluster/eu-cluster/11111111-2222-3333-4444-666666666666-2"


def _record(
    topics: dict[str, Any] | None = None, groups: dict[str, Any] | None = None, **changes: Any
) -> ReplicatorRecord:
    checked = topics_of({"topicsToReplicate": [".*"]} | (topics or {}))
    fields: dict[str, Any] = {
        "key": "0a1b2c3d-0000-0000-0000-000000000000-1", "arn": "arn", "region": "eu-west-1", "account": "123456789012",
        "created": datetime(2026, 1, 2, tzinfo=UTC), "name": "copy", "state": ReplicatorState.CREATING, "version": "K1",
        "role": "role", "clusters": [], "source": SOURCE, "target": TARGET, "source_alias": alias(SOURCE),
        "target_alias": alias(TARGET), "compression": "ZSTD", "topics": checked,
        "groups": groups_of({"consumerGroupsToReplicate": ["app-.*"]} | (groups or {}), checked),
        "link": "copy-0a1b2c3d",
    }  # fmt: skip
    return ReplicatorRecord(**(fields | changes))


def _link(record: ReplicatorRecord, *others: ReplicatorRecord, serverless: bool = False) -> LinkConfig:
    clusters = {name: {"bootstrap_servers": f"{name}:9092"} for name in (alias(SOURCE), alias(TARGET))}
    text = render(record, clusters=clusters, others=others, serverless=serverless, service=SERVICE)
    return load_text(text).settings.link(record.link)


def test_defaults_are_those_of_the_service() -> None:
    link = _link(_record())
    assert (link.topics.naming, link.topics.start, link.compression) == ("prefix", "latest", "zstd")
    assert (link.sync.configs, link.sync.acls, link.sync.groups) == (True, True, True)
    assert (link.sync.heartbeats, link.sync.checkpoints) == (False, False)
    assert link.groups.include == ("app-.*",)
    assert link.remote_topic("orders") == f"{alias(SOURCE)}.orders"


def test_everything_that_can_be_said_has_its_place() -> None:
    topics = {
        "topicsToExclude": ["test-.*"], "copyTopicConfigurations": False, "copyAccessControlListsForTopics": False,
        "startingPosition": {"type": "EARLIEST"}, "topicNameConfiguration": {"type": "IDENTICAL"},
    }  # fmt: skip
    groups = {"consumerGroupsToExclude": ["app-x"], "synchroniseConsumerGroupOffsets": False}
    link = _link(_record(topics, groups))
    assert (link.topics.naming, link.topics.start) == ("identical", "earliest")
    assert (link.sync.configs, link.sync.acls, link.sync.groups) == (False, False, False)
    assert [link.selects(name) for name in ("orders", "test-1")] == [True, False]
    assert "app-x" in link.groups.exclude


@pytest.mark.parametrize(
    "name",
    ["__consumer_offsets", "__amazon_msk_canary", "a.checkpoints.internal", "mskr-offset-syncs.a", "x.replica",
     "us-cluster-0123456789ab.__amazon_msk_replicator_heartbeats"],
)  # fmt: skip
def test_internal_topics_of_replicators_and_mirrormakers_are_not_copied(name: str) -> None:
    assert not _link(_record()).selects(name)


def test_pinned_names_are_exact_and_none_is_none() -> None:
    link = _link(_record(pinned=Pinned(topics=["a.b"], groups=[])))
    assert [link.selects(name) for name in ("a.b", "a-b", "a.bc")] == [True, False, False]
    assert not any(map(_matches_anything, link.groups.include))


def _matches_anything(pattern: str) -> bool:
    import re

    return any(re.search(pattern, text) for text in ("", "a", "app-1"))


def test_clusters_without_acls_have_none_copied() -> None:
    assert _link(_record(), serverless=True).sync.acls is False


def test_a_replicator_the_other_way_is_known() -> None:
    names = {"topicNameConfiguration": {"type": "IDENTICAL"}}
    back = _record(names, link="back-1", source_alias=alias(TARGET), target_alias=alias(SOURCE))
    text = render(
        _record(names),
        clusters={name: {"bootstrap_servers": f"{name}:9092"} for name in (alias(SOURCE), alias(TARGET))},
        others=[back],
        serverless=False,
        service=SERVICE,
    )
    settings = load_text(text).settings
    assert settings.returns(settings.link("copy-0a1b2c3d"))


@given(st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1, max_size=40), min_size=1))
def test_patterns_arrive_as_they_were_given(given_patterns: list[str]) -> None:
    import re

    patterns = [re.escape(pattern) + "${HOME}$" for pattern in given_patterns]
    record = _record()
    record = record.model_copy(update={"topics": record.topics | {"topicsToReplicate": patterns}})
    clusters = {name: {"bootstrap_servers": f"{name}:9092"} for name in (alias(SOURCE), alias(TARGET))}
    text = render(record, clusters=clusters, others=[], serverless=False, service=SERVICE)
    assert yaml.safe_load(text)["links"][0]["topics"]["include"] != patterns
    broken = [pattern for pattern in patterns if not _compiles(pattern)]
    if not broken:
        assert list(load_text(text).settings.links[0].topics.include) == patterns


def _compiles(pattern: str) -> bool:
    import re

    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def test_metrics_and_logs_go_to_stand_ins_that_the_environment_names_and_nowhere_else() -> None:
    logs = {
        "cloudWatchLogs": {"enabled": True, "logGroup": "group"},
        "firehose": {"enabled": False, "deliveryStream": "stream"},
        "s3": {"enabled": True, "bucket": "logs", "prefix": "a/"},
    }
    record = _record(log_delivery={"replicatorLogDelivery": logs})
    assert sections(record, {}, "Replicator") == {}
    moto = "http://127.0.0.1:5000"
    known = {"AWS_ENDPOINT_URL_CLOUDWATCH": moto, "AWS_ENDPOINT_URL_S3": moto, "AWS_ENDPOINT_URL_FIREHOSE": moto}
    found = sections(record, known, "Local")
    assert found["cloudwatch"] == {"namespace": "Local", "region": "eu-west-1", "endpoint_url": moto}
    assert found["log_delivery"] == {
        "region": "eu-west-1",
        "endpoint_url": moto,
        "s3": {"bucket": "logs", "prefix": "a/"},
    }
    clusters = {name: {"bootstrap_servers": f"{name}:9092"} for name in (alias(SOURCE), alias(TARGET))}
    service = load_text(
        render(record, clusters=clusters, others=[], serverless=False, service=SERVICE | found)
    ).settings.service
    assert service.cloudwatch is not None
    assert service.log_delivery is not None
    two = sections(record, known | {"AWS_ENDPOINT_URL_LOGS": "http://127.0.0.1:5001"}, "Local")["log_delivery"]
    assert "endpoint_url" not in two
    assert two["cloudwatch_logs"] == {"log_group": "group"}


def test_aliases_are_28_characters_of_the_name_and_12_digits_that_all_replicators_agree_upon() -> None:
    long = SOURCE.replace("us-cluster", "a-very-long-name-of-a-cluster-in-the-west")
    assert alias(long) == alias(long)
    assert alias(long).startswith("a-very-long-name-of-a-cluste-")
    assert len(alias(long)) == 28 + 1 + 12
    assert alias(SOURCE) != alias(SOURCE[:-1] + "2")
    assert alias("on_premises").startswith("on-premises-")
    assert reference_arn("arn:aws:kafka:eu-west-1:1:replicator/a/b", "us-east-1") == (
        "arn:aws:kafka:us-east-1:1:replicator/a/b"
    )
