"""OAuth against real Kafka, whose unsecured tokens (KIP-255) need no key: ours are what its own client would send."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from replicator.config.librdkafka import client_properties
from replicator.config.models import ClusterConfig, SecurityConfig
from tests.e2e.rig import records
from tests.support.checker import compare_topics
from tests.support.copying import create, produce
from tests.support.kafka import KafkaCluster
from tests.support.replicator import Installation
from tests.support.token_endpoint import TokenEndpoint

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(180)]

_MODULE = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required"
_PROPERTIES = {
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT,CLIENT:SASL_PLAINTEXT",
    "listener.name.client.sasl.enabled.mechanisms": "OAUTHBEARER",
    "listener.name.client.oauthbearer.sasl.jaas.config": f'{_MODULE} unsecuredLoginStringClaim_sub="broker";',
    "listener.name.client.oauthbearer.connections.max.reauth.ms": "4000",
}


class OAuthKafka:
    """One real broker whose clients show tokens of `endpoint`."""

    def __init__(self, cluster: KafkaCluster, endpoint: TokenEndpoint) -> None:
        self.cluster = cluster
        self.bootstrap = cluster.bootstrap
        self.security: dict[str, Any] = {
            "protocol": "SASL_PLAINTEXT",
            "mechanism": "OAUTHBEARER",
            "token_endpoint": endpoint.url,
            "client_id": "copier",
            "client_secret": "a-secret-that-must-not-be-seen",
        }
        how = ClusterConfig(bootstrap_servers=self.bootstrap, security=SecurityConfig(**self.security))
        self.client_config = dict(client_properties(how, client_id="observer"))


def test_given_real_kafka_with_oauth_and_sessions_that_end_then_every_record_is_copied_once(tmp_path: Path) -> None:
    with TokenEndpoint("copier", "a-secret-that-must-not-be-seen", 20) as endpoint, KafkaCluster(
        properties=_PROPERTIES
    ) as kafka:  # fmt: skip
        both = OAuthKafka(kafka, endpoint)
        create(AdminClient(both.client_config), "orders")
        link = {"name": "l", "source": "us", "target": "eu", "topics": {"include": ["orders"]}, "lanes": 2}
        with KafkaCluster(properties=_PROPERTIES, name="kafka-target") as second:
            target = OAuthKafka(second, endpoint)
            installation = Installation(tmp_path, {"us": both, "eu": target}, [link])
            with installation.worker() as worker:
                worker.wait_ready(within=60)
                for number in range(3):
                    produce(both.client_config, "orders", 0, records(300, start=300 * number))
                    installation.wait_until_copied(1)
                log = worker.log()
            assert "lost: connection closed" not in log
            assert "a-secret-that-must-not-be-seen" not in log
            assert len(endpoint.asked) >= 2
            verdict = compare_topics(both.client_config, target.client_config, {"orders": 1}, rename="us.{}")
            assert not verdict.problems
