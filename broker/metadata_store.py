"""The cluster's metadata in one small JSON file, replaced as a whole at every change."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from broker.security.acls import Acl
from broker.security.scram_store import ScramStore
from broker.storage.files import Files

if TYPE_CHECKING:
    from broker.cluster import Cluster

FILE = "cluster.json"


@dataclass(frozen=True, slots=True)
class SavedPartition:
    """What outlives a restart of a partition's leadership."""

    replicas: tuple[int, ...]
    leader_epoch: int


@dataclass(frozen=True, slots=True)
class SavedTopic:
    """What outlives a restart of a topic."""

    name: str
    topic_id: uuid.UUID
    configs: dict[str, str]
    partitions: tuple[SavedPartition, ...]


class MetadataStore:
    """Reads the file once, when made. A damaged file raises ValueError: better no start than lost topics."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self.cluster_id: str | None = None
        self.topics: list[SavedTopic] = []
        self.dynamic_default: dict[str, str] = {}
        self.dynamic_by_node: dict[int, dict[str, str]] = {}
        self.dynamic_by_group: dict[str, dict[str, str]] = {}
        self.acls: list[Acl] = []
        self.scram = ScramStore()
        content = files.read_all(FILE)
        if content is not None:
            self._read(content)

    def _read(self, content: bytes) -> None:
        try:
            data: dict[str, Any] = json.loads(content)
            self.cluster_id = data["cluster_id"]
            self.dynamic_default = dict(data["dynamic_default"])
            self.dynamic_by_node = {int(node): dict(values) for node, values in data["dynamic_by_node"].items()}
            groups = data.get("dynamic_by_group", {})
            self.dynamic_by_group = {group_id: dict(values) for group_id, values in groups.items()}
            for row in data["topics"]:
                partitions = tuple(SavedPartition(tuple(p["replicas"]), p["leader_epoch"]) for p in row["partitions"])
                self.topics.append(SavedTopic(row["name"], uuid.UUID(row["id"]), dict(row["configs"]), partitions))
            self.acls = [Acl.from_row(row) for row in data.get("acls", ())]
            self.scram = ScramStore(data.get("scram", ()))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{FILE} in the data directory is damaged: {error!r}") from error

    def save(self, cluster: Cluster) -> None:
        """Write everything down."""
        data = {
            "cluster_id": cluster.cluster_id,
            "dynamic_default": cluster.config.dynamic_default,
            "dynamic_by_node": cluster.config.dynamic_by_node,
            "dynamic_by_group": cluster.config.dynamic_by_group,
            "acls": [acl.row() for acl in cluster.acls],
            "scram": cluster.scram.rows(),
            "topics": [
                {
                    "name": topic.name,
                    "id": str(topic.topic_id),
                    "configs": topic.configs,
                    "partitions": [
                        {"replicas": partition.replicas, "leader_epoch": partition.leader_epoch}
                        for partition in topic.partitions
                    ],
                }
                for topic in cluster.topics
            ],
        }
        self._files.write_all(FILE, json.dumps(data).encode())
