from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast
from uuid import UUID

from replicator.config.models import LinkConfig
from replicator.errors import AuthorizationError
from replicator.sync.admin import ConfigValue, Topic
from replicator.sync.config_reader import TopicConfigs
from replicator.sync.config_sync import ConfigSync
from replicator.sync.plan import Change, Kind, SyncPlan, Why
from replicator.sync.topics import TopicPair
from replicator.wire.describe_configs import Setting, TopicSettings
from tests.sync.fake_admin import FakeAdmin

LINK = LinkConfig(name="l", source="us", target="eu")
FOREVER = str((1 << 63) - 1)
NO_ID = UUID(int=0)


class Reader:
    """`ConfigReader` of a cluster in memory: the same object as long as nothing changes."""

    def __init__(self, admin: FakeAdmin) -> None:
        self.cluster = admin.cluster
        self.errors: dict[str, int] = {}
        self._admin = admin
        self._last: dict[str, tuple[dict[str, ConfigValue], TopicConfigs]] = {}

    async def read(self, topics: Collection[str]) -> dict[str, TopicConfigs]:
        return {name: self._one(name) for name in topics}

    def _one(self, name: str) -> TopicConfigs:
        if name in self.errors:
            return TopicConfigs(TopicSettings(self.errors[name], "no"))
        present = self._admin._settings(name)
        known = self._last.get(name)
        if known is None or known[0] != present:
            settings = {key: Setting(v.value, int(v.source), v.read_only, v.sensitive) for key, v in present.items()}
            known = self._last[name] = present, TopicConfigs(TopicSettings(0, "", settings))
        return known[1]


class Rig:
    def __init__(self, link: LinkConfig = LINK, *, replication_factor: int = 1) -> None:
        self.source, self.target = FakeAdmin("us"), FakeAdmin("eu")
        self.now = 0.0
        self.source_reader, self.target_reader = Reader(self.source), Reader(self.target)
        self.pairs: dict[str, TopicPair] = {}
        self.replication_factor = replication_factor
        self.sync = ConfigSync(
            link,
            lambda: self.pairs,
            cast(Any, self.source_reader),
            cast(Any, self.target_reader),
            cast(Any, self.target),
            principals=("User:r", "User:w"),
            clock=lambda: self.now,
        )

    def pair(self, name: str, source: dict[str, str], target: dict[str, str]) -> None:
        self.source.add(name, own=source)
        fitting = {"message.timestamp.after.max.ms": FOREVER}
        self.target.add(f"us.{name}", own=fitting | target, replication_factor=self.replication_factor)
        self.pairs[name] = TopicPair(Topic(name, NO_ID, 1, 1), f"us.{name}", Topic(f"us.{name}", NO_ID, 1, 0))

    def own(self, name: str) -> dict[str, str]:
        return {key: value for key, value in self.target.own[f"us.{name}"].items() if "timestamp" not in key}

    async def round(self) -> SyncPlan:
        """Plan and apply; what was planned, with all that was held."""
        plan = await self.sync.plan()
        return SyncPlan(plan.changes, plan.held + await self.sync.apply(plan))


async def test_given_a_source_that_changes_when_run_then_the_copy_follows_and_then_nothing_is_left() -> None:
    rig = Rig()
    rig.pair("a", {"retention.ms": "5"}, {"segment.bytes": "9"})
    plan = await rig.round()
    assert plan == SyncPlan(
        (
            Change(Kind.CONFIG, "us.a", "retention.ms", "604800000", "5"),
            Change(Kind.CONFIG, "us.a", "segment.bytes", "9", None),
        )
    )
    assert rig.own("a") == {"retention.ms": "5"}
    assert await rig.round() == SyncPlan()
    rig.target.own["us.a"]["retention.ms"] = "6"
    await rig.round()
    assert rig.own("a") == {"retention.ms": "5"}
    del rig.source.own["a"]["retention.ms"]
    await rig.round()
    assert rig.own("a") == {}


async def test_given_one_refused_setting_when_run_then_the_others_are_made_and_it_rests_until_it_is_due_again() -> None:
    rig = Rig()
    rig.pair("a", {"retention.ms": "5", "segment.bytes": "7"}, {})
    rig.target.refuse_key = "retention.ms"
    plan = await rig.round()
    assert rig.own("a") == {"segment.bytes": "7"}
    assert [(held.resource, held.why) for held in plan.held] == [("us.a", Why.REFUSED)]
    again = await rig.round()
    assert (again.changes, again.held) == ((), plan.held)
    rig.target.refuse_key = None
    rig.now += 1_000
    assert (await rig.round()).held == ()
    assert rig.own("a")["retention.ms"] == "5"


async def test_given_a_refused_setting_that_changes_when_run_then_it_is_tried_at_once() -> None:
    rig = Rig()
    rig.pair("a", {"retention.ms": "5"}, {})
    rig.target.refuse_key = "retention.ms"
    await rig.round()
    rig.target.refuse_key = None
    rig.source.own["a"]["retention.ms"] = "6"
    assert (await rig.round()).held == ()
    assert rig.own("a") == {"retention.ms": "6"}


async def test_given_no_permission_on_one_topic_when_run_then_the_grant_is_named_and_the_others_go_on() -> None:
    rig = Rig()
    for name in ("altered", "described", "good"):
        rig.pair(name, {"retention.ms": "5"}, {})
    rig.target.refuse["us.altered"] = AuthorizationError("no")
    rig.source_reader.errors["described"] = 29
    plan = await rig.round()
    details = {held.resource: held.detail for held in plan.held if held.why is Why.NOT_AUTHORIZED}
    assert "grant AlterConfigs on topic us.altered of cluster eu to User:w" in details["us.altered"]
    assert "grant DescribeConfigs on topic described of cluster us to User:r" in details["us.described"]
    assert rig.own("good") == {"retention.ms": "5"}
    rig.target.refuse.clear()
    rig.source_reader.errors.clear()
    assert (await rig.round()).held == ()
    assert rig.own("altered") == rig.own("described") == {"retention.ms": "5"}


async def test_given_somebody_who_sets_it_back_each_time_when_run_then_it_is_said_and_not_fought_over() -> None:
    rig = Rig()
    rig.pair("a", {"retention.ms": "5"}, {"retention.ms": "9"})
    made = 0
    for _ in range(10):
        made += len((await rig.round()).changes)
        rig.target.own["us.a"]["retention.ms"] = "9"
    assert made == 3
    (held,) = (await rig.round()).held
    assert (held.why, "is '9' again" in held.detail) == (Why.REFUSED, True)


async def test_given_min_insync_replicas_when_run_then_it_rises_to_the_copys_replicas_at_most() -> None:
    for replicas, expected in ((3, "2"), (1, None)):
        rig = Rig(replication_factor=replicas)
        rig.pair("a", {"min.insync.replicas": "2"}, {})
        await rig.round()
        assert rig.own("a").get("min.insync.replicas") == expected
        assert await rig.round() == SyncPlan()


async def test_given_a_setting_unknown_to_the_target_when_run_then_it_is_held_and_nothing_is_tried() -> None:
    rig = Rig()
    rig.pair("a", {"vendor.tier": "gold"}, {})
    plan = await rig.round()
    assert plan.changes == ()
    assert [(held.why, "vendor.tier = gold" in held.detail) for held in plan.held] == [(Why.UNSUPPORTED, True)]


async def test_given_a_topic_that_is_gone_meanwhile_when_run_then_it_is_passed_over() -> None:
    rig = Rig()
    rig.pair("a", {"retention.ms": "5"}, {})
    rig.source_reader.errors["a"] = 3
    assert await rig.round() == SyncPlan()
