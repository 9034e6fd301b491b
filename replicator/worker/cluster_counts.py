"""What a worker sees of a link's two clusters, as numbers: do they answer, do they let us in, do they slow us down."""

from __future__ import annotations

from replicator.telemetry.counters import ClusterCounters, LinkCounters
from replicator.wire.cluster import ClusterClient


def count_clusters(counters: LinkCounters, source: ClusterClient, target: ClusterClient) -> None:
    """Bring `counters.clusters` up to date."""
    counters.target_throttled_s = target.throttled_s
    for client in (source, target):
        seen = counters.clusters.setdefault(client.alias, ClusterCounters())
        seen.reachable = client.reachable()
        seen.authentication_failures = client.authentication_failures
        seen.throttled_s, seen.answers = client.throttled_s, client.answers
