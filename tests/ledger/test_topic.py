from __future__ import annotations

import pytest

from replicator.config.models import LinkConfig, TopicsConfig
from replicator.errors import ConfigurationError, WrongStateError
from replicator.ledger.lanes import control_topic, ledger_topic, map_topic
from replicator.ledger.topic import ensure_topics, refuse_missing_ledger
from tests.sync.fake_admin import FakeAdmin

LINK = LinkConfig(name="l", source="us", target="eu", lanes=8)
LEDGER = ledger_topic("l")


async def test_given_a_new_link_when_prepared_then_its_three_topics_are_made_once() -> None:
    target = FakeAdmin("eu", brokers=3)
    await ensure_topics(LINK, target)
    await ensure_topics(LINK, target)
    shapes = {spec.name: (spec.partitions, spec.replication_factor) for spec in target.created}
    assert shapes == {LEDGER: (8, 3), map_topic("l"): (8, 3), control_topic("l"): (1, 3)}
    assert all(spec.configs["cleanup.policy"] == "compact" for spec in target.created)
    assert target.own[LEDGER]["min.insync.replicas"] == "2"


async def test_given_a_small_target_or_a_configured_factor_when_prepared_then_replication_fits() -> None:
    one = FakeAdmin("eu", brokers=1)
    await ensure_topics(LINK, one)
    assert {spec.replication_factor for spec in one.created} == {1}
    assert "min.insync.replicas" not in one.own[LEDGER]
    two = FakeAdmin("eu", brokers=5)
    await ensure_topics(LINK.model_copy(update={"replication_factor": 2}), two)
    assert {spec.replication_factor for spec in two.created} == {2}


async def test_given_another_number_of_lanes_when_prepared_then_it_is_refused_with_the_number_to_set() -> None:
    target = FakeAdmin("eu")
    target.add(LEDGER, 32, own={"cleanup.policy": "compact"})
    with pytest.raises(ConfigurationError, match=r"lanes: 8.*32 partitions.*fixed.*`lanes: 32`"):
        await ensure_topics(LINK, target)
    assert target.created == []


async def test_given_a_ledger_that_is_not_compacted_when_prepared_then_it_is_refused_with_the_command() -> None:
    target = FakeAdmin("eu")
    target.add(LEDGER, 8)
    with pytest.raises(WrongStateError, match=r"cleanup.policy=delete.*kafka-configs"):
        await ensure_topics(LINK, target)


@pytest.mark.parametrize("empty_ledger", [True, False])
async def test_given_copies_with_records_and_no_ledger_when_started_then_it_is_refused_naming_them(
    empty_ledger: bool,
) -> None:
    target = FakeAdmin("eu")
    for n in range(7):
        target.add(f"us.orders{n}", 2, records=10)
    if empty_ledger:
        target.add(LEDGER, 8)
    with pytest.raises(WrongStateError, match=r"(?s)us.orders0.*and 2 more.*exclude"):
        await refuse_missing_ledger(LINK, FakeAdmin("us"), target)
    target.add(LEDGER, 8, records=1)
    await refuse_missing_ledger(LINK, FakeAdmin("us"), target)


async def test_given_topics_that_are_empty_or_none_of_ours_when_started_then_nothing_is_refused() -> None:
    target = FakeAdmin("eu")
    target.add("us.orders", 2)
    target.add("orders", 1, records=5)
    target.add("asia.orders", 1, records=5)
    target.add("us.__hidden", 1, records=5)
    await refuse_missing_ledger(LINK, FakeAdmin("us"), target)


async def test_given_identical_names_when_started_then_copies_are_told_by_the_sources_topics() -> None:
    link = LINK.model_copy(update={"topics": TopicsConfig(naming="identical")})
    source, target = FakeAdmin("us"), FakeAdmin("eu")
    target.add("orders", 1, records=5)
    await refuse_missing_ledger(link, source, target)
    source.add("orders")
    with pytest.raises(WrongStateError, match="orders"):
        await refuse_missing_ledger(link, source, target)


async def test_given_identical_names_in_both_directions_when_started_first_then_what_clients_wrote_is_no_copy() -> None:
    link = LINK.model_copy(update={"topics": TopicsConfig(naming="identical")})
    source, target = FakeAdmin("us"), FakeAdmin("eu")
    source.add("orders")
    target.add("orders", 1, records=5)
    await refuse_missing_ledger(link, source, target, two_way=True)
    target.add(LEDGER, 8)  # another worker has just made them
    target.add(map_topic("l"), 8)
    target.add(control_topic("l"), 1, records=3)
    await refuse_missing_ledger(link, source, target, two_way=True)


@pytest.mark.parametrize("ledger", ["gone", "empty"])
async def test_given_identical_names_in_both_directions_when_the_ledger_alone_is_gone_then_it_is_refused(
    ledger: str,
) -> None:
    link = LINK.model_copy(update={"topics": TopicsConfig(naming="identical")})
    source, target = FakeAdmin("us"), FakeAdmin("eu")
    source.add("orders")
    target.add("orders", 1, records=5)
    target.add(map_topic("l"), 8, records=1)
    if ledger == "empty":
        target.add(LEDGER, 8)
    with pytest.raises(WrongStateError, match="orders"):
        await refuse_missing_ledger(link, source, target, two_way=True)
