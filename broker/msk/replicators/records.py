"""What is kept of a replicator. Members that users gave stand as they travel, in the service model's shapes."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from broker.msk.records import Record


class ReplicatorState(StrEnum):
    """ReplicatorState of the service model. There is no way to pause one."""

    CREATING = "CREATING"
    RUNNING = "RUNNING"
    UPDATING = "UPDATING"
    DELETING = "DELETING"
    FAILED = "FAILED"


class Pinned(BaseModel):
    """Names that a replicator keeps to because it doesn't detect new ones; None where it does."""

    model_config = ConfigDict(frozen=True)

    topics: list[str] | None = None
    groups: list[str] | None = None


class ReplicatorRecord(Record):
    """A replicator. Its region is the target's.

    `source` and `target` are what the request calls them by: a cluster's ARN, or an Apache Kafka cluster's id.
    """

    name: str
    description: str | None = None
    state: ReplicatorState
    state_info: dict[str, str] | None = None
    version: str
    role: str
    clusters: list[dict[str, Any]]  # as in the request
    source: str
    target: str
    source_alias: str
    target_alias: str
    compression: str
    topics: dict[str, Any]
    groups: dict[str, Any]
    log_delivery: dict[str, Any] | None = None
    link: str  # the link's name, which its internal topics carry: the replicator's, where no other link has it
    pinned: Pinned = Pinned()

    @property
    def identical(self) -> bool:
        """Whether copies have the names of their topics."""
        return bool(self.topics["topicNameConfiguration"]["type"] == "IDENTICAL")

    @property
    def source_region(self) -> str:
        """The source's region; an Apache Kafka cluster is where the replicator is."""
        return self.source.split(":")[3] if self.source.startswith("arn:") else self.region

    def cluster(self, reference: str) -> dict[str, Any]:
        """The request's entry for a cluster."""
        return next(one for one in self.clusters if reference_of(one) == reference)


class RetiredLink(Record):
    """A link whose replicator was deleted and whose ledger stays: under identical names it still tells copies from
    originals, and the next replicator of the same two clusters goes on with it; else it couldn't be deleted."""

    link: str
    source: str
    target: str


def reference_of(cluster: dict[str, Any]) -> str:
    """What `replicationInfoList` calls a cluster by."""
    if "amazonMskCluster" in cluster:
        return str(cluster["amazonMskCluster"]["mskClusterArn"])
    return str(cluster["apacheKafkaCluster"]["apacheKafkaClusterId"])
