"""What an error on the source side means for a partition, and when it reads again.

Positions are never reset silently (design section 10): an offset out of range is compared with where the log begins
and ends, and becomes a typed fault with the offsets of the gap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import structlog

from replicator.errors import ReplicatorError
from replicator.flow.partition import HEAL_AFTER_S, PartitionFlow
from replicator.states import PartitionFault, Reason
from replicator.wire import kafka_errors as codes
from replicator.wire.cluster import ClusterClient
from replicator.wire.fetch import READ_UNCOMMITTED, FetchedPartition
from replicator.wire.iam import TOPIC, in_iam
from replicator.wire.list_offsets import EARLIEST, LATEST

log = structlog.get_logger(__name__)

_PAUSE_S = 0.2
_PAUSE_MOST_S = 5.0


class SourceErrors:
    """Looks into partitions that can't be fetched; one task per such partition."""

    def __init__(self, source: ClusterClient) -> None:
        self._source = source
        self._tasks: dict[PartitionFlow, asyncio.Task[None]] = {}

    def look_into(self, flow: PartitionFlow, fetched: FetchedPartition) -> None:
        """Stop fetching it, find out why it can't be fetched, then let it go on or fault."""
        self._begin(flow, self._look_into(flow, fetched))

    def try_later(self, flow: PartitionFlow) -> None:
        """It faulted for something that may heal: stop fetching it, and try again after a while."""
        self._begin(flow, self._go_on(flow, HEAL_AFTER_S))

    def looks_into(self, flow: PartitionFlow) -> bool:
        """Whether the partition will be tried again from here."""
        return flow in self._tasks

    def _begin(self, flow: PartitionFlow, work: Coroutine[object, None, None]) -> None:
        if flow.closed or flow in self._tasks:
            work.close()
            flow.stop_fetching()
            return
        flow.stop_fetching()
        task: asyncio.Task[None] = asyncio.create_task(work, name=f"look into {flow}")
        self._tasks[flow] = task
        task.add_done_callback(lambda done: self._forget(flow, done))

    def _forget(self, flow: PartitionFlow, task: asyncio.Task[None]) -> None:
        if self._tasks.get(flow) is task:
            del self._tasks[flow]

    async def close(self) -> None:
        """Give up on what is being looked into."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def recreated(self, flow: PartitionFlow) -> PartitionFault:
        """The fault for a source topic that has another id than the one that was copied."""
        now = self._source.topic_id_of(flow.topic)
        return PartitionFault(
            Reason.SOURCE_RECREATED,
            f"Topic {flow.topic} of cluster {self._source.alias} had id {flow.source_topic_id}, now it has {now}; "
            f"copied up to offset {flow.source_next}.",
            topic=flow.topic,
            partition=flow.partition,
            offset=flow.source_next,
        )

    async def _look_into(self, flow: PartitionFlow, fetched: FetchedPartition) -> None:
        flow.source_tries += 1
        tries = flow.source_tries
        pause = min(_PAUSE_MOST_S, _PAUSE_S * 2 ** min(tries - 2, 6)) if tries > 1 else 0.0
        try:
            pause += await self._judge(flow, fetched)
        except ReplicatorError as error:
            log.warning("can't look into a source partition", partition=str(flow), error=str(error))
            pause += _PAUSE_S
        except Exception as error:  # a bug must show, and not leave the partition out for ever
            log.exception("looking into a source partition failed", partition=str(flow))
            self._fault(flow, Reason.INTERNAL_ERROR, f"{type(error).__name__}: {error}.")
            pause += HEAL_AFTER_S
        await self._go_on(flow, pause)

    async def _go_on(self, flow: PartitionFlow, pause: float) -> None:
        if pause:
            await asyncio.sleep(pause)
        self._tasks.pop(flow, None)
        if not flow.closed:
            flow.try_fetching()

    async def _judge(self, flow: PartitionFlow, fetched: FetchedPartition) -> float:
        """Fault the partition if that is what the error means; how many seconds to wait before the next try."""
        where = f"{flow.topic}-{flow.partition} of cluster {self._source.alias}"
        code = fetched.error
        if fetched.diverging is not None or code == codes.OFFSET_OUT_OF_RANGE:
            await self._source.refresh()
            if self._is_recreated(flow):
                flow.fault(self.recreated(flow))
                return 0.0
        if fetched.diverging is not None:
            epoch, end = fetched.diverging
            self._fault(
                flow,
                Reason.SOURCE_TRUNCATED,
                f"{where}: leader epoch {epoch} ends at offset {end} now; read was up to {flow.fetch_offset} in epoch "
                f"{flow.fetched_epoch}.",
            )
            return 0.0
        if code == codes.OFFSET_OUT_OF_RANGE:
            return await self._out_of_range(flow, where)
        if code in (codes.CORRUPT_MESSAGE, codes.UNSUPPORTED_COMPRESSION_TYPE):
            self._fault(flow, Reason.CORRUPT_BATCH, f"{where} at offset {flow.fetch_offset}: {codes.error_name(code)}.")
            return HEAL_AFTER_S
        if code == codes.TOPIC_AUTHORIZATION_FAILED:
            where = f"topic {flow.topic} of cluster {self._source.alias}"
            self._fault(flow, Reason.NOT_AUTHORIZED, f"Read on {where} ({in_iam(TOPIC, 'Read')}).")
            return HEAL_AFTER_S
        await self._source.refresh()
        if self._is_recreated(flow):
            flow.fault(self.recreated(flow))
        elif code in (codes.UNKNOWN_TOPIC_OR_PARTITION, codes.UNKNOWN_TOPIC_ID) and flow.source_tries > 5:
            self._fault(flow, Reason.SOURCE_MISSING, f"Topic {flow.topic} of cluster {self._source.alias}.")
            return HEAL_AFTER_S
        elif not codes.is_retriable(code):
            self._fault(flow, Reason.INTERNAL_ERROR, f"{where}: fetch answers {codes.error_name(code)} ({code}).")
            return HEAL_AFTER_S
        return 0.0

    def _is_recreated(self, flow: PartitionFlow) -> bool:
        return self._source.topic_id_of(flow.topic) not in (None, flow.source_topic_id)

    async def _out_of_range(self, flow: PartitionFlow, where: str) -> float:
        key = (flow.topic, flow.partition)
        offset = flow.fetch_offset
        start = (await self._source.offsets([(*key, EARLIEST)], READ_UNCOMMITTED)).get(key)
        end = (await self._source.offsets([(*key, LATEST)], READ_UNCOMMITTED)).get(key)
        if start is None or end is None or start.error or end.error:
            await self._source.refresh()
            return _PAUSE_S
        if offset < start.offset:
            self._fault(
                flow,
                Reason.RETENTION_OVERRUN,
                f"{where}: offsets {offset} to {start.offset - 1} are gone; the log begins at {start.offset}.",
            )
        elif offset > end.offset:
            self._fault(
                flow,
                Reason.SOURCE_TRUNCATED,
                f"{where}: read was up to offset {offset}, the log ends at {end.offset} now.",
            )
        else:
            flow.fetched_epoch = -1  # the broker has forgotten the epoch that we named
        return 0.0

    @staticmethod
    def _fault(flow: PartitionFlow, reason: Reason, detail: str) -> None:
        flow.fault(PartitionFault(reason, detail, topic=flow.topic, partition=flow.partition, offset=flow.fetch_offset))
