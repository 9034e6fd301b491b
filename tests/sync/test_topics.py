from __future__ import annotations

from dataclasses import replace
from typing import Any, cast
from uuid import UUID

import pytest

from replicator.config.models import LinkConfig
from replicator.errors import AuthorizationError
from replicator.ledger.client_errors import RefusedError
from replicator.ledger.entry import Entry
from replicator.ledger.lanes import control_topic
from replicator.states import Reason
from replicator.sync.topics import TopicSync
from tests.ledger.test_entry import ENTRY
from tests.sync.fake_admin import FakeAdmin

LINK = LinkConfig(name="l", source="us", target="eu")
FOREVER = str((1 << 63) - 1)


class Rig:
    def __init__(self, link: LinkConfig = LINK, *, brokers: int = 1) -> None:
        self.source = FakeAdmin("us", brokers=3)
        self.target = FakeAdmin("eu", brokers=brokers)
        self.target.add(control_topic("l"), own={"cleanup.policy": "compact"})
        self.entries: dict[tuple[str, int], Entry] = {}
        self.sync = TopicSync(link, cast(Any, self.source), cast(Any, self.target), lambda: self.entries)

    def know(self, topic: str, source_id: UUID, target_id: UUID) -> None:
        names = {"topic": topic, "target_topic": f"us.{topic}"}
        self.entries[topic, 0] = replace(
            ENTRY, partition=0, source_topic_id=source_id, target_topic_id=target_id, **names
        )


async def test_given_a_new_topic_when_applied_then_its_copy_has_its_partitions_and_settings_once() -> None:
    rig = Rig(brokers=2)
    rig.source.add("orders", 6, replication_factor=3, own={"retention.ms": "1000", "vendor.x": "1"})
    plan = await rig.sync.plan()
    assert plan.unsupported == {"orders": {"vendor.x": "1"}}
    assert await rig.sync.apply(plan) == {}
    made = rig.target.topics["us.orders"]
    assert (made.partitions, made.replication_factor) == (6, 2)
    assert rig.target.own["us.orders"] == {"retention.ms": "1000", "message.timestamp.after.max.ms": FOREVER}
    again = await rig.sync.plan()
    assert again.empty
    assert again.pairs["orders"].partitions == 6


async def test_given_a_configured_replication_factor_when_created_then_it_is_used() -> None:
    rig = Rig(LINK.model_copy(update={"replication_factor": 2}), brokers=3)
    rig.source.add("orders", replication_factor=1)
    assert (await rig.sync.plan()).create[0].replication_factor == 2


async def test_given_a_source_that_grew_when_applied_then_the_copy_grows_and_never_shrinks() -> None:
    rig = Rig()
    rig.source.add("orders", 4)
    rig.target.add("us.orders", 2)
    rig.source.add("small", 1)
    rig.target.add("us.small", 3)
    plan = await rig.sync.plan()
    assert plan.grow == {"us.orders": 4}
    assert plan.pairs["orders"].partitions == 2
    assert await rig.sync.apply(plan) == {}
    assert rig.target.topics["us.orders"].partitions == 4
    assert (await rig.sync.plan()).empty


async def test_given_a_setting_that_the_target_refuses_when_applied_then_the_topic_is_made_without_it() -> None:
    rig = Rig()
    rig.target.refuse_key = "retention.ms"
    rig.source.add("orders", own={"retention.ms": "-5", "segment.bytes": "7"})
    assert await rig.sync.apply(await rig.sync.plan()) == {}
    assert rig.target.own["us.orders"]["segment.bytes"] == "7"
    assert "retention.ms" not in rig.target.own["us.orders"]


async def test_given_an_essential_setting_that_the_target_refuses_when_applied_then_the_topic_is_not_made() -> None:
    rig = Rig()
    rig.target.refuse_key = "cleanup.policy"
    rig.source.add("orders", own={"cleanup.policy": "compact"})
    problems = await rig.sync.apply(await rig.sync.plan())
    assert problems["orders"].reason is Reason.TOPIC_REFUSED
    assert "us.orders" not in rig.target.topics


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RefusedError("policy violated", code=44), Reason.TOPIC_REFUSED),
        (AuthorizationError("no"), Reason.NOT_AUTHORIZED),
    ],
)
async def test_given_one_refused_topic_when_applied_then_others_go_on_and_the_problem_shows_until_it_is_gone(
    error: Any, reason: Reason
) -> None:
    rig = Rig()
    rig.source.add("bad")
    rig.source.add("good")
    rig.target.refuse["us.bad"] = error
    problems = await rig.sync.apply(await rig.sync.plan())
    assert {name: problem.reason for name, problem in problems.items()} == {"bad": reason}
    plan = await rig.sync.plan()
    assert plan.problems["bad"].reason is reason
    assert [spec.name for spec in plan.create] == ["us.bad"]
    assert plan.pairs["good"].target is not None
    rig.target.refuse.clear()
    assert await rig.sync.apply(plan) == {}
    assert (await rig.sync.plan()).problems == {}


async def test_given_a_topic_that_another_worker_made_meanwhile_when_applied_then_that_is_fine() -> None:
    rig = Rig()
    rig.source.add("orders")
    plan = await rig.sync.plan()
    rig.target.add("us.orders")
    assert await rig.sync.apply(plan) == {}


@pytest.mark.parametrize(
    ("source_same", "target", "reason", "creates"),
    [
        (True, "same", None, False),
        (False, "same", Reason.SOURCE_RECREATED, False),
        (True, "other", Reason.TARGET_RECREATED, False),
        (True, "missing", Reason.TARGET_MISSING, False),
        (False, "missing", None, True),
    ],
)
async def test_given_a_ledger_when_topics_were_recreated_then_the_plan_says_so_and_makes_no_copy_in_their_place(
    source_same: bool, target: str, reason: Reason | None, creates: bool
) -> None:
    rig = Rig()
    source_id = rig.source.add("orders").topic_id
    target_id = UUID(int=5)
    if target != "missing":
        target_id = rig.target.add("us.orders").topic_id
    rig.know("orders", source_id if source_same else UUID(int=6), UUID(int=7) if target == "other" else target_id)
    plan = await rig.sync.plan()
    assert (plan.problems["orders"].reason if reason else plan.problems) == (reason or {})
    assert bool(plan.create) == creates
    assert ("orders" in plan.pairs) == (reason is None)


async def test_given_a_deleted_source_topic_when_planned_then_it_is_a_problem_as_long_as_it_is_selected() -> None:
    rig = Rig()
    rig.know("gone", UUID(int=1), UUID(int=2))
    rig.know("__left", UUID(int=1), UUID(int=2))
    assert {name: p.reason for name, p in (await rig.sync.plan()).problems.items()} == {"gone": Reason.SOURCE_MISSING}


async def test_given_unreadable_source_settings_when_planned_then_no_copy_with_wrong_ones_is_made() -> None:
    rig = Rig()
    rig.source.add("orders")

    async def refuse(topics: object) -> dict[str, AuthorizationError]:
        return {"orders": AuthorizationError("DescribeConfigs")}

    rig.source.describe_configs = refuse  # type: ignore[assignment, method-assign]
    plan = await rig.sync.plan()
    assert plan.empty
    assert plan.problems["orders"].reason is Reason.NOT_AUTHORIZED
