"""Consumer groups that move to the other cluster go on at exactly the next record."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.group_scene import GroupScene, groups_at
from tests.e2e.pairs import KAFKA, LONG_BUNDLED, on
from tests.e2e.rig import Pair

PERCENTS = (10, 50, 90, 99, 100)


@pytest.mark.slow
@on(LONG_BUNDLED, KAFKA)
def test_given_groups_at_any_lag_when_they_commit_then_within_ten_seconds_the_target_has_the_exact_position(
    pair: Pair, tmp_path: Path
) -> None:
    scene = GroupScene(*pair, tmp_path, f"reach-{tmp_path.name[-6:]}")
    scene.fill(100_000, compacted=20_000, txn=20_000)
    with scene.installation.worker() as worker:
        worker.wait_ready()
        scene.installation.wait_until_copied(len(scene.places), within=120)
        groups = groups_at(scene, "at", PERCENTS)
        scene.wait_exact(groups, within=10)
        moved = dict.fromkeys(("at10", "at100"), groups["at50"])  # on, and deliberately back
        for group, positions in moved.items():
            scene.commit(group, positions)
        scene.wait_exact(moved, within=10)


@pytest.mark.soak
@pytest.mark.timeout(600)
@on(LONG_BUNDLED, KAFKA)
def test_given_ten_forced_takeovers_under_load_then_positions_are_as_exact_as_before(
    pair: Pair, tmp_path: Path
) -> None:
    scene = GroupScene(*pair, tmp_path, f"kills-{tmp_path.name[-6:]}")
    scene.fill(20_000, compacted=10_000, txn=10_000)
    workers = [scene.installation.worker() for _ in range(12)]
    try:
        for worker in workers[:2]:
            worker.start()
        before = groups_at(scene, "before", PERCENTS)
        for number in range(10):
            workers[number].wait_ready(within=60)
            scene.write_plain(8_000, start=20_000 + 8_000 * number)
            scene.write_txn(1_000, start=10_000 + 1_000 * number)
            workers[number].kill()
            workers[number + 2].start()
        workers[10].wait_ready(within=60)
        scene.installation.wait_until_copied(len(scene.places), within=120)
        scene.reread()
        after = groups_at(scene, "after", PERCENTS)
        scene.wait_exact(after, within=15)
        scene.wait_exact(before, within=15)
    finally:
        for worker in workers:
            if worker.running:
                worker.kill()
