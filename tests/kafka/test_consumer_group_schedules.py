"""Random schedules of a consumer group's members, the same on both brokers: every answer must be the same.

Member ids are the members' own, so that even which partitions somebody gets is comparable.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from kio.schema.errors import ErrorCode

from tests.kafka.consumer_member import LEAVING_FOR_A_WHILE, ConsumerMember
from tests.kafka.scene import Scene, unique
from tests.kafka.test_groups import commit
from tests.kafka.test_schedules import run_both

pytestmark = pytest.mark.kafka

STEPS = 60


class Crowd:
    """Five members of one group, two of them static."""

    def __init__(self, scene: Scene, chance: random.Random) -> None:
        self.chance = chance
        self.scene = scene
        self.topic = scene.topic(7)
        self.group = unique("g")
        self.assignor = chance.choice([None, "range", "uniform"])  # of two that are wanted equally, Kafka takes either
        self.names = iter(range(1000))
        self.members = [self.member(instance) for instance in (None, None, None, "s0", "s1")]

    def member(self, instance: str | None) -> ConsumerMember:
        assignor = self.chance.choice([None, self.assignor])
        name = f"member-{next(self.names)}"
        return ConsumerMember(self.scene, self.group, self.topic, member_id=name, instance=instance, assignor=assignor)

    def act(self) -> Any:
        acts = (*("beat",) * 8, *("cling",) * 3, "join", "join", "join", "ping", "leave", "pause", "stale", "repeat")
        act = self.chance.choice((*acts, "successor", "commit"))
        index = self.chance.randrange(len(self.members))
        done = getattr(self, act)(self.members[index], index)
        return index, act, done, self.picture()

    @staticmethod
    def note(member: ConsumerMember, answer: Any) -> Any:
        message = (answer.error_message or "").replace(member.group, "GROUP")
        return ErrorCode(answer.error_code).name, answer.member_epoch, list(member.owned), message

    def beat(self, member: ConsumerMember, _: int) -> Any:
        return self.note(member, member.beat())

    def cling(self, member: ConsumerMember, _: int) -> Any:
        return self.note(member, member.beat(clings=True))

    def join(self, member: ConsumerMember, _: int) -> Any:
        return self.note(member, member.join())

    def ping(self, member: ConsumerMember, _: int) -> Any:
        """What isn't said keeps its value; an assignment comes only if it changed."""
        answer = member.ping()
        if answer.error_code != ErrorCode.none:
            return ErrorCode(answer.error_code).name
        member.epoch = answer.member_epoch
        if answer.assignment is None:
            return answer.member_epoch
        member.owned = sorted(index for row in answer.assignment.topic_partitions for index in row.partitions)
        return answer.member_epoch, list(member.owned)

    def leave(self, member: ConsumerMember, _: int) -> Any:
        return self.note(member, member.leave())

    def pause(self, member: ConsumerMember, _: int) -> Any:
        return self.note(member, member.leave(LEAVING_FOR_A_WHILE))

    def stale(self, member: ConsumerMember, _: int) -> Any:
        return self.note(member, member.send(member_epoch=member.epoch + self.chance.choice([-1, 1, 5])))

    def repeat(self, member: ConsumerMember, _: int) -> Any:
        """The answer gets lost."""
        epoch, owned = member.epoch, member.owned
        noted = self.note(member, member.beat())
        member.epoch, member.owned = epoch, owned
        return noted

    def successor(self, member: ConsumerMember, index: int) -> Any:
        """Another process in its place, under another id."""
        heir = self.members[index] = self.member(member.instance)
        return self.note(heir, heir.join())

    def commit(self, member: ConsumerMember, _: int) -> Any:
        who = {"member_id": member.member_id, "generation_id_or_member_epoch": member.epoch}
        return ErrorCode(commit(member.client, self.group, self.topic, 1, **who)).name

    def picture(self) -> Any:
        """The group as ConsumerGroupDescribe shows it."""
        found = self.members[0].describe()
        rows = [
            (row.member_id, row.member_epoch, indexes(row.assignment), indexes(row.target_assignment))
            for row in found.members
        ]
        return found.group_state, found.group_epoch, found.assignment_epoch, found.assignor_name, sorted(rows)


def indexes(assignment: Any) -> list[int]:
    return sorted(index for row in assignment.topic_partitions for index in row.partitions)


def schedule(scene: Scene, chance: random.Random) -> list[Any]:
    """What a crowd's acts led to."""
    crowd = Crowd(scene, chance)
    return [crowd.act() for _ in range(STEPS)]


@pytest.mark.parametrize("seed", range(3), ids=lambda seed: f"seed-{seed}")
def test_given_random_members_when_run_on_both_then_every_answer_is_the_same(
    request: pytest.FixtureRequest, seed: int
) -> None:
    run_both(request, schedule, seed)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_given_many_more_seeds_when_run_on_both_then_every_answer_is_the_same(request: pytest.FixtureRequest) -> None:
    for seed in range(3, 200):
        run_both(request, schedule, seed)
