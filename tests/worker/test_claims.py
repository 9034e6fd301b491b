"""Two links and one target topic, in one process: who finds whose entry."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from replicator.config.models import LinkConfig, TopicsConfig
from replicator.errors import UnreachableError
from replicator.ledger.entry import Entry, Gap, encode_entry, encode_key
from replicator.ledger.lanes import lane_of, ledger_topic, link_of_ledger
from replicator.states import Reason, State
from replicator.wire.kafka_errors import TOPIC_AUTHORIZATION_FAILED, BrokerError
from replicator.wire.metadata import ClusterView, TopicMetadata
from replicator.worker import claims
from replicator.worker.claims import Claims

LANES = 8
TARGET_ID = uuid4()


def entry(topic: str = "orders", *, target_id: UUID = TARGET_ID, producer_id: int = -1) -> Entry:
    return Entry(
        topic=topic, partition=0, source_topic_id=uuid4(), source_leader_epoch=-1, target_topic=f"us.{topic}",
        target_topic_id=target_id, source_next=0, target_next=0, producer_id=producer_id, producer_epoch=-1,
        next_sequence=0, state=State.COPYING, reason=None, detail="", since_ms=0, record_timestamp_ms=-1, written_ms=0,
    )  # fmt: skip


class Target:
    """Knows the ledgers of links by name, each with these entries or an error that reading it ends with."""

    def __init__(self, ledgers: dict[str, list[Entry] | Exception]) -> None:
        self.ledgers = {ledger_topic(link): held for link, held in ledgers.items()}
        self.listings = 0

    async def all_topics(self) -> ClusterView:
        self.listings += 1
        partitions = dict.fromkeys(range(LANES))
        names = [*self.ledgers, "us.orders", "__replicator_x_map"]
        topics = {name: TopicMetadata(name, uuid4(), 0, False, partitions) for name in names}  # type: ignore[arg-type]
        return ClusterView("cluster", 0, {}, topics)


class Log:
    def __init__(self, target: Target, topic: str, lane: int, *, isolation: int) -> None:
        self._held, self._lane = target.ledgers[topic], lane

    async def read(self) -> list[tuple[bytes, bytes]]:
        if isinstance(self._held, Exception):
            raise self._held
        return [
            (encode_key(e.topic, e.partition), encode_entry(e))
            for e in self._held
            if lane_of(e.topic, e.partition, LANES) == self._lane
        ]


async def contested(
    monkeypatch: pytest.MonkeyPatch, ledgers: dict[str, list[Entry] | Exception], ours: list[Entry]
) -> tuple[list[Entry], set[tuple[str, int]]]:
    monkeypatch.setattr(claims, "LedgerLog", Log)
    link = LinkConfig(name="mine", source="us", target="eu")
    return await Claims(link, Target(ledgers), lambda: 7).contested(ours)  # type: ignore[arg-type]


async def test_given_another_links_entry_of_the_same_target_then_a_fault_names_the_link(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (found,), unclear = await contested(monkeypatch, {"mine": [entry()], "theirs": [entry()]}, [entry()])
    assert (found.state, found.reason, found.since_ms) == (State.FAULTED, Reason.FOREIGN_WRITER, 7)
    assert "Link theirs copies orders-0 into us.orders-0" in found.detail
    assert unclear == set()


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ([], entry()),
        ([entry("payments")], entry()),
        ([entry(target_id=uuid4())], entry()),
        ([entry()], entry(producer_id=5)),
        ([entry()], replace(entry(), gaps=(Gap(Reason.FOREIGN_WRITER, 0, 0, 0, 20, 1, "somebody"),))),
        ([replace(entry(), state=State.FAULTED, reason=Reason.FOREIGN_WRITER)], entry()),
    ],
    ids=[
        "empty ledger",
        "other topics",
        "made anew since",
        "ours has written before",
        "accepted",
        "theirs has stopped",
    ],
)
async def test_given_nothing_in_common_then_no_fault(
    monkeypatch: pytest.MonkeyPatch, theirs: list[Entry], ours: Entry
) -> None:
    assert await contested(monkeypatch, {"theirs": theirs}, [ours]) == ([], set())


@pytest.mark.parametrize("same_source", [True, False])
async def test_given_identical_names_then_links_collide_only_if_they_copy_the_same_topic(
    monkeypatch: pytest.MonkeyPatch, same_source: bool
) -> None:
    monkeypatch.setattr(claims, "LedgerLog", Log)
    link = LinkConfig(name="mine", source="us", target="eu", topics=TopicsConfig(naming="identical"))
    ours = entry()
    theirs = replace(entry(), source_topic_id=ours.source_topic_id if same_source else uuid4())
    found, _ = await Claims(link, Target({"theirs": [theirs]}), lambda: 7).contested([ours])  # type: ignore[arg-type]
    assert [e.reason for e in found] == ([Reason.FOREIGN_WRITER] if same_source else [])


async def test_given_a_ledger_that_does_not_answer_then_those_partitions_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await contested(monkeypatch, {"theirs": UnreachableError("away")}, [entry()]) == ([], {("orders", 0)})


async def test_given_a_ledger_that_may_not_be_read_then_it_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = BrokerError(TOPIC_AUTHORIZATION_FAILED)
    assert await contested(monkeypatch, {"theirs": refused}, [entry()]) == ([], set())


def test_given_topic_names_then_ledgers_are_known_by_them() -> None:
    assert link_of_ledger(ledger_topic("us-to-eu")) == "us-to-eu"
    assert [link_of_ledger(name) for name in ("orders", "__replicator_x_map", "__replicator__ledger")] == [None] * 3
