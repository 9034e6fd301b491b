"""The assignors of consumer groups: everything assigned once, evenly, and as little moved as that allows."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from broker.groups.assignors import MemberSpec, assign_range, assign_uniform
from broker.groups.consumer_member import NOTHING, Assignment

TOPICS = [uuid.UUID(int=number) for number in range(1, 5)]
counts = st.fixed_dictionaries({topic: st.integers(0, 9) for topic in TOPICS})
names = st.lists(st.integers(0, 99).map(lambda number: f"m{number}"), min_size=1, max_size=8, unique=True)


def everything(partitions: Mapping[uuid.UUID, int], topics: frozenset[uuid.UUID]) -> Assignment:
    return frozenset((topic, index) for topic in topics for index in range(partitions[topic]))


def check_complete(
    assigned: Mapping[str, Assignment], members: Mapping[str, MemberSpec], partitions: Mapping[uuid.UUID, int]
) -> None:
    given_away = [partition for part in assigned.values() for partition in part]
    assert len(given_away) == len(set(given_away))
    subscribed = frozenset(topic for spec in members.values() for topic in spec.topics)
    assert frozenset(given_away) == everything(partitions, subscribed)
    for member_id, part in assigned.items():
        assert {topic for topic, _ in part} <= members[member_id].topics


@given(partitions=counts, member_ids=names, then=names)
def test_given_equal_subscriptions_when_assigned_uniformly_then_sizes_differ_by_one_and_the_least_moves(
    partitions: dict[uuid.UUID, int], member_ids: list[str], then: list[str]
) -> None:
    topics = frozenset(TOPICS)
    members = {name: MemberSpec(topics) for name in member_ids}
    first = assign_uniform(members, partitions)
    check_complete(first, members, partitions)
    sizes = [len(part) for part in first.values()]
    assert max(sizes) - min(sizes) <= 1
    members = {name: MemberSpec(topics, None, first.get(name, NOTHING)) for name in then}
    second = assign_uniform(members, partitions)
    check_complete(second, members, partitions)
    sizes = [len(part) for part in second.values()]
    assert max(sizes) - min(sizes) <= 1
    for name in set(member_ids) & set(then):
        assert len(first[name] & second[name]) >= min(len(first[name]), min(sizes))


@given(partitions=counts, data=st.data(), member_ids=names)
def test_given_any_subscriptions_when_assigned_then_every_partition_goes_to_one_subscriber(
    partitions: dict[uuid.UUID, int], data: st.DataObject, member_ids: list[str]
) -> None:
    some = st.frozensets(st.sampled_from(TOPICS))
    members = {name: MemberSpec(data.draw(some)) for name in member_ids}
    for assign in (assign_uniform, assign_range):
        check_complete(assign(members, partitions), members, partitions)
    first = assign_uniform(members, partitions)
    for poor, part in first.items():
        for rich, other in first.items():
            movable = [topic for topic, _ in other if topic in members[poor].topics]
            assert not movable or len(other) <= len(part) + 1, (poor, rich)
    kept = {name: MemberSpec(spec.topics, None, first[name]) for name, spec in members.items()}
    assert assign_uniform(kept, partitions) == first


def test_given_ranges_when_assigned_then_partitions_of_one_number_meet_in_one_member() -> None:
    topics = frozenset(TOPICS[:2])
    members = {"b": MemberSpec(topics), "a": MemberSpec(topics), "c": MemberSpec(topics, "instance")}
    assigned = assign_range(members, dict.fromkeys(TOPICS, 5))
    indexes = {name: sorted(index for topic, index in part if topic == TOPICS[0]) for name, part in assigned.items()}
    assert indexes == {"c": [0, 1], "a": [2, 3], "b": [4]}
    for part in assigned.values():
        assert len({tuple(sorted(index for topic, index in part if topic == each)) for each in topics}) == 1


def test_given_no_members_or_no_topics_when_assigned_then_nobody_gets_anything() -> None:
    for assign in (assign_uniform, assign_range):
        assert assign({}, {}) == {}
        assert assign({"a": MemberSpec(frozenset())}, {}) == {"a": NOTHING}
