"""Two clusters that copy to each other under the same names, and a ring of three, attacked by random schedules.

`python -m tests.rules SEED --loops 3` plays one of them again. What is judged (`loops.judge`) is planted first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from tests.rules import loops
from tests.rules.history import Append, Fence, History, Row
from tests.rules.schedule import DAY_MS, Mood
from tests.rules.test_rules import WRITING, holds, play
from tests.rules.virtual import VirtualLoop, simulate
from tests.rules.world import in_virtual_world

PLACE = ("orders", 0)
CLIENT, LINK = 7, 8  # producer ids


def append(order: int, producer: int, *values: bytes) -> Append:
    rows = tuple(Row(10 * order + n, 0, b"k", value) for n, value in enumerate(values))
    last = 10 * order + len(values) - 1
    return Append(order, *PLACE, 10 * order, last, producer, 0, 0, False, None, rows)


def history(*appends: Append) -> History:
    made = History(fences=[Fence(0, LINK, 0)])
    for one in appends:
        made.add(one)
    return made


def good() -> dict[str, History]:
    return {
        "a": history(append(1, CLIENT, b"a1", b"a2"), append(2, LINK, b"b1"), append(3, CLIENT, b"a3")),
        "b": history(append(1, -1, b"b1"), append(2, LINK, b"a1", b"a2"), append(3, LINK, b"a3")),
    }


def test_given_the_same_records_in_each_origins_order_then_nothing_is_wrong() -> None:
    assert loops.judge(good(), [PLACE]) == []


PLANTED: dict[str, tuple[Callable[[Append], list[Append]], str]] = {
    "lost": (lambda one: [], "misses"),
    "copied back": (lambda one: [one, replace(one, order=9, rows=(replace(one.rows[0], offset=90),))], "too many"),
    "changed": (lambda one: [replace(one, rows=(replace(one.rows[0], value=b"x"), *one.rows[1:]))], "misses"),
    "swapped": (lambda one: [replace(one, rows=one.rows[::-1])], "behind a later one"),
}


@pytest.mark.parametrize("what", PLANTED)
def test_given_a_record_that_is_lost_repeated_changed_or_swapped_then_it_is_found(what: str) -> None:
    change, message = PLANTED[what]
    histories = good()
    chosen = histories["b"].appends[1]
    histories["b"] = histories["b"].changed(lambda one: change(one) if one is chosen else [one])
    assert any(message in wrong for wrong in loops.judge(histories, [PLACE]))


@pytest.mark.slow
@WRITING
@pytest.mark.parametrize(("clusters", "seeds"), [(2, "1-4"), (3, "1-4")])
def test_given_clusters_that_copy_round_then_each_record_is_everywhere_once_and_nothing_circulates(
    clusters: int, seeds: str, writing: str
) -> None:
    results = tuple(play(seeds, "--loops", str(clusters), "--writing", writing))
    assert len(results) == 4
    for rule in ("end", "loops", "circles", *loops.RULES_HERE, "false alarm"):
        holds(rule, results)


@pytest.mark.soak
@WRITING
@pytest.mark.parametrize("clusters", [2, 3])
def test_loops_hold_in_many_schedules(clusters: int, writing: str) -> None:
    results = tuple(play("1000-1199", "--loops", str(clusters), "--writing", writing, timeout=3000))
    for rule in ("end", "loops", "circles", *loops.RULES_HERE, "false alarm"):
        holds(rule, results)


@pytest.mark.slow
def test_given_a_full_mesh_of_links_that_pass_native_records_only_then_no_record_is_twice() -> None:
    random, said = Random(5), list[str]()

    async def work(loop: VirtualLoop) -> list[str]:
        ring = loops.make_mesh(loop, random, said, memory_ms=DAY_MS, origins="native")
        await loops.start(ring)
        schedules = [loops.OneLink(world, Mood(), n * 1_000_000) for n, world in enumerate(ring.worlds)]
        for schedule in schedules:
            schedule.begin()
            schedule.forgetful = False
        for _ in range(10):
            for schedule in schedules[::2]:  # one of the two links that a cluster is the source of
                for place in schedule.world.partitions:
                    schedule.writers.write(place)
            await asyncio.sleep(0.7)
        await ring.until_quiet()
        return loops.judge({name: site.recorder.look() for name, site in ring.sites.items()}, [PLACE])

    with in_virtual_world(said):
        assert simulate(random, work) == []
