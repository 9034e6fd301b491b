"""Whose records a producer writes: read from the ledgers of a bundled cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kio.schema.errors import ErrorCode

from broker.cluster import Cluster
from replicator.config.models import ClusterConfig
from replicator.errors import ReplicatorError
from replicator.flow.ports import NATIVE
from replicator.ledger.lane_record import LANE_KEY, LaneRecord, encode_lane
from replicator.ledger.provenance import Provenance
from replicator.states import PartitionFault, Reason
from replicator.wire.cluster import ClusterClient
from tests.flow import logs
from tests.flow.logs import Row

LEDGER = "__replicator_back_ledger"


class Source:
    """A cluster with the ledger of the link `back`, and what is known of its producers."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        self.cluster.cluster_id = "us-id"
        self.made: list[Provenance] = []

    async def start(self) -> None:
        await self.cluster.start()
        self.cluster.create_topic("orders", 1, 1)
        self.client = ClusterClient("us", ClusterConfig(bootstrap_servers=self.cluster.bootstrap), "test")
        await self.client.all_topics()

    def provenance(self, **more: Any) -> Provenance:
        return Provenance(self.client, cast(ClusterClient, SimpleNamespace(cluster_id="eu-id")), **more)

    def ledger(self, name: str = LEDGER) -> None:
        self.cluster.create_topic(name, 2, 1, {"cleanup.policy": "compact"})

    def says(self, record: LaneRecord, lane: int = 0, *, name: str = LEDGER, **batch: Any) -> None:
        rows = [Row(0, logs.NOW, b"\x01something else", b"1", ()), Row(1, logs.NOW, LANE_KEY, encode_lane(record), ())]
        self.cluster.log(name, lane).append_as_coordinator(logs.batch(rows, **batch))


@pytest.fixture
async def source() -> AsyncIterator[Source]:
    made = Source()
    await made.start()
    yield made
    await made.client.close()
    await made.cluster.stop()


async def test_given_no_ledger_then_every_producer_is_a_client(source: Source) -> None:
    known = source.provenance()
    assert known.of(7) is None
    await known.learn([7])
    assert known.of(7) == NATIVE
    assert known.of(-1) == NATIVE
    assert known.passes(NATIVE)


async def test_given_producers_in_a_lane_record_then_their_origin_is_told_and_the_targets_own_does_not_pass(
    source: Source,
) -> None:
    source.ledger()
    source.says(LaneRecord(1).with_producers(7, origin="eu-id"))
    source.says(LaneRecord(1).with_producers(8, origin="asia-id"), lane=1)
    known = source.provenance()
    await known.learn([7, 8, 9])
    assert [known.of(n) for n in (7, 8, 9)] == ["eu-id", "asia-id", NATIVE]
    assert not known.passes("eu-id")
    assert known.passes("asia-id")
    assert not source.provenance(native_only=True).passes("asia-id")


async def test_given_a_lane_record_in_a_transaction_that_is_open_then_it_counts(source: Source) -> None:
    source.ledger()
    source.says(LaneRecord(1).with_producers(7, origin="eu-id"), producer_id=50, transactional=True)
    known = source.provenance()
    await known.learn([7])
    assert known.of(7) == "eu-id"


async def test_given_a_ledger_that_comes_later_then_it_is_found_and_one_that_grows_is_read_on(source: Source) -> None:
    known = source.provenance()
    await known.learn([1])
    source.ledger()
    source.says(LaneRecord(1).with_producers(7, origin="eu-id"))
    await known.learn([7])
    source.says(LaneRecord(1).with_producers(7, 8, origin="eu-id"))
    await known.learn([8])
    assert [known.of(7), known.of(8)] == ["eu-id", "eu-id"]


async def test_given_a_record_that_does_not_say_origins_then_it_waits_until_one_does(source: Source) -> None:
    source.ledger()
    source.says(LaneRecord(1, (7,)))
    known = source.provenance()
    with pytest.raises(PartitionFault) as raised:
        await known.learn([7, 9])
    assert raised.value.reason is Reason.LEDGER_UNREADABLE
    assert "link back" in raised.value.detail
    assert known.of(7) is None
    assert known.of(9) == NATIVE
    source.says(LaneRecord(1, (7,)).with_origin("eu-id"))
    await known.learn([7])
    assert known.of(7) == "eu-id"


async def test_given_a_ledger_that_may_not_be_read_then_nothing_is_assumed(source: Source) -> None:
    source.ledger()
    source.cluster.faults.fail("Fetch", ErrorCode.topic_authorization_failed, times=None)
    known = source.provenance()
    source.says(LaneRecord(1))
    with pytest.raises(PartitionFault) as raised:
        await known.learn([7])
    assert raised.value.reason is Reason.NOT_AUTHORIZED
    assert known.of(7) is None


async def test_given_a_lane_record_of_a_newer_version_then_nothing_is_assumed(source: Source) -> None:
    source.ledger()
    rows = [Row(0, logs.NOW, LANE_KEY, b"\x09", ())]
    source.cluster.log(LEDGER, 0).append_as_coordinator(logs.batch(rows))
    known = source.provenance()
    with pytest.raises(PartitionFault, match="upgrade"):
        await known.learn([7])
    assert known.of(7) is None


async def test_given_many_clients_then_no_more_are_remembered_than_there_is_room_for(source: Source) -> None:
    known = source.provenance(max_native=10)
    await known.learn(range(8))
    await known.learn(range(8, 16))
    assert sum(known.of(n) is not None for n in range(16)) == 10
    assert all(known.of(n) == NATIVE for n in range(8, 16))
    await known.learn([0])
    assert known.of(0) == NATIVE


async def test_given_many_that_ask_at_once_then_few_looks_answer_them(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.ledger()
    source.says(LaneRecord(1).with_producers(7, origin="eu-id"))
    known = source.provenance()
    looks = 0
    look = known._read_ledgers

    async def counted() -> None:
        nonlocal looks
        looks += 1
        await look()

    monkeypatch.setattr(known, "_read_ledgers", counted)
    await asyncio.gather(*(known.learn([n]) for n in range(20)))
    assert [known.of(n) for n in (6, 7)] == [NATIVE, "eu-id"]
    assert looks <= 2


async def test_given_a_producer_that_a_ledger_names_only_later_then_it_is_said(source: Source) -> None:
    source.ledger()
    known = source.provenance()
    await known.learn([7])
    source.says(LaneRecord(1).with_producers(7, origin="eu-id"))
    await known.learn([8])
    assert known.of(7) == "eu-id"


@pytest.mark.parametrize("expected", [(), ("back",)])
async def test_given_a_broker_that_names_no_topics_then_that_proves_nothing(
    source: Source, expected: tuple[str, ...]
) -> None:
    source.ledger()
    source.says(LaneRecord(1).with_producers(7, origin="eu-id"))
    source.cluster.faults.fail("Metadata", ErrorCode.unknown_server_error)
    known = source.provenance(expected=expected)
    with pytest.raises(ReplicatorError):
        await known.learn([7])
    assert known.of(7) is None
    await known.learn([7])
    assert known.of(7) == "eu-id"


async def test_given_an_expected_link_that_has_not_begun_then_nobody_waits_for_it(source: Source) -> None:
    known = source.provenance(expected=["back"])
    await known.learn([7])
    assert known.of(7) == NATIVE


async def test_given_a_ledger_that_is_deleted_then_it_is_not_waited_for(source: Source) -> None:
    source.ledger()
    known = source.provenance()
    await known.learn([7])
    topic = source.cluster.topics.get(LEDGER)
    assert topic is not None
    source.cluster.delete_topic(topic)
    await known.learn([8])
    assert known.of(8) == NATIVE
