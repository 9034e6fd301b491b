"""The whole ledger of a link, kept up to date in memory: for whoever decides about topics whose lanes run elsewhere."""

from __future__ import annotations

import asyncio
from typing import Any

from replicator.config.models import LinkConfig
from replicator.errors import ReplicatorError, UnreachableError
from replicator.ledger.entry import Entry
from replicator.ledger.lanes import ledger_topic
from replicator.ledger.reader import LedgerReader
from replicator.sync.admin import LATEST, Admin
from replicator.wire.cluster import ClusterClient
from replicator.wire.fetch import READ_COMMITTED
from replicator.wire.kafka_errors import BrokerError
from replicator.wire.list_offsets import LATEST as _LATEST


class LedgerFollower:
    """Reads on where it stopped, each time it is asked."""

    def __init__(
        self, client_properties: dict[str, Any], link: LinkConfig, target: Admin, client: ClusterClient | None = None
    ) -> None:
        """`client`: asked for the ledger's end instead of `target`; its metadata has to be kept up to date."""
        self._properties = client_properties
        self._link = link
        self._target = target
        self._client = client
        self._reader: LedgerReader | None = None
        self._reading = asyncio.Lock()

    async def entries(self) -> dict[tuple[str, int], Entry]:
        """The entries of all lanes, as of this call or later. ReplicatorError if they can't be read."""
        topic, lanes = ledger_topic(self._link.name), self._link.lanes
        async with self._reading:
            ends = await (self._asked_ends(topic, lanes) if self._client is None else self._ends(self._client, topic))
            if self._reader is not None and self._reader.outdated:
                former, self._reader = self._reader, None
                await asyncio.to_thread(former.close)
            if self._reader is None:
                self._reader = await asyncio.to_thread(
                    LedgerReader, self._properties, self._link.name, lanes, cluster=self._target.cluster
                )
            return await asyncio.to_thread(self._reader.read, ends)

    async def _asked_ends(self, topic: str, lanes: int) -> dict[int, int]:
        ends: dict[int, int] = {}
        listed = await self._target.list_offsets({(topic, lane): LATEST for lane in range(lanes)}, committed=True)
        for (_, lane), end in listed.items():
            if isinstance(end, ReplicatorError):
                raise end
            ends[lane] = end.offset
        return ends

    async def _ends(self, client: ClusterClient, topic: str) -> dict[int, int]:
        lanes = range(self._link.lanes)
        listed = await client.offsets([(topic, lane, _LATEST) for lane in lanes], READ_COMMITTED)
        ends: dict[int, int] = {}
        for lane in lanes:
            end = listed.get((topic, lane))
            if end is None:
                raise UnreachableError(f"cluster {client.alias}: {topic}-{lane} has no leader")
            if end.error:
                raise BrokerError(end.error, f"cluster {client.alias}: list offsets of {topic}-{lane}")
            ends[lane] = end.offset
        return ends

    async def close(self) -> None:
        """Disconnect."""
        async with self._reading:
            if self._reader is not None:
                reader, self._reader = self._reader, None
                await asyncio.to_thread(reader.close)
