"""`replicator verify`: read both sides of a link through an independent client and compare every record.

What is compared, per partition: from the start of both logs up to the position that the ledger had when the call
began; without a ledger, up to the ends that both sides then had. What is newer is lag, reported as `uncopied`. Where
names are kept in both directions, only what the link itself copies is (`origins`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain

from replicator.config.models import LinkConfig, Settings
from replicator.dr.compare import Comparison, Limits, Record
from replicator.dr.origins import find_skips
from replicator.dr.positions import ledger_positions
from replicator.dr.reader import Partition, Side
from replicator.dr.report import PartitionReport, VerifyReport

_ALIGN_LIMIT = 100_000  # records skipped at most on one side to find the other side's first one
_REPORT_EVERY = 1_000  # records between two calls of `progress`


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a verification is, in source offsets over all partitions."""

    topic: str
    partition: int
    done: int
    total: int


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
    notes: tuple[str, ...] = ()


def verify(
    settings: Settings,
    link: LinkConfig,
    *,
    topic: re.Pattern[str] | None = None,
    progress: Callable[[Progress], None] | None = None,
    limits: Limits | None = None,
    positions: Mapping[Partition, tuple[int, int]] | None = None,
) -> VerifyReport:
    """Compare what `link` has copied, for all its topics or those that `topic` matches in full.

    Blocking: call it from a thread of its own. `positions` replaces the ledger's `(source_next, target_next)`.
    Errors: UnreachableError, AuthenticationError, AuthorizationError; a difference is no error, it is in the report.
    """
    began = time.monotonic()
    started = datetime.now(UTC)
    group = f"replicator.{link.name}.verify"
    source_cluster, target_cluster = settings.clusters[link.source], settings.clusters[link.target]
    client_id = f"replicator-{link.name}-verify"
    with (
        Side(link.source, source_cluster, client_id=client_id, group=group) as source,
        Side(link.target, target_cluster, client_id=client_id, group=group) as target,
    ):
        if positions is None:
            positions = ledger_positions(target, link)
        ranges = plan(link, source, target, positions, topic)
        if settings.returns(link) or settings.counterpart(link) is not None:
            ranges = _left_out(settings, link, source, target, ranges)
        total = sum(r.source_end - r.source_start for r in ranges)
        done = 0
        reports = []
        for here in ranges:
            reports.append(
                _compare(here, source, target, link, limits or Limits(), _Meter(progress, here, done, total))
            )
            done += here.source_end - here.source_start
    return VerifyReport(
        link=link.name,
        ok=all(report.ok for report in reports),
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - began, 3),
        records=sum(report.records for report in reports),
        differences=sum(report.found for report in reports),
        uncopied=sum(report.uncopied for report in reports),
        partitions=tuple(reports),
    )


def plan(
    link: LinkConfig,
    source: Side,
    target: Side,
    positions: Mapping[Partition, tuple[int, int]] | None,
    topic: re.Pattern[str] | None,
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
    places = [(name, number) for name in names for number in range(sizes[name])]
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


def _left_out(settings: Settings, link: LinkConfig, source: Side, target: Side, ranges: list[Range]) -> list[Range]:
    """Names are kept in both directions: have what isn't this link's passed over. The ranges, with a note each."""
    copies = [(here.target_topic, here.partition) for here in ranges if here.target_end != 0]
    ends = target.ends(copies)
    source.left_out, target.left_out = find_skips(
        settings,
        link,
        [((here.topic, here.partition), here.source_start, here.source_end) for here in ranges],
        [
            (copy, here.target_start, here.target_end if here.target_end is not None else ends[copy])
            for here in ranges
            if (copy := (here.target_topic, here.partition)) in ends
        ],
    )
    note = "names are kept in both directions: compared is what this link copies, by the batches' producer ids"
    return [replace(here, notes=(*here.notes, note)) for here in ranges]


class _Meter:
    """Calls `progress` now and then while the source's records go by."""

    def __init__(self, progress: Callable[[Progress], None] | None, here: Range, done: int, total: int) -> None:
        self._progress = progress
        self._here = here
        self._done = done
        self._total = total

    def watch(self, records: Iterator[Record]) -> Iterator[Record]:
        """`records`, unchanged."""
        if self._progress is None:
            yield from records
            return
        for count, record in enumerate(records):
            if count % _REPORT_EVERY == 0:
                self._say(record.offset)
            yield record
        self._say(self._here.source_end)

    def _say(self, offset: int) -> None:
        if self._progress is not None:
            done = self._done + offset - self._here.source_start
            self._progress(Progress(self._here.topic, self._here.partition, done, self._total))


def _compare(
    here: Range, source: Side, target: Side, link: LinkConfig, limits: Limits, meter: _Meter
) -> PartitionReport:
    copy = (here.target_topic, here.partition)
    open_target = here.target_end is None
    target_end = target.ends([copy])[copy] if here.target_end is None else here.target_end
    ours, theirs, skipped = _aligned(here, source, target, target_end, from_start=link.topics.start == "earliest")
    comparison = Comparison(meter.watch(ours), theirs, limits=limits, compacted=here.compacted, open_target=open_target)
    counts = comparison.run()
    return PartitionReport(
        topic=here.topic,
        partition=here.partition,
        target_topic=here.target_topic,
        source_start=here.source_start,
        source_end=here.source_end,
        target_start=here.target_start,
        target_end=target_end,
        uncopied=here.uncopied,
        records=counts.records,
        missing=counts.missing,
        unexpected=counts.unexpected,
        duplicates=counts.duplicates,
        reordered=counts.reordered,
        changed=counts.changed,
        compacted=counts.compacted,
        differences=tuple(counts.differences),
        notes=(*here.notes, *skipped),
        complete=counts.complete,
    )


def _aligned(
    here: Range, source: Side, target: Side, target_end: int, *, from_start: bool
) -> tuple[Iterator[Record], Iterator[Record], list[str]]:
    """Both streams from the first record that they share, where one of the logs begins later for a good reason.

    The source may have deleted old records since they were copied; then the target's older ones are left out. The
    target may have begun later (`start`) or deleted old records; then the source's older ones are.
    """
    place, copy = (here.topic, here.partition), (here.target_topic, here.partition)
    ours = source.read(place, here.source_start, here.source_end)
    theirs = target.read(copy, here.target_start, target_end)
    whole = here.source_start == 0 and here.target_start == 0 and from_start
    if whole or here.compacted or here.source_start >= here.source_end or here.target_start >= target_end:
        return ours, theirs, []
    first, copied = next(ours, None), next(theirs, None)
    if first is None or copied is None or first.same_as(copied):
        return _again(first, ours), _again(copied, theirs), []
    if here.source_start > 0:
        found = _skip_to(first, target, copy, here.target_start, target_end)
        if found is not None:
            note = f"target records before offset {found[0].offset} not compared: the source has deleted its own"
            return _again(first, ours), _again(*found), [note]
        theirs = target.read(copy, here.target_start, target_end)
        copied = next(theirs, None)
    if copied is not None and (here.target_start > 0 or not from_start):
        found = _skip_to(copied, source, place, here.source_start, here.source_end)
        if found is not None:
            why = "the target has deleted its own" if from_start else "the link doesn't start at the earliest one"
            note = f"source records before offset {found[0].offset} not compared: {why}"
            return _again(*found), _again(copied, theirs), [note]
    ours = source.read(place, here.source_start, here.source_end)
    theirs = target.read(copy, here.target_start, target_end)
    return ours, theirs, ["no common first record found: compared from the start of both logs"]


def _skip_to(
    wanted: Record, side: Side, partition: Partition, start: int, end: int
) -> tuple[Record, Iterator[Record]] | None:
    """The first record equal to `wanted`, and those behind it; looked for from its timestamp on, within a limit."""
    if wanted.timestamp_ms >= 0:
        start = max(start, side.at_time(partition, wanted.timestamp_ms))
    records = side.read(partition, start, end)
    for count, record in enumerate(records):
        if record.same_as(wanted):
            return record, records
        if count >= _ALIGN_LIMIT:
            break
    return None


def _again(first: Record | None, rest: Iterator[Record]) -> Iterator[Record]:
    return rest if first is None else chain((first,), rest)
