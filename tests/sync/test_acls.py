from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from random import Random
from typing import Any, cast

import pytest

from replicator.config.models import LinkConfig, SyncConfig, TopicsConfig
from replicator.errors import AuthorizationError, ReplicatorError, UnreachableError
from replicator.ledger.client_errors import RefusedError
from replicator.ledger.log import KeyValue
from replicator.sync.acl import Acl, AclKind, encode_created, take_created
from replicator.sync.acl_rules import AclRules
from replicator.sync.acls import AclSync
from replicator.sync.plan import Change, Kind, SyncPlan, Why

LINK = LinkConfig(name="l", source="us", target="eu")
FULL = LINK.model_copy(update={"sync": SyncConfig(acls="full")})
IDENTICAL = LINK.model_copy(update={"topics": TopicsConfig(naming="identical")})
COPIED = ("orders", "orders-eu", "payments")


def acl(
    name: str, operation: str = "READ", permission: str = "ALLOW", pattern: str = "LITERAL", kind: AclKind = "topic"
) -> Acl:
    return Acl(kind, name, pattern, "User:alice", "*", operation, permission)


@pytest.mark.parametrize(
    ("link", "source", "target"),
    [
        (LINK, acl("orders"), acl("us.orders")),
        (LINK, acl("orders", "ALL"), acl("us.orders", "READ")),
        (LINK, acl("orders", "WRITE"), None),
        (LINK, acl("orders", "WRITE", "DENY"), acl("us.orders", "WRITE", "DENY")),
        (LINK, acl("orders", "ALL", "DENY"), acl("us.orders", "ALL", "DENY")),
        (LINK, acl("orders", "DESCRIBE_CONFIGS"), acl("us.orders", "DESCRIBE_CONFIGS")),
        (LINK, acl("elsewhere"), None),
        (LINK, acl("order"), None),
        (LINK, acl("ord", pattern="PREFIXED"), acl("us.ord", pattern="PREFIXED")),
        (LINK, acl("orders.", pattern="PREFIXED"), None),
        (LINK, acl("*"), acl("us.", pattern="PREFIXED")),
        (LINK, acl("readers", kind="group"), None),
        (IDENTICAL, acl("*"), acl("*")),
        (IDENTICAL, acl("ord", pattern="PREFIXED"), acl("ord", pattern="PREFIXED")),
        (FULL, acl("orders", "WRITE"), acl("us.orders", "WRITE")),
        (FULL, acl("orders", "ALL"), acl("us.orders", "ALL")),
        (FULL, acl("readers", kind="group"), acl("readers", kind="group")),
        (FULL, acl("tx", kind="transactional_id"), acl("tx", kind="transactional_id")),
        (FULL, acl("replicator.l.", kind="group", pattern="PREFIXED"), None),
    ],
)
def test_given_an_acl_of_the_source_then_its_counterpart_is_as_the_rules_say(
    link: LinkConfig, source: Acl, target: Acl | None
) -> None:
    assert AclRules(link).desired([source], COPIED) == ({target} if target else set())


class Crash(BaseException):
    """kill -9."""


class Cluster:
    """`AclAdmin` of a cluster in memory."""

    def __init__(self, cluster: str) -> None:
        self.cluster = cluster
        self.acls: set[Acl] = set()
        self.unknown = 0
        self.error: ReplicatorError | None = None
        self.refuse: dict[Acl, ReplicatorError] = {}
        self.calls_left = 10**9

    def call(self) -> None:
        self.calls_left -= 1
        if self.calls_left < 0:
            raise Crash

    async def read(self, kinds: Collection[AclKind]) -> tuple[set[Acl], int]:
        if self.error:
            raise self.error
        return {acl for acl in self.acls if acl.kind in kinds}, self.unknown

    async def create(self, acls: Iterable[Acl]) -> dict[Acl, ReplicatorError | None]:
        answers: dict[Acl, ReplicatorError | None] = {}
        for one in sorted(acls):
            self.call()
            answers[one] = self.refuse.get(one)
            if answers[one] is None:
                self.acls.add(one)
        return answers

    async def delete(self, acls: Iterable[Acl]) -> dict[Acl, ReplicatorError | None]:
        answers: dict[Acl, ReplicatorError | None] = {}
        for one in sorted(acls):
            self.call()
            self.acls.discard(one)
            answers[one] = None
        return answers


class Rig:
    def __init__(self, link: LinkConfig = LINK) -> None:
        self.link = link
        self.source, self.target = Cluster("us"), Cluster("eu")
        self.control: list[KeyValue] = []
        self.foreign: set[Acl] = set()
        self.now = 0.0
        self.copied: Collection[str] = COPIED
        self.restart()

    def restart(self) -> None:
        """Another controller."""
        self.sync = AclSync(
            self.link,
            lambda: self.copied,
            cast(Any, self.source),
            cast(Any, self.target),
            created=self.created,
            foreign=self.read_foreign,
            write=self.write,
            principals=("User:r", "User:w"),
            clock=lambda: self.now,
        )

    async def created(self) -> set[Acl]:
        found: set[Acl] = set()
        for key, value in self.control:
            take_created(found, key, value)
        return found

    async def read_foreign(self) -> set[Acl]:
        return self.foreign

    async def write(self, pairs: Sequence[KeyValue]) -> None:
        self.target.call()
        self.control += pairs

    async def round(self) -> SyncPlan:
        plan = await self.sync.plan()
        return SyncPlan(plan.changes, plan.held + await self.sync.apply(plan))


async def test_given_acls_that_come_and_go_on_the_source_when_run_then_the_copies_acls_do_too() -> None:
    rig = Rig()
    rig.source.acls = {acl("orders"), acl("orders", "WRITE"), acl("payments", "ALL", "DENY")}
    plan = await rig.round()
    assert Change(Kind.ACL, "topic us.orders", "READ for User:alice", None, "ALLOW") in plan.changes
    assert rig.target.acls == {acl("us.orders"), acl("us.payments", "ALL", "DENY")}
    assert await rig.round() == SyncPlan()
    rig.restart()
    rig.source.acls.remove(acl("orders"))
    plan = await rig.round()
    assert plan.changes == (Change(Kind.ACL, "topic us.orders", "READ for User:alice", "ALLOW", None),)
    assert rig.target.acls == {acl("us.payments", "ALL", "DENY")}
    assert await rig.created() == rig.target.acls


async def test_given_an_acl_that_somebody_else_made_on_the_target_when_the_sources_goes_then_it_stays() -> None:
    rig = Rig()
    rig.source.acls = {acl("orders")}
    rig.target.acls = {acl("us.orders"), acl("us.orders", "WRITE")}
    assert (await rig.round()).changes == ()
    rig.source.acls.clear()
    assert (await rig.round()).changes == ()
    assert len(rig.target.acls) == 2


async def test_given_an_acl_of_ours_that_was_deleted_by_hand_when_run_then_it_is_made_anew_if_wanted() -> None:
    rig = Rig()
    rig.source.acls = {acl("orders")}
    await rig.round()
    rig.target.acls.clear()
    await rig.round()
    assert rig.target.acls == {acl("us.orders")}
    rig.target.acls.clear()
    rig.source.acls.clear()
    await rig.round()
    assert await rig.created() == set()
    rig.target.acls.add(acl("us.orders"))  # by hand, and now it isn't ours
    assert (await rig.round()).changes == ()


async def test_given_topics_that_mayn_t_be_described_any_more_when_run_then_their_acls_stay() -> None:
    rig = Rig()
    rig.source.acls = {acl("orders"), acl("orders", pattern="PREFIXED"), acl("*")}
    await rig.round()
    rig.copied = ()
    assert (await rig.round()).changes == ()
    assert len(rig.target.acls) == 3


@pytest.mark.parametrize("side", ["source", "target"])
async def test_given_no_authorizer_or_no_permission_when_run_then_it_is_held_and_nothing_is_deleted(side: str) -> None:
    rig = Rig()
    rig.source.acls = {acl("orders")}
    await rig.round()
    broken = getattr(rig, side)
    broken.error = RefusedError("no", code=54)
    (held,) = (await rig.round()).held
    assert (held.why, held.resource) == (Why.NO_AUTHORIZER, f"cluster {broken.cluster}")
    broken.error = AuthorizationError("no")
    (held,) = (await rig.round()).held
    assert held.why is Why.NOT_AUTHORIZED
    assert f"grant Describe on cluster {broken.cluster} to User:{'r' if side == 'source' else 'w'}" in held.detail
    broken.error = UnreachableError("away")
    with pytest.raises(UnreachableError):
        await rig.round()
    broken.error = None
    assert (await rig.round()) == SyncPlan()
    assert rig.target.acls == {acl("us.orders")}


async def test_given_acls_that_the_target_refuses_when_run_then_the_others_are_made_and_they_are_not_ours() -> None:
    rig = Rig()
    rig.source.acls = {acl("orders"), acl("payments")}
    rig.target.refuse = {acl("us.orders"): RefusedError("no", code=42)}
    plan = await rig.round()
    assert [(held.why, held.resource) for held in plan.held] == [(Why.REFUSED, "topic us.orders")]
    assert rig.target.acls == await rig.created() == {acl("us.payments")}
    rig.target.refuse = {acl("us.orders"): AuthorizationError("no")}
    (held,) = (await rig.round()).held
    assert "grant Alter on cluster eu to User:w" in held.detail


async def test_given_acls_that_another_link_made_on_the_source_when_run_then_they_are_not_copied_back() -> None:
    rig = Rig(IDENTICAL)
    rig.source.acls = {acl("orders"), acl("payments")}
    rig.foreign = {acl("payments")}
    await rig.round()
    assert rig.target.acls == {acl("orders")}


@pytest.mark.parametrize("seed", range(30))
async def test_given_kills_at_any_point_when_run_again_then_nothing_of_ours_is_left_behind_and_nothing_else_is_touched(
    seed: int,
) -> None:
    random = Random(seed)
    rig = Rig()
    by_hand = {acl("us.orders", "DESCRIBE"), acl("us.payments", "ALTER")}
    rig.target.acls = set(by_hand)
    pool = [
        acl(name, operation) for name in COPIED for operation in ("READ", "DESCRIBE", "ALTER", "DELETE", "DESCRIBE")
    ]
    for _ in range(30):
        rig.source.acls = set(random.sample(pool, random.randrange(len(pool))))
        rig.target.calls_left = random.randrange(12)
        try:
            await rig.round()
        except Crash:
            rig.restart()
        rig.target.calls_left = 10**9
        assert by_hand <= rig.target.acls
        assert rig.target.acls - by_hand <= await rig.created()
    rig.target.calls_left = 10**9
    await rig.round()
    assert rig.target.acls == AclRules(LINK).desired(rig.source.acls, COPIED) | by_hand
    rig.source.acls.clear()
    await rig.round()
    assert rig.target.acls == by_hand


def test_given_any_record_when_taken_then_only_what_can_be_read_counts() -> None:
    created: set[Acl] = set()
    one = acl("us.orders\n\"'")
    take_created(created, *encode_created(one, 5))
    for key in (None, b"acl/", b"acl/{}", b'acl/["topic"]', b"acl/[1,2,3,4,5,6,7]", b"lane/1"):
        take_created(created, key, b"{}")
    assert created == {one}
    take_created(created, encode_created(one, 5)[0], None)
    assert created == set()
