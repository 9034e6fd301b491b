"""Which offsets of both sides `verify` compares: by the ledger's positions, and, of a part, by the offset map."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from replicator.config.librdkafka import client_properties
from replicator.config.models import LinkConfig, Settings
from replicator.dr.reader import Partition, Side
from replicator.dr.span import Bound, Span
from replicator.errors import WrongStateError
from replicator.ledger.entry import Entry
from replicator.ledger.map_reader import MapReader
from replicator.ledger.offset_map import OffsetMap
from replicator.ledger.translation import Located, locate


@dataclass(frozen=True, slots=True)
class Range:
    """What of one partition is compared: half-open offset ranges; `target_end` None: as far as the source's records."""

    topic: str
    partition: int
    target_topic: str
    source_start: int
    source_end: int
    target_start: int
    target_end: int | None
    uncopied: int = 0
    compacted: bool = False
    within: bool = False  # a part of what there is
    notes: tuple[str, ...] = ()


def plan(
    link: LinkConfig,
    source: Side,
    target: Side,
    positions: Mapping[Partition, tuple[int, int]] | None,
    topic: re.Pattern[str] | None,
    partition: int | None = None,
) -> list[Range]:
    """The ranges to compare. `positions` None: the link has no ledger."""
    sizes, target_sizes = source.partitions(), target.partitions()
    known = {name for name, _ in positions or {}}
    names = sorted(
        name
        for name in sizes
        if (name in known or (link.selects(name) and not name.startswith("__")))
        and (topic is None or topic.fullmatch(name))
    )
    places = [(name, number) for name in names for number in range(sizes[name]) if partition in (None, number)]
    copies = [(link.remote_topic(name), number) for name, number in places]
    copies = [(name, number) for name, number in copies if number < target_sizes.get(name, 0)]
    starts, ends = source.starts(places), source.ends(places)
    target_starts, target_ends = target.starts(copies), target.ends(copies)
    copies_compacted = target.compacted({name for name, _ in copies})
    compacted = source.compacted(names) | {name for name in names if link.remote_topic(name) in copies_compacted}
    ranges = []
    for place in places:
        copy = (link.remote_topic(place[0]), place[1])
        end, target_end, notes = ends[place], target_ends.get(copy), []
        if target_end is None:
            notes.append(f"{copy[0]}-{copy[1]} doesn't exist on {target.alias}")
        if positions is None:
            notes.append("the link has no ledger: compared up to the ends of both logs")
        else:
            source_next, target_next = positions.get(place, (-1, -1))
            if source_next < 0:
                notes.append("not copied yet")
            if source_next > end:
                notes.append(f"the ledger is at {source_next}, but the source ends at {end}: it was truncated")
            end = min(end, max(source_next, starts[place]))
            if target_end is not None and target_next > target_end:
                notes.append(f"the ledger is at {target_next}, but the target ends at {target_end}: it was truncated")
            if target_end is not None:
                target_end = min(target_next, target_end) if target_next >= 0 else None
        missing_topic = copy not in target_ends
        ranges.append(
            Range(
                topic=place[0],
                partition=place[1],
                target_topic=copy[0],
                source_start=starts[place],
                source_end=max(end, starts[place]),
                target_start=target_starts.get(copy, 0),
                target_end=0 if missing_topic else target_end,
                uncopied=ends[place] - max(end, starts[place]),
                compacted=place[0] in compacted,
                notes=tuple(notes),
            )
        )
    return ranges


def within(settings: Settings, link: LinkConfig, span: Span, ranges: list[Range], source: Side) -> list[Range]:
    """The part of each range that lies within `span`; where that is on the target, the offset map says.

    WrongStateError where it doesn't. Where the map is thinned the exact place is found by content.
    """
    properties = client_properties(settings.clusters[link.target], client_id=f"replicator-{link.name}-verify")
    reader = MapReader(properties, link.name, cluster=link.target)
    try:
        return [_part(link, span, here, source, reader) for here in ranges]
    finally:
        reader.close()


def _part(link: LinkConfig, span: Span, here: Range, source: Side, reader: MapReader) -> Range:
    log_end = here.source_end + here.uncopied
    first = _offset(span.first, here, source, here.source_start, log_end)
    last = _offset(span.end, here, source, log_end, log_end)
    start = min(max(first, here.source_start), here.source_end)
    end = max(start, min(last, here.source_end))
    uncopied = max(0, min(last, log_end) - max(end, first))
    whole_start, whole_end = start == here.source_start, end == here.source_end
    here = replace(here, source_start=start, source_end=end, uncopied=uncopied, within=True)
    if start == end:
        return replace(here, target_end=here.target_start)
    if here.target_end == 0:
        return here
    loaded = reader.load(here.topic, here.partition)
    if loaded is None:
        raise WrongStateError(f"link {link.name}: nothing is known of {here.topic}-{here.partition}: compare it whole")
    at, until = (_on_target(link, *loaded, offset) for offset in (start, end))
    target_end = here.target_end
    if not whole_end:
        target_end = None if until.error_bound else until.offset
    return replace(here, target_start=max(here.target_start, 0 if whole_start else at.offset), target_end=target_end)


def _on_target(link: LinkConfig, entry: Entry, known: OffsetMap, offset: int) -> Located:
    found = locate(entry, known, offset)
    if isinstance(found, str):
        raise WrongStateError(f"link {link.name}: {found}: compare it whole")
    return found


def _offset(bound: Bound | None, here: Range, source: Side, otherwise: int, log_end: int) -> int:
    if bound is None:
        return otherwise
    if bound.offset >= 0:
        return bound.offset
    found = source.at_time((here.topic, here.partition), bound.time_ms)
    return found if found >= 0 else log_end
