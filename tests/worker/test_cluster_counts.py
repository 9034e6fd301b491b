"""What a worker says of its two clusters: whether they answer, let it in, and slow it down."""

from __future__ import annotations

import pytest

from broker.clock import ManualClock
from broker.cluster import Cluster
from broker.node import Listener
from broker.security.credentials import Credentials
from broker.security.sasl import SaslServer
from replicator.config.models import ClusterConfig, SecurityConfig
from replicator.errors import AuthenticationError, UnreachableError
from replicator.telemetry.counters import LinkCounters
from replicator.wire.cluster import ClusterClient
from replicator.worker.cluster_counts import count_clusters


def client(alias: str, cluster: Cluster, password: str, clock: ManualClock) -> ClusterClient:
    security = SecurityConfig.model_validate(
        {"protocol": "SASL_PLAINTEXT", "mechanism": "PLAIN", "username": "alice", "password": password}
    )
    config = ClusterConfig(bootstrap_servers=cluster.bootstrap, security=security)
    return ClusterClient(alias, config, "test", clock.monotonic)


async def test_given_a_wrong_password_and_a_cluster_that_goes_away_then_both_can_be_seen() -> None:
    clock = ManualClock()
    counters = LinkCounters()
    sasl = SaslServer(["PLAIN"], Credentials({"alice": "secret"}))
    async with Cluster(listeners=[Listener(sasl=True)], sasl=sasl) as cluster:
        source, target = client("us", cluster, "wrong", clock), client("eu", cluster, "secret", clock)
        count_clusters(counters, source, target)
        assert counters.clusters["us"].reachable is None  # nobody has asked yet
        with pytest.raises(AuthenticationError):
            await source.all_topics()
        await target.all_topics()
        target.throttled_s, target.answers = 1.5, 4
        count_clusters(counters, source, target)
        us, eu = counters.clusters["us"], counters.clusters["eu"]
        assert (us.reachable, us.authentication_failures) == (False, 1)
        assert (eu.reachable, eu.authentication_failures) == (True, 0)
        assert (eu.throttled_s, eu.answers, counters.target_throttled_s) == (1.5, 4, 1.5)
    clock.advance(31)
    with pytest.raises(UnreachableError):
        await target.all_topics()
    count_clusters(counters, source, target)
    assert counters.clusters["eu"].reachable is False
    await source.close()
    await target.close()
