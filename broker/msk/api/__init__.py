"""The operations, a module for each family; importing this package registers them all."""

from broker.msk.api import (
    clusters,
    configurations,
    operations,
    policies,
    replicators,
    scram_secrets,
    tags,
    topics,
    updates,
    versions,
    vpc_connections,
)

__all__ = [
    "clusters",
    "configurations",
    "operations",
    "policies",
    "replicators",
    "scram_secrets",
    "tags",
    "topics",
    "updates",
    "versions",
    "vpc_connections",
]
