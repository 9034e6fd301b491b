"""What is kept of each thing. Members that users gave stand as they travel, in the service model's shapes."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class ClusterState(StrEnum):
    """ClusterState of the service model, and what calls are possible in each: updates only in ACTIVE."""

    ACTIVE = "ACTIVE"
    CREATING = "CREATING"
    DELETING = "DELETING"
    FAILED = "FAILED"
    HEALING = "HEALING"
    MAINTENANCE = "MAINTENANCE"
    REBOOTING_BROKER = "REBOOTING_BROKER"
    UPDATING = "UPDATING"


class Record(BaseModel):
    """A record is replaced, never changed: `record.model_copy(update=...)`."""

    model_config = ConfigDict(frozen=True)

    arn: str
    region: str
    account: str
    created: datetime
    tags: dict[str, str] = {}
    key: str  # under which it is kept; part of its ARN


class NodeRecord(BaseModel):
    """One broker: its loopback address, and the subnet whose zone it stands for."""

    model_config = ConfigDict(frozen=True)

    id: int
    address: str
    subnet: str
    zone: str
    added: datetime
    eni: str


class ClusterRecord(Record):
    """A cluster. `provisioned` and `serverless` have the shapes of Provisioned and Serverless, whichever it is."""

    host_part: str  # tells its host names from those of others of its name
    name: str
    state: ClusterState
    state_info: dict[str, str] | None = None
    version: str
    active_operation: str | None = None
    provisioned: dict[str, Any] | None = None
    serverless: dict[str, Any] | None = None
    nodes: list[NodeRecord] = []
    policy: str | None = None
    policy_version: str | None = None
    scram_secrets: list[str] = []

    @property
    def type(self) -> str:
        """ClusterType of the service model."""
        return "SERVERLESS" if self.serverless is not None else "PROVISIONED"


class OperationRecord(Record):
    """Something done to a cluster; `source` and `target` have the shape MutableClusterInfo."""

    cluster_arn: str
    cluster_type: str
    type: str
    state: str  # PENDING, UPDATE_IN_PROGRESS, UPDATE_COMPLETE, UPDATE_FAILED
    ended: datetime | None = None
    request_id: str
    source: dict[str, Any] = {}
    target: dict[str, Any] = {}
    vpc_connection: dict[str, Any] | None = None
    error: dict[str, str] | None = None
    brokers: list[int] = []  # those that are rebooted


class RevisionRecord(BaseModel):
    """One revision of a configuration."""

    model_config = ConfigDict(frozen=True)

    revision: int
    created: datetime
    description: str = ""
    properties: str  # server.properties as given


class ConfigurationRecord(Record):
    """A configuration and all its revisions, the newest last."""

    name: str
    description: str = ""
    kafka_versions: list[str] = []
    state: str = "ACTIVE"
    revisions: list[RevisionRecord] = Field(min_length=1)


class VpcConnectionRecord(Record):
    """A connection from a VPC to a cluster."""

    cluster_arn: str
    state: str
    authentication: str
    vpc: str
    subnets: list[str]
    security_groups: list[str]
