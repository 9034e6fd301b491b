"""The offset map from outside: random positions, both ways, against what an independent reader finds in both logs."""

from __future__ import annotations

import bisect
import json
import random
from collections.abc import Mapping, Sequence

from replicator.ledger.map_reader import MapReader
from tests.e2e.scenario import Scenario
from tests.support.checker import Seen, read_partition

BY_COMMAND = 2  # of each direction: how many of the positions the command line is asked for too


def judge_positions(scenario: Scenario, alias: str, rng: random.Random, points: int = 1000) -> None:
    """Translate `points` random positions each way; AssertionError unless each answer is exact."""
    source, target, link = scenario.source, scenario.target, scenario.links[alias]
    places = [(topic, partition) for topic, count in scenario.corpus.topics.items() for partition in range(count)]
    share = -(-points // len(places))
    reader = MapReader(dict(target.client_config), link, cluster="eu")
    compared, runs = {False: 0, True: 0}, 0
    asked = {rng.randrange(len(places)) for _ in range(BY_COMMAND)}
    try:
        for index, (topic, partition) in enumerate(places):
            pairs = record_pairs(
                read_partition(source.client_config, topic, partition),
                read_partition(target.client_config, f"{alias}.{topic}", partition),
            )
            loaded = reader.load(topic, partition)
            assert loaded is not None, f"{topic}-{partition} has no entry"
            _, known = loaded
            assert known.exact, f"{topic}-{partition}: the map says it isn't exact"
            runs += len(known)
            for reverse in (False, True):
                truth = {there: here for here, there in pairs.items()} if reverse else pairs
                only = sorted(truth)
                # Where the source was compacted, what was between its records may have been copied before it went.
                choice: Sequence[int] = only if "compacted" in topic else range(only[-1] + 2)
                for offset in (rng.choice(choice) for _ in range(share)):
                    expected = at_or_after(truth, only, offset)
                    found = known.to_source(offset) if reverse else known.to_target(offset)
                    where = f"{alias}.{topic}-{partition}, {'target' if reverse else 'source'} offset {offset}"
                    assert found == expected, f"{where}: translated to {found}, is at {expected}"
                    compared[reverse] += 1
                if index in asked:
                    _ask_command(scenario, alias, topic, partition, rng.choice(only[:-1]), truth, reverse=reverse)
    finally:
        reader.close()
    print(f"{alias}: {compared[False]} positions to the target, {compared[True]} back, {runs} runs: all exact")
    assert min(compared.values()) >= points


def record_pairs(source: Sequence[Seen], target: Sequence[Seen]) -> dict[int, int]:
    """Source offset -> target offset of the same record, both logs in the same order and the target's complete."""
    there = {record.content(): record.offset for record in target}
    pairs = {record.offset: there[record.content()] for record in source if record.content() in there}
    assert len(pairs) > 20, f"{len(pairs)} records only"
    assert sorted(pairs.values()) == list(pairs.values())
    return pairs


def at_or_after(truth: Mapping[int, int], ascending: Sequence[int], offset: int) -> int | None:
    """Where the first record at or after `offset` is on the other side; None behind the last one."""
    at = bisect.bisect_left(ascending, offset)
    return truth[ascending[at]] if at < len(ascending) else None


def _ask_command(
    scenario: Scenario, alias: str, topic: str, partition: int, offset: int, truth: Mapping[int, int], *, reverse: bool
) -> None:
    position = f"{alias}.{topic}:{partition}:{offset}" if reverse else f"{topic}:{partition}:{offset}"
    more = ("--reverse",) if reverse else ()
    done = scenario.installation.run("translate", position, *more, "--link", scenario.links[alias], "-o", "json")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["links"]
    assert (found["exact"], found["to"]["offset"]) == (True, truth[offset]), f"{position}: {found}"
