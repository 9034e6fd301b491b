"""Taking a lane over from an owner that may still be running: fence first, then look (design section 6).

The lane's second transactional id is for fenced writing alone. An empty transaction of it puts a marker with our
producer epoch into each partition; from there on the partition's broker refuses every older epoch. Sequences in the
target's tails up to our markers say what former owners had written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence

import structlog

from replicator.errors import ReplicatorError
from replicator.ledger.entry import Entry
from replicator.ledger.provenance import Provenance
from replicator.ledger.recovery import Recovered, recover_entries
from replicator.states import PartitionFault
from replicator.wire import kafka_errors as codes
from replicator.wire.cluster import ClusterClient
from replicator.wire.producer_id import ProducerIdAndEpoch
from replicator.wire.transactions import TransactionalProducer

log = structlog.get_logger(__name__)

SURELY_OVER_S = 45.0  # a worker's session, the requests it had under way, and some more
_CONFIRM_S = 1.0  # between two readings that must be equal

Key = tuple[str, int]
Place = tuple[str, int]
Found = dict[Key, Recovered | PartitionFault | ReplicatorError]


class Takeover:
    """The fence of one lane, owned by its new owner. One call at a time."""

    def __init__(
        self,
        producer: TransactionalProducer,
        lane: int,
        target: ClusterClient,
        now_ms: Callable[[], int],
        *,
        shared: bool = False,
        origins: Provenance | None = None,
    ) -> None:
        self._producer = producer
        self._lane = lane
        self._target = target
        self._now_ms = now_ms
        self._shared = shared
        self._origins = origins
        self._own: Place | None = None
        self._unsure = False
        self._waited = False

    @property
    def identity(self) -> ProducerIdAndEpoch:
        """Who writes the lane's plain batches."""
        return self._producer.identity

    @property
    def waiting_for(self) -> ReplicatorError | None:
        """What a call that is under way has failed with so far."""
        return self._producer.waiting_for

    async def claim(self, ledger: Place, map_: Place) -> ProducerIdAndEpoch:
        """Fence the lane's own partitions: what former owners wrote there is complete and readable when it returns."""
        await self._producer.init()
        self._own = ledger
        await self._fence({place[0]: [place[1]] for place in (ledger, map_)})
        # EndTxn answers before the markers are written; the next transaction begins when they are.
        await self._fence({ledger[0]: [ledger[1]]})
        return self.identity

    def knows(self, producers: Collection[int]) -> None:
        """The producer ids that have written for the lane. Without ours among them a former owner isn't fenced: the
        coordinator has forgotten the transactional id, and given out another producer id."""
        self._unsure = bool(producers) and self.identity.producer_id not in producers

    async def settle(self, entries: Sequence[Entry], producers: Collection[int], source: ClusterClient) -> Found:
        """Fence the target partitions of these entries, and find out what was written since. All have leaders, as far
        as is known. An error that isn't a PartitionFault says why that can't be told now."""
        refused = await self._fence(_places(entries))
        answers: Found = {
            (e.topic, e.partition): codes.BrokerError(
                refused[at], f"{e.target_topic}-{e.partition}: AddPartitionsToTxn"
            )
            for e in entries
            if (at := (e.target_topic, e.partition)) in refused
        }
        left = [e for e in entries if (e.target_topic, e.partition) not in refused]
        # A new owner notes its producer id before it waits; if it dies then, the entries still name the former one.
        if not self._waited and any(e.producer_id not in (-1, self.identity.producer_id) for e in left):
            self._unsure = True
        if left:
            answers |= await self._written(left, producers, source)
        return answers

    async def renew(self) -> None:
        """Use the transactional id, so that the coordinator doesn't forget it (`transactional.id.expiration.ms`)."""
        if self._own is not None:
            await self._fence({self._own[0]: [self._own[1]]})

    async def _written(self, entries: Sequence[Entry], producers: Collection[int], source: ClusterClient) -> Found:
        async def read() -> Found:
            return await recover_entries(
                entries,
                owner=self.identity,
                producers=producers,
                source=source,
                target=self._target,
                now_ms=self._now_ms,
                shared=self._shared,
                origins=self._origins,
                to_end=self._unsure,  # our markers fence our producer id alone: what counts may stand behind them
            )

        if not self._unsure:
            return await read()
        log.warning(
            "the lane's producer id has changed, so that a former owner isn't fenced; waiting until it is surely gone",
            lane=self._lane, seconds=SURELY_OVER_S, partitions=len(entries),
        )  # fmt: skip
        await asyncio.sleep(SURELY_OVER_S)
        before = await read()
        while True:
            await asyncio.sleep(_CONFIRM_S)
            now = await read()
            if _positions(now) == _positions(before):
                self._unsure, self._waited = False, True
                return now
            before = now

    async def _fence(self, topics: dict[str, list[int]]) -> dict[Place, int]:
        """An empty transaction over these partitions; those that can't be part of one, with the error."""
        refused: dict[Place, int] = {}
        while topics:
            found = await self._producer.add_partitions(topics)
            if not found:
                await self._producer.end(commit=True)
                break
            refused.update(found)
            left = {topic: [n for n in numbers if (topic, n) not in found] for topic, numbers in topics.items()}
            topics = {topic: numbers for topic, numbers in left.items() if numbers}
        if self._own in refused:
            raise codes.BrokerError(refused[self._own], f"{self._own[0]}-{self._own[1]} can't be part of a transaction")
        return refused


def _places(entries: Sequence[Entry]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for entry in entries:
        places.setdefault(entry.target_topic, []).append(entry.partition)
    return places


def _positions(found: Mapping[Key, Recovered | PartitionFault | ReplicatorError]) -> dict[Key, object]:
    """What two readings must agree on."""
    return {
        key: (answer.entry.source_next, answer.copied) if isinstance(answer, Recovered) else type(answer)
        for key, answer in found.items()
    }
