"""A lane's map and entries while records keep coming: what is written is of one instant, and nothing falls between."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from replicator.errors import UnreachableError
from replicator.flow.partition import PartitionFlow
from replicator.ledger.lanes import ledger_topic, map_topic
from replicator.ledger.load import entries_from_records
from replicator.ledger.log import LedgerLog
from replicator.ledger.map_chunks import chunks_from_records, decode_runs
from replicator.ledger.map_reader import map_of
from replicator.ledger.map_tail import TAIL_RUNS
from replicator.states import State, Way
from replicator.wire.producer_id import ProducerIdAndEpoch
from replicator.worker.lane import Lane
from tests.ledger.offset_map_model import Model, check_exact
from tests.ledger.test_entry import ENTRY

KEY = ENTRY.topic, ENTRY.partition


class Copying:
    """A lane without transactions, with one partition whose records come in while anything is written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lane = Lane(0, "l", cast(Any, None), lambda: 0)
        self.model = Model()
        self.written: dict[str, list[tuple[bytes | None, bytes | None]]] = {map_topic("l"): [], ledger_topic("l"): []}
        self.failures = 0
        self.tail = self.lane.map_tail(ENTRY)
        flow = SimpleNamespace(
            key=KEY, topic=KEY[0], partition=KEY[1], source_topic_id=ENTRY.source_topic_id, source_epoch=1,
            closed=False, target_topic=ENTRY.target_topic, target_topic_id=ENTRY.target_topic_id,
            source_next=0, target_next=0,
            producer=ProducerIdAndEpoch(1, 0), acknowledged_sequence=0, state=State.COPYING, reason=None, detail="",
            since_ms=0, record_timestamp_ms=0, way=Way.TRANSACTIONS,
        )  # fmt: skip
        self.flow = flow
        self.lane.flows[KEY] = cast(PartitionFlow, flow)
        monkeypatch.setattr(self.lane._plain, "_append", self._append)

    def copy(self, runs: int) -> None:
        self.model.run([(1, 0, 2)] * runs, self.tail.add)
        self.flow.source_next, self.flow.target_next = self.model.source_next, self.model.target_next
        self.lane.changed(cast(PartitionFlow, self.flow))

    async def _append(self, log: LedgerLog, pairs: Sequence[tuple[bytes, bytes | None]]) -> None:
        self.copy(3000)
        if self.failures:
            self.failures -= 1
            raise UnreachableError("no answer")
        self.written[log.topic] += pairs

    def check(self) -> None:
        """What a reader finds now is exact, up to the last entry."""
        chunks = chunks_from_records(self.written[map_topic("l")]).get(KEY, {})
        entry = entries_from_records(self.written[ledger_topic("l")])[KEY]
        assert len(decode_runs(entry.map_tail)) <= TAIL_RUNS
        found, known = map_of(entry, chunks), Model()
        known.records = {s: t for s, t in self.model.records.items() if s < entry.source_next}
        assert found.source_end == entry.source_next
        check_exact(found, known)


async def test_given_runs_that_come_while_chunks_are_written_then_every_entry_can_be_read_and_nothing_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copying = Copying(monkeypatch)
    for runs in (1, TAIL_RUNS + 1, 0):
        copying.copy(runs)
        await copying.lane.write_entries()
        copying.check()
        assert copying.lane.dirty  # of what came meanwhile


async def test_given_a_write_that_fails_when_written_again_then_it_holds_what_came_since_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copying = Copying(monkeypatch)
    copying.copy(TAIL_RUNS + 1)
    copying.failures = 2
    for _ in range(2):
        with pytest.raises(UnreachableError):
            await copying.lane.write_entries()
    await copying.lane.write_entries()
    copying.check()
