"""Which source topics were surely deleted: `delete_topics: true` deletes their copies, and never under doubt.

A topic that isn't listed may also be hidden (Kafka doesn't list what we mayn't describe), unknown to a broker that has
just started, or the cluster behind the address may be another one now, or may have been made anew. So:

- every broker of the source is asked for the topic's id and has to answer that it doesn't know it (a topic that is
  hidden is answered TOPIC_AUTHORIZATION_FAILED; `KafkaApis.handleTopicMetadataRequest`), again after a while;
- another topic that was there together with it, by the ledger or by what this process saw, is still there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from uuid import UUID

from replicator.errors import ReplicatorError
from replicator.ledger.entry import Entry
from replicator.ledger.identity import NO_ID
from replicator.sync.admin import Topic
from replicator.wire.cluster import ClusterClient
from replicator.wire.kafka_errors import UNKNOWN_TOPIC_ID
from replicator.wire.metadata import fetch_topic_errors

PATIENCE_S = 10.0


class Deletions:
    """Of one link's source, in one process."""

    def __init__(
        self,
        source: ClusterClient,
        *,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._patience_s = patience_s
        self._clock = clock
        self._seen_with: dict[UUID, frozenset[UUID]] = {}
        self._unknown_since: dict[UUID, float] = {}

    async def find(
        self, entries: Collection[Entry], listed: Mapping[str, Topic]
    ) -> tuple[dict[str, UUID], dict[str, str]]:
        """Topics of these entries that were surely deleted -> the id of their copy; and of the others that are gone,
        why that isn't sure. Raises nothing: what can't be asked isn't sure."""
        present = frozenset(topic.topic_id for topic in listed.values())
        ledgered = frozenset(entry.source_topic_id for entry in entries) - {NO_ID}
        for topic_id in ledgered & present:
            self._seen_with[topic_id] = present
        missing: dict[str, set[tuple[UUID, UUID]]] = {}
        for entry in entries:
            if entry.topic not in listed:
                missing.setdefault(entry.topic, set()).add((entry.source_topic_id, entry.target_topic_id))
        doubt: dict[str, str] = {}
        candidates: dict[str, tuple[UUID, UUID]] = {}
        for topic, ids in missing.items():
            ((source_id, target_id), *others) = ids
            if others or NO_ID in (source_id, target_id):
                doubt[topic] = "the ledger doesn't say which topic was copied to which"
            elif not (self._seen_with.get(source_id, frozenset()) | ledgered) & present:
                doubt[topic] = "no topic that was there together with it is there any more: is it the same cluster?"
            else:
                candidates[topic] = source_id, target_id
        answers = await self._ask(source_id for source_id, _ in candidates.values())
        gone: dict[str, UUID] = {}
        now = self._clock()
        self._unknown_since = {
            source_id: self._unknown_since.get(source_id, now) for source_id, why in answers.items() if not why
        }
        for topic, (source_id, target_id) in candidates.items():
            if answers[source_id]:
                doubt[topic] = answers[source_id]
            elif now - self._unknown_since[source_id] < self._patience_s:
                doubt[topic] = "it is asked again in a moment"
            else:
                gone[topic] = target_id
        return gone, doubt

    async def _ask(self, topic_ids: Iterable[UUID]) -> dict[UUID, str]:
        """Why it isn't sure that a topic of this id is gone; empty if every broker says so."""
        wanted = list(topic_ids)
        answers = dict.fromkeys(wanted, "")
        if not wanted:
            return answers
        nodes = list(self._source.brokers)
        if not nodes:
            return dict.fromkeys(wanted, "no broker of the source is known")
        for node in nodes:
            try:
                connection = await self._source.connection(node, "admin")
                errors = await fetch_topic_errors(connection, wanted)
            except ReplicatorError as error:
                return dict.fromkeys(wanted, f"broker {node} of the source can't be asked: {error}")
            for topic_id in wanted:
                if errors.get(topic_id) != UNKNOWN_TOPIC_ID:
                    answers[topic_id] = f"broker {node} of the source knows its id {topic_id}: it may only be hidden"
        return answers
