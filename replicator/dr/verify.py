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

from replicator import __version__
from replicator.config.models import LinkConfig, Settings
from replicator.dr.compare import Checkpoint, Comparison, Limits, Record
from replicator.dr.origins import find_skips
from replicator.dr.positions import ledger_positions
from replicator.dr.reader import Partition, Side
from replicator.dr.report import PartitionReport, VerifyReport
from replicator.dr.span import Span
from replicator.dr.throttle import Throttle
from replicator.dr.verify_ranges import Range, plan, within
from replicator.dr.verify_state import VerifyState

_ALIGN_LIMIT = 100_000  # records skipped at most on one side to find the other side's first one
_REPORT_EVERY = 1_000  # records between two calls of `progress`


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a verification is, in source offsets over all partitions."""

    topic: str
    partition: int
    done: int
    total: int


def verify(
    settings: Settings,
    link: LinkConfig,
    *,
    topic: re.Pattern[str] | None = None,
    partition: int | None = None,
    span: Span | None = None,
    rate_bytes: float | None = None,
    state: VerifyState | None = None,
    by: str = "",
    progress: Callable[[Progress], None] | None = None,
    limits: Limits | None = None,
    positions: Mapping[Partition, tuple[int, int]] | None = None,
) -> VerifyReport:
    """Compare what `link` has copied, for all its topics or those that `topic` matches in full, of one partition or
    all, as a whole or within `span` of the source's log.

    Blocking: call it from a thread of its own. Reads at most `rate_bytes` of values a second, of both sides together.
    With a `state` it goes on where an earlier call with the same one stopped. `positions` replaces the ledger's
    `(source_next, target_next)`. Errors: UnreachableError, AuthenticationError, AuthorizationError, WrongStateError if
    a span can't be found on the target; a difference is no error, it is in the report.
    """
    began = time.monotonic()
    started = _now()
    group = f"replicator.{link.name}.verify"
    client_id = f"replicator-{link.name}-verify"
    throttle = Throttle(rate_bytes)
    asked = described(topic, partition, span)
    with (
        Side(
            link.source, settings.clusters[link.source], client_id=client_id, group=group, throttle=throttle
        ) as source,
        Side(
            link.target, settings.clusters[link.target], client_id=client_id, group=group, throttle=throttle
        ) as target,
    ):
        if positions is None:
            positions = ledger_positions(target, link)
        if state is not None:
            started, positions = state.begin(f"link {link.name}: {asked}", started, positions)
        ranges = plan(link, source, target, positions, topic, partition)
        if span:
            ranges = within(settings, link, span, ranges, source)
        if settings.returns(link) or settings.counterpart(link) is not None:
            ranges = _left_out(settings, link, source, target, ranges)
        total = sum(r.source_end - r.source_start for r in ranges)
        done = 0
        reports = []
        for here in ranges:
            known = state.done(here.topic, here.partition) if state is not None else None
            meter = _Meter(progress, here, done, total)
            if known is None:
                known = _compare(here, source, target, link, limits or Limits(), meter, state)
                if state is not None:
                    state.finished(known)
            reports.append(known)
            done += here.source_end - here.source_start
        ids = source.cluster_id(), target.cluster_id()
    return VerifyReport(
        link=link.name,
        source=link.source,
        source_id=ids[0],
        target=link.target,
        target_id=ids[1],
        what=asked,
        by=by,
        version=__version__,
        ok=all(report.ok for report in reports),
        started=started,
        finished=_now(),
        seconds=round(time.monotonic() - began, 3),
        records=sum(report.records for report in reports),
        differences=sum(report.found for report in reports),
        uncopied=sum(report.uncopied for report in reports),
        partitions=tuple(reports),
    )


def described(topic: re.Pattern[str] | None, partition: int | None, span: Span | None) -> str:
    """What is compared, in the words of the command's options."""
    parts = [] if topic is None else [f"--topic {topic.pattern}"]
    parts += [] if partition is None else [f"--partition {partition}"]
    if span is not None:
        parts += [f"{option} {bound}" for option, bound in (("--from", span.first), ("--to", span.end)) if bound]
    return " ".join(parts) or "everything"


def saying(
    say: Callable[[str], None], every_s: float = 5.0, now: Callable[[], float] = time.monotonic
) -> Callable[[Progress], None]:
    """A `progress` that says in words how far it is, now and then."""
    said_at = now()

    def progress(at: Progress) -> None:
        nonlocal said_at
        if now() - said_at >= every_s:
            said_at = now()
            say(f"{at.topic}-{at.partition}: {100 * at.done // max(at.total, 1)} % of {at.total:,} offsets compared")

    return progress


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


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
    here: Range,
    source: Side,
    target: Side,
    link: LinkConfig,
    limits: Limits,
    meter: _Meter,
    state: VerifyState | None,
) -> PartitionReport:
    place, copy = (here.topic, here.partition), (here.target_topic, here.partition)
    open_target = here.target_end is None
    target_end = target.ends([copy])[copy] if here.target_end is None else here.target_end
    begun, since = (here.source_start, here.target_start), None
    if state is not None and (since := state.since(*place, here.source_start, here.target_start)) is not None:
        *begun_at, notes = state.begun_at(*place)
        begun = begun_at[0], begun_at[1]
        ours = source.read(place, since.source_next, here.source_end)
        theirs = target.read(copy, since.target_next, target_end)
    else:
        ours, theirs, skipped = _aligned(here, source, target, target_end, from_start=link.topics.start == "earliest")
        notes = (*here.notes, *skipped)

    def reached(at: Checkpoint) -> None:
        if state is not None:
            state.reached(*place, begun, notes, at)

    compacted = here.compacted
    watched = meter.watch(ours)
    comparison = Comparison(
        watched, theirs, limits=limits, compacted=compacted, open_target=open_target, since=since, reached=reached
    )
    counts = comparison.run()
    return PartitionReport(
        topic=here.topic,
        partition=here.partition,
        target_topic=here.target_topic,
        source_start=begun[0],
        source_end=here.source_end,
        target_start=begun[1],
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
        notes=notes,
        source_checksum=counts.source_checksum,
        target_checksum=counts.target_checksum,
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
            why = "they are older than what was asked for" if here.within else "the source has deleted its own"
            note = f"target records before offset {found[0].offset} not compared: {why}"
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
