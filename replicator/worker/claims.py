"""No two links write one target topic: a partition that begins looks whether another link's ledger has it already.

Rule A writes an entry before the first record. So of two links that begin at the same time, at least one finds the
other's entry when it looks after having written its own; both may. Whoever finds one doesn't write. Entries whose
transaction is still open count as well: nobody knows when their markers come.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from dataclasses import replace

import structlog

from replicator.config.models import LinkConfig
from replicator.errors import ReplicatorError
from replicator.ledger.codec import LedgerFormatError
from replicator.ledger.entry import Entry
from replicator.ledger.lanes import lane_of, link_of_ledger
from replicator.ledger.log import LedgerLog
from replicator.ledger.moved import known_from_records
from replicator.states import Reason, State
from replicator.wire import kafka_errors as codes
from replicator.wire.cluster import ClusterClient
from replicator.wire.fetch import READ_UNCOMMITTED

log = structlog.get_logger(__name__)

Key = tuple[str, int]


class Claims:
    """What the other links of the target cluster have, as far as we may read their ledgers."""

    def __init__(self, link: LinkConfig, target: ClusterClient, now_ms: Callable[[], int]) -> None:
        self._link = link
        self._target = target
        self._now_ms = now_ms
        self._lanes: dict[str, int] = {}  # of the other ledgers, by topic name
        self._listed_at = -1e9
        self._listing = asyncio.Lock()
        self._said: set[str] = set()

    async def contested(self, entries: Collection[Entry]) -> tuple[list[Entry], set[Key]]:
        """Those of these entries that another link has too, with the fault that says so; and the partitions of which
        that can't be found out now. The entries must be in our ledger. ReplicatorError if the target doesn't answer.
        """
        fresh = [entry for entry in entries if _begins(entry)]
        if not fresh:
            return [], set()
        exclusive = self._link.topics.naming == "prefix"
        contested, unknown = [], set[Key]()
        for ledger, lanes in (await self._others()).items():
            by_lane: dict[int, list[Entry]] = {}
            for entry in fresh:
                by_lane.setdefault(lane_of(entry.topic, entry.partition, lanes), []).append(entry)
            for lane, ours in by_lane.items():
                try:
                    theirs = await self._read(ledger, lane)
                except ReplicatorError as error:
                    unknown |= {(entry.topic, entry.partition) for entry in ours}
                    log.warning(
                        "partitions wait until it is known whether another link writes to the same topics",
                        ledger=ledger, lane=lane, partitions=len(ours), error=str(error),
                    )  # fmt: skip
                    continue
                contested += [self._fault(entry, ledger) for entry in ours if _collide(entry, theirs, exclusive)]
        return contested, unknown

    async def _others(self) -> dict[str, int]:
        """The other links' ledgers, listed after this was called; calls that wait for one another share a listing."""
        asked_at = time.monotonic()
        async with self._listing:
            if self._listed_at <= asked_at:
                began = time.monotonic()
                view = await self._target.all_topics()
                self._lanes = {
                    name: len(topic.partitions)
                    for name, topic in view.topics.items()
                    if link_of_ledger(name) not in (None, self._link.name) and topic.partitions
                }
                self._listed_at = began
            return self._lanes

    async def _read(self, ledger: str, lane: int) -> dict[Key, Entry]:
        try:
            pairs = await LedgerLog(self._target, ledger, lane, isolation=READ_UNCOMMITTED).read()
            return known_from_records(pairs)
        except (codes.BrokerError, LedgerFormatError) as error:
            if isinstance(error, codes.BrokerError) and error.code not in codes.AUTHORIZATION:
                raise
            if ledger not in self._said:
                self._said.add(ledger)
                log.warning(
                    "can't look whether another link writes to the same topics", ledger=ledger, error=str(error)
                )
            return {}

    def _fault(self, entry: Entry, ledger: str) -> Entry:
        now = self._now_ms()
        return replace(
            entry,
            state=State.FAULTED,
            reason=Reason.FOREIGN_WRITER,
            detail=f"Link {link_of_ledger(ledger)} copies {entry.topic}-{entry.partition} into "
            f"{entry.target_topic}-{entry.partition} of cluster {self._link.target} too, as its ledger {ledger} says. "
            "This link hasn't written there.",
            since_ms=entry.since_ms if entry.reason is Reason.FOREIGN_WRITER else now,
            written_ms=now,
        )


def _begins(entry: Entry) -> bool:
    """Whether nothing was written so far, and nobody has said that something may be."""
    if entry.producer_id >= 0 or entry.reason not in (None, Reason.FOREIGN_WRITER):
        return False
    return all(gap.reason is not Reason.FOREIGN_WRITER for gap in entry.gaps)


def _collide(entry: Entry, theirs: dict[Key, Entry], exclusive: bool) -> bool:
    """Whether the other link writes to the same target topic; under identical names, from the same source topic."""
    other = theirs.get((entry.topic, entry.partition))
    if other is None or other.reason is Reason.FOREIGN_WRITER:
        return False
    if not exclusive and other.source_topic_id != entry.source_topic_id:
        return False
    return (other.target_topic, other.target_topic_id) == (entry.target_topic, entry.target_topic_id)
