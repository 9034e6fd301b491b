"""What stands between now and a promotion: each thing is named, and only what matters blocks."""

from __future__ import annotations

import re

import pytest

from replicator.dr.holds import Choice
from replicator.dr.loss import estimate, total
from replicator.dr.ready import ignored_kinds, obstacles, ready, without
from replicator.dr.ready_beside import missing_quotas, unknown
from replicator.errors import ConfigurationError
from replicator.ledger.status import LinkStatus, PartitionStatus, WorkerStatus
from replicator.sync.plan import Change, Held, Kind, Why
from replicator.wire.describe_quotas import Quota

WORKER = WorkerStatus(member_id="m", client_id="c", host="h", lanes=(0,))


def partition(topic: str, state: str = "COPYING", lag: int | None = 0, **more: object) -> PartitionStatus:
    known = {"source_end": 10, "source_next": 10 - (lag or 0), "target_next": 10, "lag_ms": 0, "since": None}
    return PartitionStatus(topic=topic, partition=0, state=state, lag=lag, **{"reason": None, **known, **more})


def status(*partitions: PartitionStatus, **more: object) -> LinkStatus:
    known = {"name": "l", "source": "us", "target": "eu", "workers": (WORKER,)}
    return LinkStatus(partitions=partitions, **{**known, **more})


def test_given_all_in_step_then_it_is_ready() -> None:
    assert ready(obstacles(status(partition("a")), Choice(), (), ())) is True


@pytest.mark.parametrize(
    ("found", "kind", "said"),
    [
        (status(partition("a"), source_error="gone"), "source", "gone"),
        (status(partition("a"), workers=()), "workers", "no worker"),
        (status(partition("a", lag=7)), "lag", "7 records behind"),
        (status(partition("a", "FAULTED", reason="RECORD_TOO_LARGE")), "state", "RECORD_TOO_LARGE"),
        (status(partition("a", "PAUSED")), "state", "PAUSED"),
        (status(partition("a", "PROMOTED")), "state", "PROMOTED"),
    ],
)
def test_given_something_in_the_way_then_it_is_named_and_blocks(found: LinkStatus, kind: str, said: str) -> None:
    (obstacle,) = obstacles(found, Choice(), (), ())
    assert obstacle.kind == kind
    assert said in obstacle.what
    assert not ready([obstacle])


def test_given_differences_beside_the_records_then_they_block_but_not_groups_with_members_and_heartbeats() -> None:
    change = Change(Kind.CONFIG, "us.a", "retention.ms", "1", "2")
    active = Held(Kind.GROUP, "g", Why.ACTIVE, "it has members")
    silent = Held(Kind.ACL, "cluster us", Why.NO_AUTHORIZER, "")
    beats = [partition("heartbeats", lag=1), partition("us.heartbeats", lag=2)]
    assert not ready(obstacles(status(), Choice(), [change], ()))
    found = obstacles(status(*beats), Choice(), (), [active, silent])
    assert [each.kind for each in found] == ["group"]
    assert ready(found)


def test_given_a_choice_then_other_topics_do_not_matter() -> None:
    found = status(partition("a"), partition("b", lag=5))
    assert ready(obstacles(found, Choice(re.compile("a")), (), ()))


def test_given_a_source_that_is_gone_then_the_loss_is_what_was_seen_last() -> None:
    rows = [partition("a", lag=3, lag_ms=5_000), partition("b"), partition("c", lag=None, lag_ms=None)]
    losses = estimate(status(*rows), rows)
    assert [loss.records for loss in losses] == [3, 0, None]
    assert [loss.seconds for loss in losses] == [5.0, 0.0, None]
    assert total(losses) == (3, 1)


def test_given_quotas_then_those_that_are_missing_or_differ_are_named_with_the_command() -> None:
    ours = [
        Quota({"user": "alice"}, {"producer_byte_rate": 5e6, "consumer_byte_rate": 1e6}),
        Quota({"user": "", "client-id": "app 1"}, {"request_percentage": 50.0}),
    ]
    theirs = [Quota({"user": "alice"}, {"producer_byte_rate": 5e6, "consumer_byte_rate": 2e6})]
    found = missing_quotas(ours, theirs, "cluster eu", "kafka-configs.sh --alter")
    assert [each.what for each in found] == [
        "quota of user alice: consumer_byte_rate 1000000 is 2000000 there",
        "quota of client-id app 1, any user: request_percentage 50 is missing",
    ]
    assert found[1].next_step == (
        "Set it: kafka-configs.sh --alter --entity-type users --entity-default --entity-type clients "
        "--entity-name 'app 1' --add-config request_percentage=50"
    )
    assert missing_quotas(theirs, theirs, "cluster eu", "") == []


def test_given_something_unknown_then_it_is_not_ready_unless_it_is_ignored() -> None:
    found = [unknown("quota", "cluster eu", "quotas: no permission")]
    assert not ready(found)
    assert not ready(without(found, ignored_kinds("users, ACLs")))
    assert ready(without(found, ignored_kinds("users,Quotas")))
    with pytest.raises(ConfigurationError, match="--ignore lag: what can be ignored is: acl, clock"):
        ignored_kinds("quotas,lag")
