"""The checkpoints' own decisions, with the groups' positions, their translations and the topic made by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast
from unittest import mock
from uuid import UUID

import pytest

from replicator.config.models import ClusterConfig, LinkConfig, Settings
from replicator.ledger.translation import BEYOND, COPIED
from replicator.sync import checkpoints
from replicator.sync.checkpoints import Checkpoints
from replicator.sync.mm2_formats import Checkpoint, decode_checkpoint, encode_checkpoint
from replicator.sync.plan import Kind, Why
from replicator.sync.positions import Translated, Translation, Unknown
from replicator.wire import kafka_errors as codes
from replicator.wire.groups import Committed, ListedGroup
from replicator.wire.groups import Positions as GroupPositions
from replicator.wire.kafka_errors import BrokerError
from tests.sync.fake_admin import FakeAdmin

LINK = LinkConfig(name="l", source="us", target="eu")
TOPIC = "us.checkpoints.internal"


class Scene:
    """Two clusters of which nothing is asked but this."""

    def __init__(self) -> None:
        self.groups: dict[str, GroupPositions] = {}
        self.answers: dict[tuple[str, int, int], Translation | None] = {}
        self.log: list[tuple[bytes, bytes]] = []
        self.read = 0
        self.topic_id: UUID | None = None
        self.refusal: BrokerError | None = None
        self.asked = 0
        self.now = 0.0
        self.admin = FakeAdmin("eu", brokers=2)
        self.topics: dict[str, object] = {}
        settings = Settings(clusters={a: ClusterConfig(bootstrap_servers="h:1") for a in ("us", "eu")}, links=(LINK,))
        with (
            mock.patch.object(checkpoints, "GroupClient", return_value=_Groups(self)),
            mock.patch.object(checkpoints, "Positions", return_value=_Positions(self)),
            mock.patch.object(checkpoints, "TopicFollower", return_value=_Follower(self)),
        ):
            target = cast(Any, _Target(self))
            self.made = Checkpoints(settings, LINK, target, target, cast(Any, self.admin), clock=lambda: self.now)

    def commit(self, group: str, *offsets: int, metadata: str = "") -> None:
        committed = {("t", n): Committed(offset, metadata) for n, offset in enumerate(offsets)}
        self.groups[group] = GroupPositions(0, committed)

    async def round(self) -> list[Checkpoint]:
        """What one round writes."""
        before = len(self.log)
        plan = await self.made.plan()
        if plan.changes:
            with (
                mock.patch.object(checkpoints, "LedgerLog", return_value=_Log(self)),
                mock.patch.object(checkpoints, "init_producer_id", mock.AsyncMock()),
            ):
                self.held = await self.made.apply(plan)
        return [decode_checkpoint(*pair) for pair in self.log[before:]]


class _Groups:
    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    async def groups(self) -> dict[str, ListedGroup]:
        return {name: ListedGroup(name, "consumer", "Stable", "classic") for name in self.scene.groups}

    async def positions(self, groups: list[str]) -> dict[str, GroupPositions]:
        return {name: self.scene.groups[name] for name in groups}


class _Positions:
    exists = True

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    async def refresh(self) -> None: ...

    async def load(self) -> bool:
        missing = [key for key, answer in self.scene.answers.items() if answer is None]
        for key in missing:
            self.scene.answers[key] = Translated(key[2], 0, COPIED, True, 0)
        return bool(missing)

    def copied(self, topic: str) -> bool:
        return topic == "t"

    def translate(self, topic: str, partition: int, offset: int) -> dict[tuple[str, int], Translation] | None:
        self.scene.asked += 1
        default = Translated(offset, 0, COPIED, True, 0)
        answer = self.scene.answers.get((topic, partition, offset), default)
        return None if answer is None else {(f"us.{topic}", partition): answer}


class _Follower:
    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.at = 0

    def forget(self, partition: int) -> None:
        self.at = 0

    async def read(self, partitions: list[int], take: Callable[[int, bytes, bytes | None], None]) -> dict[int, Any]:
        for key, value in self.scene.log[self.at :]:
            take(0, key, value)
        self.at = len(self.scene.log)
        return {}


class _Target:
    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.topics: dict[str, object] = {}

    def watch(self, topics: list[str]) -> None: ...

    async def refresh(self) -> None:
        made = self.scene.admin.topics.get(TOPIC)
        self.scene.topic_id = None if made is None else made.topic_id

    def topic_id_of(self, topic: str) -> UUID | None:
        return self.scene.topic_id

    def leader(self, topic: str, partition: int) -> None:
        return None

    async def any_connection(self) -> None: ...


class _Log:
    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    async def write(self, producer: object, pairs: list[tuple[bytes, bytes]], *, timeout_s: float) -> None:
        if self.scene.refusal is not None:
            raise self.scene.refusal
        self.scene.log += pairs


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_given_groups_when_they_move_then_only_what_has_changed_is_written_also_backwards(scene: Scene) -> None:
    scene.commit("g", 5, 7, metadata="note")
    assert await scene.round() == [
        Checkpoint("g", "us.t", 0, 5, 5, "note"),
        Checkpoint("g", "us.t", 1, 7, 7, "note"),
    ]
    made = scene.admin.topics[TOPIC]
    assert (made.partitions, made.replication_factor, scene.admin.own[TOPIC]) == (1, 2, {"cleanup.policy": "compact"})
    assert await scene.round() == []
    scene.commit("g", 3, 7, metadata="note")
    assert [(c.partition, c.downstream) for c in await scene.round()] == [(0, 3)]
    del scene.groups["g"]
    assert await scene.round() == []


async def test_given_what_another_controller_wrote_when_beginning_then_it_isnt_written_again(scene: Scene) -> None:
    scene.admin.add(TOPIC)
    scene.log.append(encode_checkpoint(Checkpoint("g", "us.t", 0, 5, 5)))
    scene.commit("g", 5)
    assert await scene.round() == []
    scene.admin.add(TOPIC)  # another one: what was in the first is gone
    scene.log.clear()
    await cast(Any, scene.made)._target.refresh()
    scene.commit("g", 5)
    assert len(await scene.round()) == 1


async def test_given_positions_that_cant_be_told_when_planned_then_none_is_written_for_them(scene: Scene) -> None:
    scene.answers["t", 0, 5] = Unknown("lies before")
    scene.answers["t", 1, 6] = None  # its map isn't loaded
    scene.answers["t", 2, 9] = Translated(8, 0, BEYOND, False, 0)
    scene.commit("g", 5, 6, 9)
    assert [(c.partition, c.downstream) for c in await scene.round()] == [(1, 6), (2, 8)]
    scene.answers["t", 2, 9] = Translated(9, 0, COPIED, True, 0)
    assert [(c.partition, c.downstream) for c in await scene.round()] == [(2, 9)]


async def test_given_groups_that_rest_when_all_is_final_then_nothing_is_translated_again_for_a_while(
    scene: Scene,
) -> None:
    scene.commit("g", 5)
    await scene.round()
    await scene.round()
    before = scene.asked
    await scene.round()
    assert scene.asked == before
    scene.now += 61
    await scene.round()
    assert scene.asked > before


async def test_given_no_right_to_write_when_applied_then_it_is_held_with_what_to_grant(scene: Scene) -> None:
    scene.commit("g", 5)
    scene.refusal = BrokerError(codes.TOPIC_AUTHORIZATION_FAILED, "write")
    assert await scene.round() == []
    (held,) = scene.held
    assert (held.kind, held.why) == (Kind.TOPIC, Why.NOT_AUTHORIZED)
    assert f"grant Create, Describe, Read and Write on topic {TOPIC}" in held.detail
    scene.refusal = None
    assert len(await scene.round()) == 1
