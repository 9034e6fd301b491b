"""A cluster's topics out of its metadata, which isn't decoded where it is the same as last time."""

from __future__ import annotations

from replicator.sync.admin import Topic
from replicator.wire.cluster import ClusterClient
from replicator.wire.kafka_errors import NONE
from replicator.wire.metadata import ClusterView

UNKNOWN_REPLICAS = 0  # the client doesn't read who the replicas are


class MetadataTopics:
    """`list_topics` as `Admin` has it, but for the replication factor, which is UNKNOWN_REPLICAS.

    Give it a client of its own: one that is asked for other things in between decodes all topics each time.
    """

    def __init__(self, client: ClusterClient) -> None:
        self._client = client
        self._view: ClusterView | None = None
        self._topics: dict[str, Topic] = {}

    async def list_topics(self) -> dict[str, Topic]:
        """All topics that we may describe; the same object as last time if nothing has changed."""
        view = await self._client.all_topics()
        if view is not self._view:
            self._topics = {
                name: Topic(name, topic.topic_id, len(topic.partitions), UNKNOWN_REPLICAS, topic.internal)
                for name, topic in view.topics.items()
                if topic.error == NONE
            }
            self._view = view
        return self._topics
