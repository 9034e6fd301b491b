"""Consumer groups' positions for the last time: as the source has them, or had them when they were read last.

While records are copied, positions at the head of a partition stand where the copy ends, and follow it. When copying
has ended, what the ledger knows of them is brought up to that end once more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from replicator.config.models import LinkConfig, Settings
from replicator.dr.standing_groups import groups_of
from replicator.errors import ReplicatorError
from replicator.ledger.group_state import Mark
from replicator.ledger.offset_map import MapCache
from replicator.ledger.translation import BEFORE
from replicator.sync.group_client import GroupClient
from replicator.sync.link_map import LinkMap
from replicator.sync.positions import Positions, Translated
from replicator.wire.cluster import ClusterClient
from replicator.wire.kafka_errors import NONE, error_name

Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Settled:
    """`moved` positions of `groups` groups; `left`: groups that were left alone, and why."""

    groups: int
    moved: int
    left: Mapping[str, str]


async def settle_groups(settings: Settings, link: LinkConfig, topics: set[str], *, ask_source: bool = False) -> Settled:
    """Bring the target's positions in the copies of these source topics up to what is copied. Only of groups without
    members, and only where the position is still the one that this link wrote. Harmless to repeat.

    ReplicatorError if the target doesn't answer; or the source, with `ask_source`.
    """
    client_id = f"replicator-{link.name}-last-groups"
    target = ClusterClient(link.target, settings.clusters[link.target], client_id)
    source = ClusterClient(link.source, settings.clusters[link.source], client_id)
    try:
        await target.all_topics()
        now = await groups_of(link, source, topics) if ask_source else None
        return await _settle(settings, link, source, target, topics, now)
    finally:
        await target.close()
        await source.close()


async def _settle(
    settings: Settings,
    link: LinkConfig,
    source: ClusterClient,
    target: ClusterClient,
    topics: set[str],
    now: Mapping[str, Mapping[Key, int]] | None,
) -> Settled:
    client = GroupClient(target)
    if now is None:
        maps = LinkMap(link.name, target, MapCache())
        await maps.refresh()
        if not maps.exists:
            return Settled(0, 0, {})
        wanted = await _wanted(maps, _open_marks(maps, topics), mixed=settings.mixes(link))
    else:
        positions_of = Positions(settings, link, source, target)
        await positions_of.refresh()
        if not positions_of.exists:
            return Settled(0, 0, {})
        wanted = await _wanted_now(positions_of, now)
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
            at: (offset, held[at].metadata if at in held else "")
            for at, (offset, mark) in marks.items()
            if _may_write(held[at].offset if at in held else None, offset, mark)
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


@dataclass(frozen=True, slots=True)
class _Position:
    """Of a group on the source, in `topic`, whose copy is `copy`; `mark` is what the ledger knows of it."""

    group: str
    topic: str
    copy: str
    partition: int
    offset: int
    mark: Mark | None


def _open_marks(maps: LinkMap, topics: set[str]) -> list[_Position]:
    """Those that the ledger knows, and that could still be brought further."""
    sources = {target: source for source, target in maps.topics.items() if source in topics}
    return [
        _Position(group, sources[copy], copy, partition, mark.source, mark)
        for (group, copy), state in maps.groups.items()
        if copy in sources
        for partition, mark in state.marks.items()
        if not mark.final
    ]


async def _wanted_now(
    positions: Positions, now: Mapping[str, Mapping[Key, int]]
) -> dict[str, dict[Key, tuple[int, Mark | None]]]:
    """As `_wanted`, of what the source has now; what the other direction has brought counts as well."""
    wanted: dict[str, dict[Key, tuple[int, Mark | None]]] = {}
    left = [(group, *at, offset) for group, held in now.items() for at, offset in held.items()]
    while left:
        later = []
        for group, topic, partition, offset in left:
            found = positions.translate(topic, partition, offset)
            if found is None:
                later.append((group, topic, partition, offset))
                continue
            for at, translation in found.items():
                if isinstance(translation, Translated):
                    state = positions.groups.get((group, at[0]))
                    mark = None if state is None else state.marks.get(at[1])
                    wanted.setdefault(group, {})[at] = translation.offset, mark
        if later and not await positions.load():
            break  # their maps can't be read: the positions stay where they are, behind what is copied
        left = later
    return wanted


async def _wanted(
    maps: LinkMap, positions: list[_Position], *, mixed: bool
) -> dict[str, dict[Key, tuple[int, Mark | None]]]:
    """Group -> target partition -> where it belongs now, and what is known of it. Where the other direction copied as
    well (`mixed`), what lies before all that this one copied is for that one to say."""
    wanted: dict[str, dict[Key, tuple[int, Mark | None]]] = {}
    while positions:
        later = []
        for at in positions:
            known = maps.known((at.topic, at.partition))
            if known is None:
                continue
            located = maps.locate(known, at.offset)
            if located is None:
                later.append(at)
            elif not isinstance(located, str) and not (mixed and located.where == BEFORE):
                wanted.setdefault(at.group, {})[at.copy, at.partition] = located.offset, at.mark
        if later and not await maps.load():
            break  # their maps can't be read: the positions stay where they are, behind what is copied
        positions = later
    return wanted


def _may_write(held: int | None, wanted: int, mark: Mark | None) -> bool:
    """Nothing is there, or what this link wrote."""
    if held is None:
        return mark is None
    return held != wanted and mark is not None and mark.owns(held)
