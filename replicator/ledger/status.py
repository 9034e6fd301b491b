"""What a link is doing, read straight from Kafka: no worker needs to run, or to answer.

The ledger says what was copied, the source says where its partitions end, the group says who the workers are. When the
source can't be reached the rest is still told: in a disaster this is what the operator needs most.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from replicator.config.models import LinkConfig, Settings
from replicator.errors import ReplicatorError, UnreachableError
from replicator.ledger.beside import Beside
from replicator.ledger.cluster_side import REQUEST_TIMEOUT_S, ClusterSide, Key, SeenTopic
from replicator.ledger.desired import HOLDING, Desired, DesiredStates
from replicator.ledger.drills import DrillRecords
from replicator.ledger.entry import Entry, Gap
from replicator.ledger.identity import explain, identify
from replicator.ledger.lane_trouble import FRESH_MS, LaneTrouble
from replicator.ledger.lanes import control_topic, group_id, lane_of, ledger_topic
from replicator.ledger.reader import CONTROL, LedgerReader
from replicator.ledger.selection import Selection, TopicProblem, select
from replicator.ledger.sighting import Sighting
from replicator.ledger.sync_report import SyncReport
from replicator.ledger.topic_problem import StoredProblem
from replicator.states import Reason, State, Way

_UNKNOWN_OFFSET = -1


class _Shown(BaseModel):
    model_config = ConfigDict(frozen=True)


class GapStatus(_Shown):
    """Data that is missing for good, and that somebody chose to go on without (`ledger.entry.Gap`)."""

    reason: str
    source_from: int
    source_to: int  # exclusive
    target_from: int
    target_to: int  # exclusive
    at: str  # ISO 8601, UTC
    by: str


class PartitionStatus(_Shown):
    """One source partition. Offsets are -1, and lags None, where they aren't known."""

    topic: str
    partition: int
    state: str
    reason: str | None
    since: str | None  # ISO 8601, UTC; None before the partition has an entry
    source_end: int  # last stable offset: what a read_committed consumer could read up to
    source_next: int
    target_next: int
    lag: int | None  # records, counted in offsets
    lag_ms: int | None  # age of the first record that isn't copied yet
    detail: str = ""
    next_step: str = ""
    gaps: tuple[GapStatus, ...] = ()
    settled: bool = False  # the copy holds nothing of this partition that these positions don't know, and never will
    lane: int = -1  # its share of the link's work: the worker that has the lane copies it
    confirmed: bool = True  # False: operators want this state, and no worker has recorded it yet


class WorkerStatus(_Shown):
    """A worker that is a member of the link's group, and its lanes."""

    member_id: str
    client_id: str
    host: str
    lanes: tuple[int, ...]


class HeldStatus(_Shown):
    """Something beside the records that isn't kept in step, and why (`replicator.sync.plan.Why`)."""

    kind: str
    resource: str
    why: str
    detail: str


class SyncStatus(_Shown):
    """What one syncer last found out of step and couldn't change; `held` may be shorter than `count`. `error`: why it
    couldn't look at all."""

    syncer: str
    since: str  # ISO 8601, UTC: when this was found first
    count: int
    held: tuple[HeldStatus, ...]
    error: str = ""


class DrillStatus(_Shown):
    """The link's last drill (`ledger.drills.DrillResult`)."""

    at: str  # ISO 8601, UTC
    mode: str
    ok: bool
    rto_ms: int | None
    rpo_records: int | None
    rpo_ms: int | None
    failed_at: str = ""
    error: str = ""
    last_success: str | None = None


class LinkStatus(_Shown):
    """One link. `source_error` says why offsets of the source are missing, if they are."""

    name: str
    source: str
    target: str
    workers: tuple[WorkerStatus, ...]
    partitions: tuple[PartitionStatus, ...]
    bandwidth: int | None = None  # bytes a second, over all workers, as the configuration says
    source_error: str | None = None
    source_seen: str | None = None  # while it can't be reached: when workers heard of it last; offsets are as of then
    syncs: tuple[SyncStatus, ...] = ()  # those that have something to say
    drill: DrillStatus | None = None


async def read_status(settings: Settings, link: LinkConfig, *, timeout_s: float = REQUEST_TIMEOUT_S) -> LinkStatus:
    """The link's status as of now. Writes nothing. Raises ReplicatorError when the target can't be read.

    A cluster is given up when it doesn't answer a request within `timeout_s`. A way back whose target is gone is no
    reason not to tell of the others: then its status says that alone (`source_error`).
    """
    try:
        return await asyncio.to_thread(read_status_blocking, settings, link, timeout_s=timeout_s)
    except UnreachableError as error:
        if link.reverse_of is None:
            raise
        text = f"the way back of link {link.reverse_of} can't be looked at: {error}"
        return LinkStatus(
            name=link.name, source=link.source, target=link.target, workers=(), partitions=(), source_error=text
        )


def read_status_blocking(
    settings: Settings, link: LinkConfig, *, timeout_s: float = REQUEST_TIMEOUT_S, ask_source: bool = True
) -> LinkStatus:
    """`read_status` for code without an event loop. Without `ask_source` all is as workers saw the source last."""
    client_id = f"replicator-{link.name}-status"
    at_source = Beside(lambda: _source_topics(settings, link, client_id, timeout_s, ask_source))
    target = ClusterSide(settings.clusters[link.target], link.target, client_id, timeout_s)
    target_topics = target.topics()
    members = target.members(group_id(link.name))
    ledger = _read_ledger(target, link, target_topics)
    problems, troubles, desired = ledger.problems, ledger.troubles, ledger.desired
    source_error: str | None = None
    ends: dict[Key, int] = {}
    wanted: set[str] = set()
    selection = Selection()
    source_topics: dict[str, SeenTopic] = {}
    try:
        source, source_topics = at_source.result()
        selection = select(link, {name: topic.internal for name, topic in source_topics.items()}, target_topics)
        wanted = selection.remote_names.keys() | selection.problems.keys()
        ends = source.ends((name, p) for name in wanted for p in range(source_topics[name].partitions))
    except ReplicatorError as error:
        source_error = str(error)
        ends = ledger.last_ends()
    shown = {
        at: entry if source_error else _as_found(entry, link, source_topics, target_topics)
        for at, entry in ledger.entries.items()
        if link.selects(entry.topic)
        and not _left_over(entry, source_topics)
        and (source_error or not _deleted_with_its_copy(entry, link, source_topics, target_topics))
    }
    recorded = shown
    lanes = ledger.lanes
    shown = {at: _with_desired(entry, desired.of(entry.topic)) for at, entry in shown.items()}
    shown = {at: _with_trouble(entry, troubles.get(lanes[at])) for at, entry in shown.items()}
    behind = [(at, entry.source_next) for at, entry in shown.items() if ends.get(at, -1) > entry.source_next >= 0]
    now_ms = int(time.time() * 1000)
    next_times = source.times(behind) if behind and source_error is None else {}
    partitions = [
        _known(
            entry,
            ends.get(at),
            next_times.get(at),
            now_ms,
            lane=lanes[at],
            confirmed=_is_recorded(entry, recorded[at]),
        )
        for at, entry in shown.items()
    ]
    partitions += [
        _without_entry(
            name,
            p,
            problems.get(name)
            or _unstored(selection.problems.get(name))
            or _of_lane(troubles.get(lane_of(name, p, link.lanes))),
            ends.get((name, p)),
            desired.of(name),
            lane_of(name, p, link.lanes),
        )
        for name in wanted
        for p in range(source_topics[name].partitions)
        if (name, p) not in shown
    ]
    return LinkStatus(
        name=link.name,
        source=link.source,
        target=link.target,
        workers=tuple(
            WorkerStatus(
                member_id=member.member_id, client_id=member.client_id, host=member.host, lanes=member.partitions
            )
            for member in members
        ),
        partitions=tuple(sorted(partitions, key=lambda at: (at.topic, at.partition))),
        bandwidth=link.bandwidth,
        source_error=source_error,
        source_seen=None if source_error is None else ledger.source_seen,
        syncs=ledger.syncs,
        drill=_drill(ledger.drills),
    )


def _source_topics(
    settings: Settings, link: LinkConfig, client_id: str, timeout_s: float, ask_source: bool
) -> tuple[ClusterSide, dict[str, SeenTopic]]:
    """The source, and its topics."""
    if not ask_source:
        raise UnreachableError(f"cluster {link.source} wasn't asked")
    source = ClusterSide(settings.clusters[link.source], link.source, client_id, timeout_s)
    return source, source.topics()


def _left_over(entry: Entry, source_topics: Mapping[str, SeenTopic]) -> bool:
    """Whether the topic doesn't have the partition any more, since it was made anew with fewer."""
    topic = source_topics.get(entry.topic)
    return topic is not None and entry.partition >= topic.partitions


def _deleted_with_its_copy(
    entry: Entry, link: LinkConfig, source_topics: Mapping[str, SeenTopic], target_topics: Mapping[str, SeenTopic]
) -> bool:
    """Whether nothing is left of the topic, as the link is to have it."""
    return link.delete_topics and entry.topic not in source_topics and entry.target_topic not in target_topics


def _as_found(
    entry: Entry, link: LinkConfig, source_topics: Mapping[str, SeenTopic], target_topics: Mapping[str, SeenTopic]
) -> Entry:
    """The entry, or its fault if its topics are gone or were made anew: no worker need have noticed yet."""
    source, target = source_topics.get(entry.topic), target_topics.get(entry.target_topic)
    source_id = None if source is None else source.topic_id
    target_id = None if target is None else target.topic_id
    reason = identify(entry, source_id, target_id).reason
    if reason is None or entry.state is State.FAULTED:
        return entry
    detail = explain(entry, reason, source_id, target_id, source=link.source, target=link.target)
    return replace(entry, state=State.FAULTED, reason=reason, detail=detail)


@dataclass(frozen=True, slots=True)
class _Ledger:
    """What the link's own topics say: entries and the lanes that have them, problems by topic, troubles and sightings
    by lane, what the syncers say, and what operators want."""

    entries: dict[Key, Entry] = field(default_factory=dict)
    lanes: dict[Key, int] = field(default_factory=dict)
    problems: dict[str, StoredProblem] = field(default_factory=dict)
    troubles: dict[int, LaneTrouble] = field(default_factory=dict)
    syncs: tuple[SyncStatus, ...] = ()
    desired: DesiredStates = field(default_factory=DesiredStates)
    sightings: dict[int, Sighting] = field(default_factory=dict)
    drills: DrillRecords = field(default_factory=DrillRecords)

    @property
    def source_seen(self) -> str | None:
        """When a worker heard of the source last; None if that isn't known."""
        return _iso(max(each.at_ms for each in self.sightings.values())) if self.sightings else None

    def last_ends(self) -> dict[Key, int]:
        """Where the source's partitions ended then. What a sighting doesn't name was copied to its end."""
        ends = {at: entry.source_next for at, entry in self.entries.items() if self.lanes[at] in self.sightings}
        for sighting in self.sightings.values():
            ends |= {at: max(end, ends.get(at, end)) for at, end in sighting.ends.items() if at in self.entries}
        return ends


def _read_ledger(target: ClusterSide, link: LinkConfig, target_topics: Mapping[str, SeenTopic]) -> _Ledger:
    """All that the link's own topics say."""
    name, control = ledger_topic(link.name), control_topic(link.name)
    if name not in target_topics:
        return _Ledger(desired=DesiredStates.of_link(link))
    lanes = target_topics[name].partitions
    wanted = [*((name, lane) for lane in range(lanes)), *([(control, 0)] if control in target_topics else [])]
    ends = {lane if topic == name else CONTROL: end for (topic, lane), end in target.ends(wanted).items()}
    desired = DesiredStates.of_link(link)
    reader = LedgerReader(
        target.properties, link.name, lanes, cluster=link.target, control=CONTROL in ends, desired=desired
    )
    try:
        entries = reader.read(ends)
    finally:
        reader.close()
    now_ms = int(time.time() * 1000)
    leaderless = [lane for lane in range(lanes) if lane not in ends]
    troubles = {lane: trouble for lane, trouble in reader.troubles.items() if now_ms - trouble.seen_ms < FRESH_MS}
    for lane in leaderless:
        detail = f"Lane {lane} of the link: {name}-{lane} of cluster {link.target} has no leader, or it doesn't answer."
        troubles.setdefault(lane, LaneTrouble(lane, Reason.TARGET_UNREACHABLE, detail, -1, now_ms))
    for lane, error in reader.unreadable.items():
        known = troubles.get(lane)
        if known is None or known.reason is not Reason.LEDGER_UNREADABLE:
            detail = f"Lane {lane} of the link: {error}"
            troubles[lane] = LaneTrouble(lane, Reason.LEDGER_UNREADABLE, detail, -1, now_ms)
    syncs = tuple(_sync(report) for _, report in sorted(reader.reports.items()) if report.count or report.error)
    return _Ledger(
        entries, reader.held_by, reader.problems, troubles, syncs, reader.desired, reader.sightings, reader.drills
    )


def _drill(drills: DrillRecords) -> DrillStatus | None:
    last, good_ms = drills.last, drills.last_good_ms
    if last is None:
        return None
    return DrillStatus(
        at=_iso(last.at_ms),
        mode=last.mode,
        ok=last.ok,
        rto_ms=last.rto_ms,
        rpo_records=last.rpo_records,
        rpo_ms=last.rpo_ms,
        failed_at=last.failed_at,
        error=last.error,
        last_success=None if good_ms is None else _iso(good_ms),
    )


def _sync(report: SyncReport) -> SyncStatus:
    held = tuple(HeldStatus(kind=h.kind, resource=h.resource, why=h.why, detail=h.detail) for h in report.held)
    since = _iso(report.at_ms)
    return SyncStatus(syncer=report.syncer, since=since, count=report.count, held=held, error=report.error)


def _with_desired(entry: Entry, wanted: Desired) -> Entry:
    """What operators want holds even while no worker runs that could say so. Faults that wait for people remain."""
    waits_for_people = entry.state is State.FAULTED and entry.reason is not None and not entry.reason.heals
    if wanted.state not in HOLDING or entry.state is wanted.state or waits_for_people:
        return entry
    detail = f"{wanted.text} No worker has confirmed it yet."
    return replace(entry, state=wanted.state, reason=None, detail=detail, since_ms=wanted.at_ms)


def _is_recorded(entry: Entry, recorded: Entry) -> bool:
    return entry.state not in HOLDING or entry.state is recorded.state


def _with_trouble(entry: Entry, trouble: LaneTrouble | None) -> Entry:
    """A partition whose lane doesn't run doesn't copy; its own fault counts for more."""
    if trouble is None or entry.state is State.FAULTED or entry.state in HOLDING:
        return entry
    since_ms = trouble.since_ms if trouble.since_ms >= 0 else entry.written_ms
    return replace(entry, state=State.FAULTED, reason=trouble.reason, detail=trouble.detail, since_ms=since_ms)


def _of_lane(trouble: LaneTrouble | None) -> StoredProblem | None:
    return None if trouble is None else StoredProblem(trouble.reason, trouble.detail, trouble.since_ms)


def _known(
    entry: Entry, end: int | None, next_time_ms: int | None, now_ms: int, *, lane: int, confirmed: bool
) -> PartitionStatus:
    lag = None if end is None else max(0, end - entry.source_next)
    lag_ms: int | None = 0
    if lag != 0:
        behind_since_ms = entry.record_timestamp_ms if next_time_ms is None else next_time_ms
        lag_ms = max(0, now_ms - behind_since_ms) if lag is not None and behind_since_ms >= 0 else None
    return PartitionStatus(
        topic=entry.topic,
        partition=entry.partition,
        state=entry.state.value,
        reason=None if entry.reason is None else entry.reason.value,
        since=_iso(entry.since_ms),
        source_end=_UNKNOWN_OFFSET if end is None else end,
        source_next=entry.source_next,
        target_next=entry.target_next,
        lag=lag,
        lag_ms=lag_ms,
        detail=entry.detail,
        next_step="" if entry.reason is None else entry.reason.next_step,
        gaps=tuple(_gap(gap) for gap in entry.gaps),
        settled=entry.state in HOLDING and confirmed and entry.way is Way.TRANSACTIONS,
        lane=lane,
        confirmed=confirmed,
    )


def _gap(gap: Gap) -> GapStatus:
    return GapStatus(
        reason=gap.reason.value,
        source_from=gap.source_from,
        source_to=gap.source_to,
        target_from=gap.target_from,
        target_to=gap.target_to,
        at=_iso(gap.at_ms),
        by=gap.by,
    )


def _without_entry(
    topic: str, partition: int, problem: StoredProblem | None, end: int | None, wanted: Desired, lane: int
) -> PartitionStatus:
    """A partition that is to be copied and isn't in the ledger yet: new, held, or hindered by its topic's problem."""
    held = wanted.state in HOLDING
    problem = None if held else problem
    since_ms = wanted.at_ms if problem is None else problem.since_ms
    return PartitionStatus(
        topic=topic,
        partition=partition,
        state=(State.FAULTED if problem else wanted.state if held else State.PENDING).value,
        reason=None if problem is None else problem.reason.value,
        since=None if since_ms < 0 else _iso(since_ms),
        source_end=_UNKNOWN_OFFSET if end is None else end,
        source_next=_UNKNOWN_OFFSET,
        target_next=_UNKNOWN_OFFSET,
        lag=None,
        lag_ms=None,
        detail=problem.detail if problem else wanted.text if held else "",
        lane=lane,
        next_step="" if problem is None else problem.reason.next_step,
    )


def _unstored(problem: TopicProblem | None) -> StoredProblem | None:
    """A problem with the topic's name, which shows before any worker has run."""
    return None if problem is None else StoredProblem(problem.reason, problem.detail, -1)


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
