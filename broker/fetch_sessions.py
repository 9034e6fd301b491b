"""Incremental fetch sessions (KIP-227): the broker remembers what a client reads and answers only what changed."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, field

from kio.schema.errors import ErrorCode

from broker.config import BrokerConfig
from broker.errors import KafkaError

INITIAL_EPOCH = 0
FINAL_EPOCH = -1
MAX_PARTITIONS_PER_SESSION = 100_000

PartitionKey = tuple[str | uuid.UUID, int]


@dataclass(slots=True)
class FetchPartition:
    """What a client wants of one partition and, within a session, what it was last told."""

    topic: str | uuid.UUID
    index: int
    fetch_offset: int
    max_bytes: int
    current_leader_epoch: int = -1
    last_fetched_epoch: int = -1
    log_start_offset: int = -1
    told_high_watermark: int = -1
    told_log_start_offset: int = -1

    @property
    def key(self) -> PartitionKey:
        return self.topic, self.index


@dataclass(slots=True)
class FetchSession:
    """The partitions of one client on one node, in the order in which they are served."""

    session_id: int
    node_id: int
    epoch: int
    uses_topic_ids: bool
    partitions: dict[PartitionKey, FetchPartition] = field(default_factory=dict)


class FetchSessions:
    """The sessions of all nodes, least recently used first; bounded by max.incremental.fetch.session.cache.slots."""

    def __init__(self, config: BrokerConfig, rng: random.Random | None = None) -> None:
        self._config = config
        self._random = rng or random.Random()
        self._sessions: dict[int, FetchSession] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def create(self, node_id: int, partitions: list[FetchPartition], uses_topic_ids: bool) -> FetchSession | None:
        """A new session, or None when none is to be had: no slots, or too many partitions."""
        slots = self._config.get_int("max.incremental.fetch.session.cache.slots")
        if slots < 1 or len(partitions) > MAX_PARTITIONS_PER_SESSION:
            return None
        while len(self._sessions) >= slots:
            del self._sessions[next(iter(self._sessions))]
        session_id = self._random.randint(1, 2**31 - 1)
        while session_id in self._sessions:
            session_id = self._random.randint(1, 2**31 - 1)
        session = FetchSession(session_id, node_id, 1, uses_topic_ids, {p.key: p for p in partitions})
        self._sessions[session_id] = session
        return session

    def resume(self, node_id: int, session_id: int, epoch: int, uses_topic_ids: bool) -> FetchSession:
        """The session for its next request, its epoch moved on.

        Raises KafkaError FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH or FETCH_SESSION_TOPIC_ID_ERROR.
        """
        session = self._sessions.get(session_id)
        if session is None or session.node_id != node_id:
            raise KafkaError(ErrorCode.fetch_session_id_not_found)
        if session.epoch != epoch:
            raise KafkaError(ErrorCode.invalid_fetch_session_epoch)
        if session.uses_topic_ids != uses_topic_ids:
            raise KafkaError(ErrorCode.fetch_session_topic_id_error)
        session.epoch = 1 if session.epoch == 2**31 - 1 else session.epoch + 1
        self._sessions[session_id] = self._sessions.pop(session_id)
        return session

    def remove(self, session_id: int) -> None:
        """Close a session; none of that id is no error."""
        self._sessions.pop(session_id, None)

    def forget_node(self, node_id: int) -> None:
        """A node that stops loses its sessions."""
        self._sessions = {i: s for i, s in self._sessions.items() if s.node_id != node_id}
