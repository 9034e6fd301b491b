"""The published walk-through as far as one cluster goes: create it, ask for brokers, use Kafka's own tools with IAM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.msk.world import REGION, ROOT, control_plane, create
from tests.support.javatools import iam_auth_jar, run_tool

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def test_given_a_cluster_with_iam_when_kafkas_tools_create_produce_and_consume_then_the_records_are_there(
    tmp_path: Path,
) -> None:
    with control_plane(tmp_path / "msk") as world:
        kafka = world.client()
        arn = create(kafka, "MyCluster")
        bootstrap = kafka.get_bootstrap_brokers(ClusterArn=arn)["BootstrapBrokerStringSaslIam"]
        properties = tmp_path / "client.properties"
        properties.write_text(
            "security.protocol=SASL_SSL\nsasl.mechanism=AWS_MSK_IAM\n"
            "sasl.jaas.config=software.amazon.msk.auth.iam.IAMLoginModule required;\n"
            "sasl.client.callback.handler.class=software.amazon.msk.auth.iam.IAMClientCallbackHandler\n"
            f"ssl.truststore.type=PEM\nssl.truststore.location={tmp_path}/msk/ca.pem\n"
        )

        def tool(main: str, *arguments: str, stdin: str | None = None) -> Any:
            where = ("--bootstrap-server", bootstrap)
            keys = ROOT | {"AWS_REGION": REGION}
            return run_tool(main, *where, *arguments, stdin=stdin, env=keys, more=[iam_auth_jar()])

        config = ("--command-config", str(properties))
        topics = "org.apache.kafka.tools.TopicCommand"
        wanted = ("--create", "--topic", "MyTopic", "--replication-factor", "3", "--partitions", "1")
        assert "Created topic MyTopic." in tool(topics, *config, *wanted).stdout
        assert "MyTopic" in tool(topics, *config, "--list").stdout.split()
        tool(
            "org.apache.kafka.tools.ConsoleProducer",
            *("--producer.config", str(properties), "--topic", "MyTopic"),
            stdin="first\nsecond\n",
        )
        read = tool(
            "org.apache.kafka.tools.consumer.ConsoleConsumer",
            *("--consumer.config", str(properties), "--topic", "MyTopic", "--from-beginning", "--max-messages", "2"),
        )
        assert read.stdout.splitlines()[:2] == ["first", "second"]
        assert kafka.describe_topic(ClusterArn=arn, TopicName="MyTopic")["ReplicationFactor"] == 3
