"""A lane's ledger and map partitions, written outside of transactions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from replicator.errors import ReplicatorError
from replicator.ledger.lanes import ledger_topic, map_topic
from replicator.ledger.log import KeyValue, LedgerLog
from replicator.wire.cluster import ClusterClient
from replicator.wire.producer_id import ProducerIdAndEpoch


class PlainState:
    """Appends as one producer, one batch after the other.

    When an append fails nobody knows whether its bytes are in the log, and other records under their sequences could
    be taken for duplicates of them: that producer writes no more. The next one comes from `new_producer`. Without
    that, nothing more is written: a producer that nobody has fenced could write state of a lane that is another's
    (rule C).
    """

    def __init__(
        self,
        target: ClusterClient,
        link: str,
        lane: int,
        new_producer: Callable[[], Awaitable[ProducerIdAndEpoch]] | None,
    ) -> None:
        self._ledger = LedgerLog(target, ledger_topic(link), lane)
        self._map = LedgerLog(target, map_topic(link), lane)
        self._new_producer = new_producer
        self._producer: ProducerIdAndEpoch | None = None
        self._writing = asyncio.Lock()

    def begin(self, producer: ProducerIdAndEpoch) -> None:
        """Write as this producer, of which nothing is in these partitions yet."""
        self._producer = producer
        self._ledger.new_producer()
        self._map.new_producer()

    async def write_ledger(self, pairs: Sequence[KeyValue]) -> None:
        """Append to the ledger; acknowledged when it returns."""
        await self._append(self._ledger, pairs)

    async def write_map(self, pairs: Sequence[KeyValue]) -> None:
        """Append to the offset map; acknowledged when it returns."""
        await self._append(self._map, pairs)

    async def _append(self, log: LedgerLog, pairs: Sequence[KeyValue]) -> None:
        async with self._writing:
            if self._producer is None:
                if self._new_producer is None:
                    raise ReplicatorError(f"{log.topic}: an earlier write failed; the lane has to recover first")
                self.begin(await self._new_producer())
            assert self._producer is not None
            try:
                await log.write(self._producer, pairs)
            except BaseException:
                self._producer = None
                raise
