"""Kafka's own command-line tools, unmodified, against the bundled broker."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.bundled import BundledCluster
from tests.support.javatools import run_tool

pytestmark = pytest.mark.kafka

TOOLS = "org.apache.kafka.tools"
CONSUMER_GROUPS = f"{TOOLS}.consumer.group.ConsumerGroupCommand"


@pytest.fixture(scope="module")
def bundled() -> Iterator[BundledCluster]:
    with BundledCluster(nodes=2) as cluster:
        yield cluster


def tool(bundled: BundledCluster, main: str, *args: str, stdin: str | None = None) -> str:
    """What the tool writes to stdout; failures fail the test."""
    return run_tool(main, "--bootstrap-server", bundled.bootstrap, *args, stdin=stdin).stdout


def test_given_the_topic_tool_when_creating_growing_describing_and_deleting_then_it_is_satisfied(
    bundled: BundledCluster,
) -> None:
    topics = f"{TOOLS}.TopicCommand"
    shape = ("--partitions", "3", "--replication-factor", "2", "--config", "retention.ms=100000")
    assert "Created topic jt." in tool(bundled, topics, "--create", "--topic", "jt", *shape)
    tool(bundled, topics, "--alter", "--topic", "jt", "--partitions", "4")
    described = tool(bundled, topics, "--describe", "--topic", "jt")
    assert re.search(r"PartitionCount: 4\s+ReplicationFactor: 2\s+Configs: retention.ms=100000", described)
    leaders = re.findall(r"Partition: (\d)\s+Leader: ([01])\s+Replicas: [01],[01]\s+Isr: [01],[01]", described)
    assert {partition for partition, _ in leaders} == {"0", "1", "2", "3"}
    assert {leader for _, leader in leaders} == {"0", "1"}
    tool(bundled, topics, "--delete", "--topic", "jt")
    assert "jt" not in tool(bundled, topics, "--list").split()


def test_given_console_tools_when_producing_and_consuming_in_a_group_then_positions_can_be_managed(
    bundled: BundledCluster,
) -> None:
    tool(bundled, f"{TOOLS}.TopicCommand", "--create", "--topic", "console", "--partitions", "2")
    lines = [f"line {number}" for number in range(50)]
    compression = ("--compression-codec", "zstd")
    tool(bundled, f"{TOOLS}.ConsoleProducer", "--topic", "console", *compression, stdin="\n".join(lines) + "\n")
    how = ("--topic", "console", "--from-beginning", "--max-messages", "50", "--group", "jg")
    read = tool(bundled, f"{TOOLS}.consumer.ConsoleConsumer", *how, "--timeout-ms", "20000")
    assert sorted(read.splitlines()) == sorted(lines)
    described = tool(bundled, CONSUMER_GROUPS, "--describe", "--group", "jg")
    lags = re.findall(r"^jg\s+console\s+\d\s+\d+\s+\d+\s+(\d+)", described, re.MULTILINE)
    assert set(lags) == {"0"}  # of an empty partition it may not have asked for the position yet when it had all lines
    assert re.search(r"jg\s+Empty", tool(bundled, CONSUMER_GROUPS, "--list", "--state"))
    reset = ("--reset-offsets", "--group", "jg", "--topic", "console", "--to-earliest", "--execute")
    assert re.findall(r"^jg\s+console\s+\d\s+(\d+)", tool(bundled, CONSUMER_GROUPS, *reset), re.MULTILINE) == ["0", "0"]
    assert "was successful" in tool(bundled, CONSUMER_GROUPS, "--delete", "--group", "jg")


def test_given_the_configs_tool_when_altering_then_it_describes_what_was_set(bundled: BundledCluster) -> None:
    tool(bundled, f"{TOOLS}.TopicCommand", "--create", "--topic", "configured")
    entity = ("--entity-type", "topics", "--entity-name", "configured")
    configs = "kafka.admin.ConfigCommand"
    added = ("--alter", *entity, "--add-config", "max.message.bytes=5000,cleanup.policy=[compact,delete]")
    assert "Completed updating config" in tool(bundled, configs, *added)
    described = tool(bundled, configs, "--describe", *entity)
    assert "max.message.bytes=5000 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:max.message.bytes=5000" in described
    assert "cleanup.policy=compact,delete" in described
    tool(bundled, configs, "--alter", *entity, "--delete-config", "max.message.bytes")
    assert "max.message.bytes" not in tool(bundled, configs, "--describe", *entity)


def test_given_the_performance_tool_when_run_transactionally_then_all_records_are_sent(bundled: BundledCluster) -> None:
    tool(bundled, f"{TOOLS}.TopicCommand", "--create", "--topic", "perf", "--partitions", "2")
    load = ("--topic", "perf", "--num-records", "20000", "--record-size", "500", "--throughput", "-1")
    target = ("--producer-props", f"bootstrap.servers={bundled.bootstrap}", "compression.type=lz4", "linger.ms=5")
    transactions = ("--transactional-id", "perf", "--transaction-duration-ms", "200")
    sent = run_tool(f"{TOOLS}.ProducerPerformance", *load, *transactions, *target).stdout
    assert "20000 records sent" in sent
    ends = tool(bundled, f"{TOOLS}.GetOffsetShell", "--topic", "perf")
    assert sum(int(line.split(":")[2]) for line in ends.split()) > 20_000  # with the transactions' markers
    listed = tool(bundled, f"{TOOLS}.TransactionsCommand", "list")
    assert re.search(r"perf\s+[01]\s+\d+\s+(CompleteCommit|PrepareCommit)", listed)
