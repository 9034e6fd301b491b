"""Checkpoints are MirrorMaker's, and exact: what they say is where the next record is."""

from __future__ import annotations

from pathlib import Path

import pytest

from replicator.sync.mm2_formats import Checkpoint, decode_checkpoint
from tests.e2e.group_scene import GroupScene, groups_at
from tests.e2e.pairs import BUNDLED, LONG_KAFKA, on
from tests.e2e.rig import Pair
from tests.support.checker import read_partition
from tests.support.waiting import wait_for

TOPIC = "us.checkpoints.internal"


class Checkpointed(GroupScene):
    """Its judge asks the checkpoints instead of the target's groups."""

    def written(self) -> list[Checkpoint]:
        """All of this scene's groups, in the topic's order."""
        if TOPIC not in self.target.admin().list_topics(timeout=10).topics:
            return []
        records = read_partition(self.target.client_config, TOPIC, 0)
        found = [decode_checkpoint(record.key, record.value) for record in records]
        return [checkpoint for checkpoint in found if checkpoint.group.startswith(f"{self.name}-")]

    def committed(self, group: str, *, there: bool = True) -> dict[tuple[str, int], int]:
        if not there:
            return super().committed(group, there=False)
        name = f"{self.name}-{group}"
        return {(at.topic, at.partition): at.downstream for at in self.written() if at.group == name}


@pytest.mark.slow
@on(BUNDLED, LONG_KAFKA)
def test_given_groups_at_any_lag_when_they_commit_then_their_checkpoints_are_exact_and_written_once(
    pair: Pair, tmp_path: Path
) -> None:
    scene = Checkpointed(*pair, tmp_path, f"cp-{tmp_path.name[-6:]}", sync={
        "groups": False, "checkpoints": True, "every": 1,
    })  # fmt: skip
    scene.fill(4_000, compacted=2_000, txn=2_000)
    with scene.installation.worker() as worker:
        worker.wait_ready()
        scene.installation.wait_until_copied(len(scene.places), within=60)
        groups = groups_at(scene, "at", (0, 10, 50, 90, 100))
        scene.wait_exact(groups, within=10)
        positions = {name: len(at) for name, at in groups.items()}
        assert len(scene.written()) == sum(positions.values())  # each of them once
        scene.commit("at90", groups["at10"])  # rewound
        scene.wait_exact({"at90": groups["at10"]}, within=10)
        worker.terminate()
    before = scene.written()
    with scene.installation.worker() as worker:
        worker.wait_ready()
        groups_at(scene, "later", (50,))
        scene.wait_exact({"later50": groups["at50"]}, within=20)
        worker.terminate()
    since = scene.written()[len(before) :]
    again = {checkpoint.group.removeprefix(f"{scene.name}-") for checkpoint in since}
    assert again <= {"later50", "at100"}  # the log's end has moved with a new owner's marker; nothing else again
    assert sum(checkpoint.group.endswith("later50") for checkpoint in since) == positions["at50"]
    for checkpoint in scene.written():
        assert checkpoint.topic.startswith("us.")
        assert checkpoint.metadata == ""


@pytest.mark.slow
@on(BUNDLED, LONG_KAFKA)
def test_given_a_position_in_an_empty_partition_then_its_checkpoint_is_zero(pair: Pair, tmp_path: Path) -> None:
    name = f"cpn-{tmp_path.name[-6:]}"
    scene = Checkpointed(*pair, tmp_path, name, sync={"groups": False, "checkpoints": True, "every": 1})
    scene.fill(0, compacted=0, txn=0)
    scene.write_plain(40)
    with scene.installation.worker() as worker:
        worker.wait_ready()
        scene.installation.wait_until_copied(len(scene.places), within=60)
        full = {(scene.plain, partition): 10 for partition in range(4)}
        scene.commit("some", {**full, (scene.compacted, 0): 0})
        scene.wait_exact({"some": full}, within=10)

        def empty_too() -> bool:
            return scene.committed("some").get((f"us.{scene.compacted}", 0)) == 0

        wait_for(empty_too, within=10, what="an empty partition's position is 0")
        worker.terminate()
