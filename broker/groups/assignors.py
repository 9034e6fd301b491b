"""The assignors of consumer groups (KIP-848): who is to have which partitions.

uniform  evenly over all topics; what a member has, it keeps as far as that allows.
range    each topic by itself in contiguous ranges, in the order of instance and member ids, so that the partitions of
         the same number of several topics meet in one member.

Where all members subscribe to the same topics, results are those of Kafka's UniformHomogeneousAssignmentBuilder and
RangeAssignor, down to the order of its hash maps. Where they don't, uniform is as even as Kafka's, not identical.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from broker.groups.consumer_member import NOTHING, Assignment
from broker.groups.internal_topic import java_hash

Partition = tuple[uuid.UUID, int]


@dataclass(frozen=True, slots=True)
class MemberSpec:
    """What an assignor knows of a member: topics it subscribes to that exist, and its present target."""

    topics: frozenset[uuid.UUID]
    instance_id: str | None = None
    target: Assignment = NOTHING


Assignor = Callable[[Mapping[str, MemberSpec], Mapping[uuid.UUID, int]], dict[str, Assignment]]
"""From members by id and partition counts by topic id to assignments by member id."""


def assign_uniform(members: Mapping[str, MemberSpec], partitions: Mapping[uuid.UUID, int]) -> dict[str, Assignment]:
    """The assignor `uniform`."""
    ordered = {member_id: members[member_id] for member_id in java_order(members)}
    if len({spec.topics for spec in ordered.values()}) == 1:
        return _evenly(ordered, partitions)
    return _balanced(ordered, partitions)


def assign_range(members: Mapping[str, MemberSpec], partitions: Mapping[uuid.UUID, int]) -> dict[str, Assignment]:
    """The assignor `range`."""
    found: dict[str, set[Partition]] = {member_id: set() for member_id in members}

    def position(member_id: str) -> tuple[bool, str]:
        instance = members[member_id].instance_id
        return instance is None, member_id if instance is None else instance

    ordered = sorted(members, key=position)
    for topic in {topic for spec in members.values() for topic in spec.topics}:
        subscribers = [member_id for member_id in ordered if topic in members[member_id].topics]
        quota, extra = divmod(partitions[topic], len(subscribers))
        start = 0
        for index, member_id in enumerate(subscribers):
            end = start + quota + (index < extra)
            found[member_id].update((topic, partition) for partition in range(start, end))
            start = end
    return {member_id: frozenset(assigned) for member_id, assigned in found.items()}


ASSIGNORS: dict[str, Assignor] = {"uniform": assign_uniform, "range": assign_range}
"""By the names that clients and `group.consumer.assignors` use."""


def _evenly(members: Mapping[str, MemberSpec], partitions: Mapping[uuid.UUID, int]) -> dict[str, Assignment]:
    """All members subscribe to the same topics: everybody gets the quota, some one more, best those that have more."""
    topics = sorted(next(iter(members.values())).topics)
    taken = {partition for spec in members.values() for partition in spec.target}
    everything = [(topic, index) for topic in topics for index in range(partitions[topic])]
    unassigned = [partition for partition in everything if partition not in taken]
    valid = set(everything)
    quota, extra = divmod(len(everything), len(members))
    found: dict[str, list[Partition]] = {}
    room: dict[str, int] = {}
    for index, (member_id, spec) in enumerate(members.items()):
        current = sorted(partition for partition in spec.target if partition in valid)
        takes_extra = extra > 0 and (len(current) > quota or len(members) - index <= extra)
        extra -= takes_extra
        own_quota = quota + takes_extra
        found[member_id] = current[:own_quota]
        unassigned += current[own_quota:]
        room[member_id] = own_quota - len(found[member_id])
    for member_id, count in room.items():
        found[member_id] += unassigned[:count]
        del unassigned[:count]
    return {member_id: frozenset(assigned) for member_id, assigned in found.items()}


def _balanced(members: Mapping[str, MemberSpec], partitions: Mapping[uuid.UUID, int]) -> dict[str, Assignment]:
    """Members subscribe to different topics: keep what is valid, fill up, then move single partitions."""
    subscribers = {
        topic: [member_id for member_id, spec in members.items() if topic in spec.topics]
        for topic in sorted({topic for spec in members.values() for topic in spec.topics})
    }
    owners: dict[Partition, str] = {}
    for member_id, spec in members.items():
        for topic, index in sorted(spec.target):
            if topic in spec.topics and index < partitions[topic]:
                owners.setdefault((topic, index), member_id)
    load = Counter(owners.values())
    for topic in sorted(subscribers, key=lambda each: len(subscribers[each])):
        for index in range(partitions[topic]):
            if (topic, index) not in owners:
                owners[(topic, index)] = least = min(subscribers[topic], key=lambda each: load[each])
                load[least] += 1
    moved = True
    while moved:  # each move makes the sum of the squared loads smaller
        moved = False
        for (topic, index), owner in owners.items():
            least = min(subscribers[topic], key=lambda each: load[each])
            if load[owner] > load[least] + 1:
                owners[(topic, index)] = least
                load[owner] -= 1
                load[least] += 1
                moved = True
    found: dict[str, set[Partition]] = {member_id: set() for member_id in members}
    for partition, owner in owners.items():
        found[owner].add(partition)
    return {member_id: frozenset(assigned) for member_id, assigned in found.items()}


def java_order(keys: Collection[str]) -> list[str]:
    """The keys as a Java HashMap of the default capacity would list them, leaving collisions aside."""
    capacity = 16
    while len(keys) > capacity * 3 // 4:
        capacity *= 2

    def bucket(key: str) -> int:
        value = java_hash(key) & 0xFFFFFFFF
        return (value ^ value >> 16) & (capacity - 1)

    return sorted(keys, key=bucket)
