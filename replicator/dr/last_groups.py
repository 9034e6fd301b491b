"""Consumer groups' positions for the last time: from what the source's were when they were read last.

While records are copied, positions at the head of a partition stand where the copy ends, and follow it. When copying
has ended, what the ledger knows of them is brought up to that end once more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from replicator.config.models import LinkConfig, Settings
from replicator.errors import ReplicatorError
from replicator.ledger.group_state import Mark
from replicator.ledger.offset_map import MapCache
from replicator.sync.group_client import GroupClient
from replicator.sync.link_map import LinkMap
from replicator.wire.cluster import ClusterClient
from replicator.wire.kafka_errors import NONE, error_name

Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Settled:
    """`moved` positions of `groups` groups; `left`: groups that were left alone, and why."""

    groups: int
    moved: int
    left: Mapping[str, str]


async def settle_groups(settings: Settings, link: LinkConfig, topics: set[str]) -> Settled:
    """Bring the target's positions in the copies of these source topics up to what is copied. Only of groups without
    members, and only where the position is still the one that this link wrote. ReplicatorError if the target doesn't
    answer. Harmless to repeat."""
    target = ClusterClient(link.target, settings.clusters[link.target], f"replicator-{link.name}-last-groups")
    try:
        await target.all_topics()
        return await _settle(link, target, topics)
    finally:
        await target.close()


async def _settle(link: LinkConfig, target: ClusterClient, topics: set[str]) -> Settled:
    maps, client = LinkMap(link.name, target, MapCache()), GroupClient(target)
    await maps.refresh()
    if not maps.exists:
        return Settled(0, 0, {})
    wanted = await _wanted(maps, topics)
    listed, positions = await asyncio.gather(client.groups(), client.positions(wanted))
    left: dict[str, str] = {}
    moved = groups = 0
    for group, marks in wanted.items():
        there = listed.get(group)
        if there is not None and not there.empty:
            left[group] = f"it has members on cluster {link.target}"
            continue
        held = positions[group].committed
        due = {
            at: (offset, held[at].metadata)
            for at, (offset, mark) in marks.items()
            if at in held and held[at].offset != offset and mark.owns(held[at].offset)
        }
        if not due:
            continue
        try:
            refused = [code for code in (await client.commit(group, due)).values() if code != NONE]
        except ReplicatorError as error:
            left[group] = str(error)
            continue
        if refused:
            left[group] = error_name(refused[0])
        groups, moved = groups + 1, moved + len(due) - len(refused)
    return Settled(groups, moved, left)


async def _wanted(maps: LinkMap, topics: set[str]) -> dict[str, dict[Key, tuple[int, Mark]]]:
    """Group -> target partition -> where it belongs now, and what is known of it; of positions that weren't final."""
    sources = {target: source for source, target in maps.topics.items() if source in topics}
    wanted: dict[str, dict[Key, tuple[int, Mark]]] = {}
    open_marks = [
        (group, topic, partition, mark)
        for (group, topic), state in maps.groups.items()
        if topic in sources
        for partition, mark in state.marks.items()
        if not mark.final
    ]
    while open_marks:
        later = []
        for group, topic, partition, mark in open_marks:
            known = maps.known((sources[topic], partition))
            if known is None:
                continue
            located = maps.locate(known, mark.source)
            if located is None:
                later.append((group, topic, partition, mark))
            elif not isinstance(located, str):
                wanted.setdefault(group, {})[topic, partition] = located.offset, mark
        if later and not await maps.load():
            break  # their maps can't be read: the positions stay where they are, behind what is copied
        open_marks = later
    return wanted
