"""Takeover: what is fenced when, and what happens when fencing can't be relied upon."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from replicator.ledger.entry import Entry
from replicator.ledger.recovery import Recovered
from replicator.states import Way
from replicator.wire.kafka_errors import BrokerError
from replicator.wire.producer_id import ProducerIdAndEpoch
from replicator.worker import takeover as module
from replicator.worker.takeover import Takeover
from tests.ledger.test_entry import ENTRY

LEDGER, MAP = ("__replicator_l_ledger", 4), ("__replicator_l_map", 4)
FENCED = replace(ENTRY, way=Way.FENCED)
KEY = FENCED.topic, FENCED.partition
UNKNOWN_TOPIC = 3


class Coordinator:
    """Notes each transaction's partitions."""

    def __init__(self, producer_id: int = 4000) -> None:
        self.identity = ProducerIdAndEpoch(producer_id, 7)
        self.refused: dict[tuple[str, int], int] = {}
        self.transactions: list[set[tuple[str, int]]] = []
        self._open: set[tuple[str, int]] = set()

    async def init(self) -> ProducerIdAndEpoch:
        return self.identity

    async def add_partitions(self, topics: dict[str, list[int]]) -> dict[tuple[str, int], int]:
        places = {(topic, number) for topic, numbers in topics.items() for number in numbers}
        refused = {place: code for place, code in self.refused.items() if place in places}
        if not refused:
            self._open |= places
        return refused

    async def end(self, *, commit: bool) -> None:
        assert commit
        assert self._open, "a transaction without partitions can't be ended"
        self.transactions.append(self._open)
        self._open = set()


class Reading:
    """What `recover_entries` answers, one after the other; the last one again and again."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)
        self.asked: list[list[Entry]] = []
        self.to_end: list[bool] = []

    async def __call__(
        self, entries: Sequence[Entry], *, producers: Collection[int], owner: ProducerIdAndEpoch, to_end: bool, **_: Any
    ) -> dict[tuple[str, int], Recovered]:
        self.asked.append(list(entries))
        self.to_end.append(to_end)
        copied = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return {
            (e.topic, e.partition): Recovered(replace(e, source_next=e.source_next + copied), (), copied, 0)
            for e in entries
        }


@pytest.fixture
def coordinator() -> Coordinator:
    return Coordinator()


def takeover_of(coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch, reading: Reading) -> Takeover:
    monkeypatch.setattr(module, "recover_entries", reading)
    monkeypatch.setattr(module, "SURELY_OVER_S", 0.01)
    monkeypatch.setattr(module, "_CONFIRM_S", 0.001)
    return Takeover(cast(Any, coordinator), 4, cast(Any, None), lambda: 0)


async def test_given_a_lane_when_claimed_then_its_own_partitions_are_fenced_and_their_markers_waited_for(
    coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    takeover = takeover_of(coordinator, monkeypatch, Reading(0))
    assert await takeover.claim(LEDGER, MAP) == coordinator.identity
    assert coordinator.transactions == [{LEDGER, MAP}, {LEDGER}]


async def test_given_the_ledger_cant_be_fenced_when_claimed_then_that_is_an_error(
    coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator.refused[LEDGER] = UNKNOWN_TOPIC
    with pytest.raises(BrokerError, match=r"__replicator_l_ledger-4"):
        await takeover_of(coordinator, monkeypatch, Reading(0)).claim(LEDGER, MAP)


async def test_given_a_target_that_cant_be_fenced_when_settled_then_the_others_are(
    coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = Reading(3)
    takeover = takeover_of(coordinator, monkeypatch, reading)
    other = replace(FENCED, partition=9)
    coordinator.refused[other.target_topic, 9] = UNKNOWN_TOPIC
    found = await takeover.settle([FENCED, other], [4000], cast(Any, None))
    assert coordinator.transactions == [{(FENCED.target_topic, FENCED.partition)}]
    assert isinstance(found[KEY], Recovered)
    assert isinstance(found[other.topic, 9], BrokerError)
    assert reading.asked == [[FENCED]]


async def test_given_another_producer_id_than_before_then_two_equal_readings_are_waited_for(
    coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = Reading(3, 5, 6, 6)
    takeover = takeover_of(coordinator, monkeypatch, reading)
    takeover.knows([3999])
    found = await takeover.settle([FENCED], [3999], cast(Any, None))
    answer = found[KEY]
    assert isinstance(answer, Recovered)
    assert (answer.copied, len(reading.asked)) == (6, 4)
    await takeover.settle([FENCED], [3999, 4000], cast(Any, None))
    assert len(reading.asked) == 5  # from now on it is fenced as ever
    assert reading.to_end == [True] * 4 + [False]  # our first markers fenced nobody


@pytest.mark.parametrize("known", [[], [4000], [3999, 4000]])
async def test_given_the_same_producer_id_or_a_lane_that_is_new_then_one_reading_is_enough(
    coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch, known: list[int]
) -> None:
    reading = Reading(3)
    takeover = takeover_of(coordinator, monkeypatch, reading)
    takeover.knows(known)
    await takeover.settle([FENCED], known, cast(Any, None))
    assert len(reading.asked) == 1


async def test_given_a_renewal_then_it_is_a_transaction_of_the_ledgers_partition_alone(
    coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    takeover = takeover_of(coordinator, monkeypatch, Reading(0))
    await takeover.claim(LEDGER, MAP)
    await takeover.renew()
    assert coordinator.transactions[-1] == {LEDGER}
