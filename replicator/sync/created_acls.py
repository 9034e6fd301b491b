"""The ACLs that links say they created, out of their control topics."""

from __future__ import annotations

from collections.abc import Collection

import structlog

from replicator.errors import ReplicatorError
from replicator.ledger.lanes import INTERNAL_PREFIX, control_topic
from replicator.ledger.log import LedgerLog
from replicator.sync.acl import Acl, take_created
from replicator.wire.cluster import ClusterClient

log = structlog.get_logger(__name__)


class CreatedAcls:
    """Follows one control topic; its client's metadata has to be kept up to date."""

    def __init__(self, client: ClusterClient, topic: str) -> None:
        self._client = client
        self._topic = topic
        self._log = LedgerLog(client, topic, 0)
        self._next = -1
        self._created: set[Acl] = set()

    async def read(self) -> Collection[Acl]:
        """As of now; none as long as there is no such topic. ReplicatorError if it can't be read."""
        if self._client.topic_id_of(self._topic) is None:
            return ()
        pairs, self._next = await self._log.read_from(self._next)
        for key, value in pairs:
            take_created(self._created, key, value)
        return self._created


class ForeignAcls:
    """Those that any link created on this cluster: under identical naming in both directions they come from us."""

    def __init__(self, client: ClusterClient) -> None:
        self._client = client
        self._topics: dict[str, CreatedAcls] = {}
        self._said: set[str] = set()

    async def read(self) -> Collection[Acl]:
        """As of now, as far as the control topics may be read."""
        found: set[Acl] = set()
        for topic in list(self._client.topics):
            if not topic.startswith(INTERNAL_PREFIX) or topic != control_topic(topic[len(INTERNAL_PREFIX) : -8]):
                continue
            try:
                found.update(await self._topics.setdefault(topic, CreatedAcls(self._client, topic)).read())
            except ReplicatorError as error:
                if error.retriable:
                    raise
                if topic not in self._said:
                    self._said.add(topic)
                    log.warning("another link's control topic can't be read", topic=topic, error=str(error))
        return found
