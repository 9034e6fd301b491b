from __future__ import annotations

from dataclasses import replace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from replicator.config.models import LinkConfig
from replicator.errors import UnreachableError
from replicator.ledger.entry import Entry
from replicator.ledger.identity import NO_ID
from replicator.states import Reason
from replicator.sync import deletions
from replicator.sync.deletions import PATIENCE_S, Deletions
from replicator.sync.topics import TopicSync
from replicator.wire.kafka_errors import NONE, TOPIC_AUTHORIZATION_FAILED, UNKNOWN_TOPIC_ID
from tests.ledger.test_entry import ENTRY
from tests.sync.fake_admin import FakeAdmin

LINK = LinkConfig(name="l", source="us", target="eu", delete_topics=True)


class Brokers:
    """`ClusterClient` of the source: what each broker answers, for ids that it isn't told to answer otherwise."""

    def __init__(self, source: FakeAdmin) -> None:
        self.brokers = {1: None, 2: None}
        self.away: set[int] = set()
        self.says: dict[tuple[int, UUID], int] = {}
        self.source = source

    async def connection(self, node: int, slot: str) -> int:
        if node in self.away:
            raise UnreachableError("away")
        return node

    def answer(self, node: int, topic_id: UUID) -> int:
        known = topic_id in {topic.topic_id for topic in self.source.topics.values()}
        return self.says.get((node, topic_id), NONE if known else UNKNOWN_TOPIC_ID)


class Rig:
    """orders and payments were copied; `round` is one of the controller's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, link: LinkConfig = LINK) -> None:
        self.source, self.target = FakeAdmin("us"), FakeAdmin("eu")
        self.brokers = Brokers(self.source)
        self.entries: dict[tuple[str, int], Entry] = {}
        self.now = 0.0
        for name in ("orders", "payments"):
            ids = self.source.add(name, 2).topic_id, self.target.add(f"us.{name}", 2).topic_id
            for partition in range(2):
                names = {"topic": name, "target_topic": f"us.{name}", "partition": partition}
                self.entries[name, partition] = replace(ENTRY, source_topic_id=ids[0], target_topic_id=ids[1], **names)
        found = Deletions(cast(Any, self.brokers), clock=lambda: self.now)
        self.sync = TopicSync(link, cast(Any, self.source), cast(Any, self.target), lambda: self.entries, None, found)

        async def ask(node: int, topic_ids: list[UUID]) -> dict[UUID, int]:
            return {topic_id: self.brokers.answer(node, topic_id) for topic_id in topic_ids}

        monkeypatch.setattr(deletions, "fetch_topic_errors", ask)

    async def round(self) -> dict[str, Any]:
        plan = await self.sync.plan()
        await self.sync.apply(plan)
        return plan.problems

    async def rounds(self) -> dict[str, Any]:
        """As long as it takes."""
        await self.round()
        self.now += PATIENCE_S
        await self.round()
        return await self.round()


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch)


async def test_given_a_deleted_topic_when_all_brokers_say_so_for_a_while_then_its_copy_is_deleted(rig: Rig) -> None:
    del rig.source.topics["orders"]
    assert "us.orders" in rig.target.topics
    problems = await rig.round()
    assert "asked again" in problems["orders"].detail
    assert "us.orders" in rig.target.topics
    assert await rig.rounds() == {}
    assert set(rig.target.topics) == {"us.payments"}


async def test_given_the_default_when_a_topic_is_deleted_then_its_copy_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, LINK.model_copy(update={"delete_topics": False}))
    del rig.source.topics["orders"]
    assert (await rig.rounds())["orders"].reason is Reason.SOURCE_MISSING
    assert "us.orders" in rig.target.topics


@pytest.mark.parametrize("doubt", ["hidden", "known to one broker", "a broker is away", "another cluster", "emptied"])
async def test_given_any_doubt_when_a_topic_is_not_listed_any_more_then_its_copy_stays(rig: Rig, doubt: str) -> None:
    await rig.round()
    orders = rig.source.topics.pop("orders").topic_id
    if doubt == "hidden":
        rig.brokers.says = dict.fromkeys(((node, orders) for node in (1, 2)), TOPIC_AUTHORIZATION_FAILED)
    elif doubt == "known to one broker":
        rig.brokers.says[2, orders] = NONE
    elif doubt == "a broker is away":
        rig.brokers.away = {2}
    elif doubt == "another cluster":
        rig.source.topics.clear()
        rig.source.add("payments", 2)
        rig.source.add("others")
    else:
        rig.source.topics.clear()
    for _ in range(3):
        rig.now += PATIENCE_S
        problems = await rig.round()
    assert problems["orders"].reason is Reason.SOURCE_MISSING
    assert "Its copy isn't deleted: " in problems["orders"].detail
    assert {"us.orders", "us.payments"} <= set(rig.target.topics)


async def test_given_doubt_in_between_when_a_topic_is_gone_then_its_time_starts_again(rig: Rig) -> None:
    orders = rig.source.topics.pop("orders").topic_id
    await rig.round()
    rig.now += PATIENCE_S
    rig.brokers.says[1, orders] = NONE
    await rig.round()
    rig.brokers.says.clear()
    assert "asked again" in (await rig.round())["orders"].detail
    assert "us.orders" in rig.target.topics


async def test_given_a_target_topic_that_is_not_the_copy_when_the_source_is_deleted_then_it_stays(rig: Rig) -> None:
    del rig.source.topics["orders"]
    rig.target.add("us.orders", 2)
    problems = await rig.rounds()
    assert "is another topic by now" in problems["orders"].detail
    assert "us.orders" in rig.target.topics


async def test_given_a_ledger_without_ids_when_the_source_is_deleted_then_the_copy_stays(rig: Rig) -> None:
    del rig.source.topics["orders"]
    rig.entries["orders", 0] = replace(rig.entries["orders", 0], target_topic_id=NO_ID, source_topic_id=uuid4())
    assert "doesn't say which" in (await rig.rounds())["orders"].detail
    assert "us.orders" in rig.target.topics
