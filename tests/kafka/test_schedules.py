"""Random schedules, the same on both brokers: every code, epoch and offset must be the same.

On a difference the message names the seed and the step; `-k seed-N` runs that one alone.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from kio.schema.errors import ErrorCode

from tests.kafka.scene import READ_COMMITTED, Scene, Transactional
from tests.support.rawclient import batch

pytestmark = pytest.mark.kafka

STEPS = 60


def run_both(request: pytest.FixtureRequest, schedule: Any, seed: int) -> None:
    """Run the schedule on each broker and compare what it noted, step by step."""
    noted = []
    for fixture in ("bundled_broker", "kafka_source"):
        broker = request.getfixturevalue(fixture)
        with Scene(broker.bootstrap, broker.kind) as scene:
            noted.append(schedule(scene, random.Random(seed)))
    ours, kafkas = noted
    for number, (mine, real) in enumerate(zip(ours, kafkas, strict=True)):
        history = "\n".join(str(step) for step in kafkas[max(0, number - 8) : number])
        assert mine == real, f"seed {seed}, step {number}: ours {mine}, Kafka's {real}, after\n{history}"


def idempotent(scene: Scene, chance: random.Random) -> list[Any]:
    """Batches of two producers with plausible and less plausible sequences."""
    topic = scene.topic(retention_ms="-1")
    producers = [scene.producer_id() for _ in range(2)]
    notes: list[Any] = []
    recent: list[tuple[int, int, int, int]] = []
    for _ in range(STEPS):
        if recent and chance.random() < 0.3:
            which, epoch, sequence, count = chance.choice(recent[-7:])
        else:
            which, epoch = chance.randrange(2), chance.choice((0, 0, 0, 1, 1, 2))
            sequence, count = chance.choice((0, 0, 1, 2, 3, 4, 5, 6)), chance.randint(1, 3)
            if recent and chance.random() < 0.6:  # the next in order
                which, epoch, last, size = recent[-1]
                sequence = last + size
        recent.append((which, epoch, sequence, count))
        data = batch(
            [b"x"] * count,
            producer_id=producers[which],
            epoch=epoch,
            sequence=sequence,
            timestamp=1_700_000_000_000,
        )
        done = scene.produce(topic, data)
        step = f"producer {which} epoch {epoch} sequence {sequence} count {count}"
        notes.append((step, done.error_code.name, done.base_offset))
    notes.append(("end", scene.end(topic)))
    return notes


def transactional(scene: Scene, chance: random.Random) -> list[Any]:
    """A transactional id that several instances use, fence and abandon."""
    topic = scene.topic(2, retention_ms="-1")
    first = scene.transactional()
    owners = [first]
    notes: list[Any] = []
    for _ in range(STEPS):
        owner = chance.choice(owners[-2:])
        notes.append(step(scene, owners, owner, topic, chance))
    owners[-1].until_complete()
    for partition in range(2):
        ends = [int(scene.list_offset(topic, -1, partition=partition, isolation=level).offset) for level in (0, 1)]
        notes.append(("ends", partition, ends))
        found = scene.fetch(topic, partition=partition, isolation_level=READ_COMMITTED)
        notes.append(("aborted", sorted(row.first_offset for row in found.aborted_transactions)))
        batches = scene.batches(topic, partition=partition)
        notes.append(("batches", [(each.base_offset, each.epoch, each.sequence, each.is_control) for each in batches]))
    return notes


def step(scene: Scene, owners: list[Transactional], owner: Transactional, topic: str, chance: random.Random) -> Any:
    """One random act of one of the instances that share a transactional id."""
    act = chance.choice(("add", "add", "send", "send", "send", "end", "end", "init", "recover", "newcomer", "plain"))
    result: Any
    if act == "add":
        version = chance.choice((1, 3))
        result = owner.add(topic, chance.randrange(2), version=version).name
    elif act == "send":
        version = chance.choice((9, 9, 11, 12))
        done = owner.send(topic, b"v", version=version)
        result = (version, done.error_code.name, done.base_offset)
    elif act == "end":
        version, commit = chance.choice((3, 4, 5)), chance.random() < 0.6
        result = (version, commit, owner.end(commit=commit, version=version).name)
        owner.until_complete()
    elif act == "init":
        result = owner.init().name
    elif act == "recover":
        result = owner.init(expected=True, version=chance.choice((3, 4))).name
    elif act == "newcomer":
        other = Transactional(scene, owner.name, owner.client)
        result = other.init().name
        owners.append(other)
    else:
        data = batch([b"p"], producer_id=owner.producer_id, epoch=owner.epoch, sequence=chance.choice((0, 1)))
        done = scene.produce(topic, data, partition=1)
        result = (done.error_code.name, done.base_offset)
    if act in ("init", "recover", "newcomer"):
        owners[-1].until_complete()
    newest = owners[-1]
    return act, owners.index(owner), result, owner.epoch, newest.epoch, newest.producer_id - owners[0].producer_id


@pytest.mark.parametrize("seed", range(3), ids=lambda seed: f"seed-{seed}")
def test_given_random_batches_of_idempotent_producers_when_sent_to_both_then_the_answers_are_the_same(
    request: pytest.FixtureRequest, seed: int
) -> None:
    run_both(request, idempotent, seed)


@pytest.mark.parametrize("seed", range(5), ids=lambda seed: f"seed-{seed}")
def test_given_random_transactions_when_run_on_both_then_codes_epochs_and_offsets_are_the_same(
    request: pytest.FixtureRequest, seed: int
) -> None:
    run_both(request, transactional, seed)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("schedule", [idempotent, transactional])
def test_given_many_more_seeds_when_run_on_both_then_the_answers_are_the_same(
    request: pytest.FixtureRequest, schedule: Any
) -> None:
    for seed in range(5, 300):
        run_both(request, schedule, seed)


def test_given_two_runs_when_one_step_differs_then_the_comparison_says_so(request: pytest.FixtureRequest) -> None:
    def schedule(scene: Scene, chance: random.Random) -> list[Any]:
        return [("same", 1), ("different", scene.kind if chance.random() >= 0 else "")]

    with pytest.raises(AssertionError, match="seed 7, step 1"):
        run_both(request, schedule, 7)
    assert ErrorCode.none == 0
