"""Plain records into the link's control topic, from whoever has something to say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from replicator.ledger.lanes import control_topic
from replicator.ledger.log import KeyValue, LedgerLog
from replicator.wire.cluster import ClusterClient
from replicator.wire.producer_id import ProducerIdAndEpoch, init_producer_id

_WRITE_LIMIT_S = 5.0


class ControlWriter:
    """Appends as a producer of its own, one call after the other."""

    def __init__(self, link: str, target: ClusterClient) -> None:
        self._target = target
        self._control = LedgerLog(target, control_topic(link), 0)
        self._producer: ProducerIdAndEpoch | None = None
        self._writing = asyncio.Lock()

    async def write(self, pairs: Sequence[KeyValue]) -> None:
        """Append these; ReplicatorError if that isn't known to be done within a few seconds."""
        async with self._writing:
            if self._producer is None:
                self._producer = await init_producer_id(await self._target.any_connection())
                self._control.new_producer()
            try:
                await self._control.write(self._producer, pairs, timeout_s=_WRITE_LIMIT_S)
            except BaseException:
                self._producer = None  # maybe it is in the log: a new producer can't be taken for a repetition
                raise
