"""Random schedules of a consumer group's members, its coordinator and its topics.

A  No partition belongs to two members at a time, as the coordinator sees it and as the members do.
B  A member's epoch never goes back while it is a member.
C  Once everybody has had a few heartbeats in peace, everything is assigned, evenly, and the group is stable.
D  What the log holds is the group: read back, it is the same.
"""

from __future__ import annotations

import random
import uuid

import pytest
from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.groups import consumer_group
from broker.groups.consumer_member import LEAVING_FOR_A_WHILE, NOTHING
from tests.broker.consumer_world import GROUP, Client, Topics, World, settle

MUST_REJOIN = (
    ErrorCode.unknown_member_id,
    ErrorCode.fenced_member_epoch,
    ErrorCode.group_id_not_found,
)
MAY_COME_LATER = (ErrorCode.coordinator_not_available, ErrorCode.unreleased_instance_id, ErrorCode.fenced_instance_id)


class Run:
    """One schedule. Everything is decided by `chance`."""

    def __init__(self, chance: random.Random, *, mixed: bool) -> None:
        self.chance = chance
        self.mixed = mixed
        self.world = World(Topics(t=chance.randrange(1, 8), u=chance.randrange(1, 8), v=3), session_timeout_ms=10_000)
        self.clients = [self.client(index) for index in range(5)]
        self.epochs: dict[str, int] = {}

    def client(self, index: int) -> Client:
        instance = f"s{index}" if index < 2 else None
        regex = "[tu]" if index == 4 and self.mixed else None
        assignor = self.chance.choice([None, None, "range", "uniform"])
        client = Client(self.world, f"m{index}", *self.topics(), regex=regex, instance=instance, assignor=assignor)
        client.rebalance_timeout_ms = 20_000
        return client

    def topics(self) -> tuple[str, ...]:
        if not self.mixed:
            return ("t", "u")
        return tuple(self.chance.sample(["t", "u", "v", "w"], self.chance.randrange(1, 4)))

    def step(self) -> None:
        acts = ("beat",) * 10 + ("cling",) * 3 + ("join", "join", "leave", "crash", "come_back", "repeat", "change")
        act = self.chance.choice(
            (*acts, "time", "time", "grow", "recreate", "restart", "broken", "pause" if self.mixed else "time")
        )
        client = self.chance.choice(self.clients)
        self.world.log.broken = act == "broken"
        try:
            getattr(self, act)(client)
        except KafkaError as error:
            if error.code in MUST_REJOIN:
                client.owned, client.joined = NOTHING, False
            elif error.code not in MAY_COME_LATER:
                raise
        self.world.log.broken = False
        self.check()

    def beat(self, client: Client) -> None:
        if client.joined:
            client.beat()

    broken = beat

    def cling(self, client: Client) -> None:
        """Heartbeat without letting go of anything."""
        if client.joined:
            client.beat(gives_up=False)

    def join(self, client: Client) -> None:
        if not client.joined:
            client.join()

    def leave(self, client: Client) -> None:
        if client.joined:
            client.leave()

    def crash(self, client: Client) -> None:
        """Gone without a word: another process takes its place some time, with another id."""
        client.owned, client.joined = NOTHING, False
        client.member_id = str(uuid.UUID(int=self.chance.getrandbits(128)))

    def pause(self, client: Client) -> None:
        if client.joined and client.instance is not None:
            client.leave(LEAVING_FOR_A_WHILE)

    def come_back(self, client: Client) -> None:
        """A static member goes for a while and is there again under another id."""
        if client.joined and client.instance is not None:
            client.leave(LEAVING_FOR_A_WHILE)
            client.member_id = str(uuid.UUID(int=self.chance.getrandbits(128)))
            client.join()

    def repeat(self, client: Client) -> None:
        """The answer gets lost: the member doesn't know that it was heard."""
        if client.joined:
            epoch, owned = client.epoch, client.owned
            client.beat()
            client.epoch, client.owned = epoch, owned & client.owned

    def change(self, client: Client) -> None:
        if client.regex is None and self.mixed:
            client.topics = frozenset(self.topics())
            self.beat(client)

    def time(self, _: Client) -> None:
        self.world.pass_time(self.chance.randrange(1, 5))
        for client in self.clients:
            if client.joined and client.member_id not in self.members:
                client.owned, client.joined = NOTHING, False  # a consumer notices by itself that it was silent too long

    def grow(self, _: Client) -> None:
        name = self.chance.choice(["t", "u"])
        self.world.topics.grow(name, self.world.topics.known[name][1] + 1)

    def recreate(self, _: Client) -> None:
        self.world.topics.make(self.chance.choice(["t", "u", "w"]), self.chance.randrange(1, 6))

    def restart(self, _: Client) -> None:
        before = self.world.coordinator.groups.get(GROUP)
        self.world.restart()
        if before is not None:
            assert self.world.group.snapshot == before.snapshot  # type: ignore[union-attr]

    @property
    def members(self) -> dict[str, object]:
        group = self.world.coordinator.groups.get(GROUP)
        return {} if group is None else dict(group.members)

    def check(self) -> None:
        group = self.world.coordinator.groups.get(GROUP)
        if group is None:
            return
        held = [partition for member in self.world.group.members.values() for partition in member.held]
        assert len(held) == len(set(held)), "A: two members hold one partition"
        owned = [partition for client in self.clients for partition in client.owned]
        assert len(owned) == len(set(owned)), "A: two members believe a partition theirs"
        for member_id, member in self.world.group.members.items():
            if member.epoch > 0:
                assert member.epoch >= self.epochs.get(member_id, 0), "B: an epoch went back"
                self.epochs[member_id] = member.epoch
        self.epochs = {member_id: epoch for member_id, epoch in self.epochs.items() if member_id in group.members}

    def finish(self) -> None:
        self.world.pass_time(30)
        for client in self.clients:
            client.join()
        for _ in range(3):
            self.world.pass_time(4)
            settle(*self.clients, rounds=3)
        group = self.world.group
        assert group.state_name == "Stable", "C"
        subscribed = [name for name in ("t", "u", "v", "w") if group.is_subscribed_to(name)]
        everything = self.world.topics.partitions(*(name for name in subscribed if name in self.world.topics.known))
        assert frozenset().union(*(client.owned for client in self.clients)) == everything, "C: something is left over"
        assert group.snapshot.epoch == group.snapshot.target_epoch
        self.check()
        sizes = [len(client.owned) for client in self.clients]
        if not self.mixed and group.assignor_name == "uniform":
            assert max(sizes) - min(sizes) <= 1, "C: uneven"


def run(seed: int, *, mixed: bool, steps: int = 300) -> None:
    chance = random.Random(seed)
    schedule = Run(chance, mixed=mixed)
    for _ in range(steps):
        schedule.step()
    schedule.finish()


@pytest.mark.parametrize("mixed", [False, True], ids=["same-topics", "any-topics"])
@pytest.mark.parametrize("seed", range(12))
def test_given_random_acts_when_a_group_goes_through_them_then_a_b_c_and_d_hold(seed: int, mixed: bool) -> None:
    run(seed, mixed=mixed)


@pytest.mark.soak
def test_given_many_more_seeds_when_a_group_goes_through_them_then_a_b_c_and_d_hold() -> None:
    for seed in range(12, 1000):
        run(seed, mixed=bool(seed % 2))


def test_given_a_coordinator_that_gives_held_partitions_away_when_run_then_the_check_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest = consumer_group.reconcile
    monkeypatch.setattr(consumer_group, "reconcile", lambda *args: honest(*args[:4], lambda _: False))
    with pytest.raises(AssertionError, match="A: two"):
        run(0, mixed=False)
