"""What the data plane counts: plain integers, bumped once per batch, read when `/metrics` is asked for.

Nothing here knows Prometheus; `telemetry.prometheus` turns these into metric families at scrape time, so that the
hot path pays an integer addition and no label look-up.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class PartitionCounters:
    """One source partition's counts since this worker took it over, and its present position."""

    link: str
    topic: str
    partition: int
    state: str = "PENDING"
    reason: str | None = None
    records: int = 0  # acknowledged by the target
    bytes: int = 0  # of batches acknowledged by the target, as written
    read_bytes: int = 0  # that fetches brought, whatever became of them
    batches_passed: int = 0
    batches_rebuilt: dict[str, int] = field(default_factory=dict)  # by reason
    batches_dropped: dict[str, int] = field(default_factory=dict)  # by reason: control, aborted, empty, looped
    looped_records: int = 0  # dropped because they came from the target, or from elsewhere
    looped_bytes: int = 0
    retries: int = 0
    authorization_failures: int = 0
    lag_records: int = 0
    lag_ms: int = 0
    unread_records: int = 0
    unread_ms: int = 0
    source_end: int = -1
    source_next: int = -1
    target_next: int = -1
    latency_ms: int = -1  # of what readers of the target have seen last; -1: nothing yet
    latency_at_ms: int = 0  # when that was
    latency_most_ms: int = -1  # the largest since `take_latency`; -1: nothing came
    unseen_ms: int = -1  # time of the oldest batch that readers don't see yet: its transaction is open; -1: none

    def arrived(self, latency_ms: int, now_ms: int) -> None:
        """Readers of the target see a batch, so long after its newest record's timestamp."""
        self.latency_ms, self.latency_at_ms = latency_ms, now_ms
        if latency_ms > self.latency_most_ms:
            self.latency_most_ms = latency_ms

    def hidden(self, timestamp_ms: int) -> None:
        """A batch of this time is on the target, in a transaction that is open."""
        if self.unseen_ms < 0 or timestamp_ms < self.unseen_ms:
            self.unseen_ms = timestamp_ms

    def committed(self, now_ms: int) -> None:
        """Its transaction is committed."""
        if self.unseen_ms >= 0:
            self.arrived(max(0, now_ms - self.unseen_ms), now_ms)
            self.unseen_ms = -1

    def take_latency(self) -> int:
        """The largest since this was asked last, in ms; -1 if nothing came. For one asker alone."""
        most, self.latency_most_ms = self.latency_most_ms, -1
        return most

    def drop(self, batches: Mapping[str, int], looped_records: int, looped_bytes: int) -> None:
        """So many batches weren't copied, by reason."""
        for why, count in batches.items():
            self.batches_dropped[why] = self.batches_dropped.get(why, 0) + count
        self.looped_records += looped_records
        self.looped_bytes += looped_bytes

    def place(self, source_end: int, source_next: int, target_next: int, waiting_ms: int, now_ms: int) -> None:
        """Where it stands. `waiting_ms` is the time of the first record that isn't copied, -1 when it has none."""
        self.source_end, self.source_next, self.target_next = source_end, source_next, target_next
        self.lag_records, self.lag_ms = _behind(source_end, source_next, waiting_ms, now_ms)

    def place_reader(self, fetch_offset: int, read_ms: int, now_ms: int) -> None:
        """How far it is read, after `place`. `read_ms` is the time of the newest record that is, -1 when it has
        none."""
        self.unread_records, self.unread_ms = _behind(self.source_end, fetch_offset, read_ms, now_ms)

    @property
    def lag_is_known(self) -> bool:
        """What the source has got since one was stopped isn't known: no lag isn't a lag of 0 then."""
        return self.source_end >= 0 and (self.state == "COPYING" or self.lag_records > 0)


SYNC_FAILURES = frozenset({"NOT_AUTHORIZED", "REFUSED", "UNSUPPORTED"})  # what doesn't heal by itself


def _behind(source_end: int, offset: int, waiting_ms: int, now_ms: int) -> tuple[int, int]:
    """Records and milliseconds from `offset`, whose record has this time, to the end."""
    records = max(0, source_end - offset) if source_end >= 0 else 0
    return records, max(0, now_ms - waiting_ms) if records and waiting_ms >= 0 else 0


class Histogram:
    """Fixed-bound histogram: cumulative counts as Prometheus wants them, one bisect per observation."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count `value` (seconds) `times` times."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times


LATENCY_BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)


@dataclass(slots=True)
class SyncCounters:
    """What a link's controller has done for one syncer since it became that, and how things stand."""

    rounds: int = 0  # that didn't fail
    failures: int = 0
    failing: bool = False  # the last round failed
    changes: int = 0  # that rounds set out to make
    last_success_s: float = 0.0  # since 1970; 0: none yet
    held: dict[str, int] = field(default_factory=dict)  # by reason


@dataclass(frozen=True, slots=True)
class DrillCounters:
    """A link's last drill; times in seconds, since 1970 where they are moments. None where it isn't known."""

    at_s: float
    ok: bool
    last_good_s: float | None
    rto_s: float | None
    rpo_records: int | None
    rpo_s: float | None


@dataclass(slots=True)
class ClusterCounters:
    """One of a link's two clusters, as this worker sees it."""

    reachable: bool | None = None  # whether it answers questions; None: nobody has asked yet
    authentication_failures: int = 0  # connections that ended because of credentials or TLS
    throttled_s: float = 0.0  # that its brokers told us to wait, because of a quota
    answers: int = 0  # to fetches (source) or produce requests (target)


@dataclass(slots=True)
class LinkCounters:
    """One link's, in this worker: what isn't a partition's."""

    lanes: int = 0  # that the link has, over all workers
    running: int = 0  # of ours
    recovering: int = 0
    controller: bool = False
    throttled_s: float = 0.0
    bandwidth_bytes: float | None = None  # a second, this worker's part of the cap; None: there is none
    bandwidth_waited_s: float = 0.0
    target_throttled_s: float = 0.0
    clusters: dict[str, ClusterCounters] = field(default_factory=dict)  # by alias
    groups: int = 0  # of the source that are kept in step; the controller's alone
    group_positions: int = 0
    drill: DrillCounters | None = None  # the controller's alone
    resting: dict[int, list[PartitionCounters]] = field(default_factory=dict)  # by lane: of ours, what has no run
    syncers: dict[str, SyncCounters] = field(default_factory=dict)  # the controller's alone
    authorization_failures: dict[str, int] = field(default_factory=dict)  # by topic: what isn't one partition's

    @property
    def group_sync_failures(self) -> int:
        """Groups whose positions can't be written now; 1 at least while whole rounds fail."""
        groups = self.syncers.get("groups")
        if groups is None:
            return 0
        refused = sum(count for why, count in groups.held.items() if why in SYNC_FAILURES)
        return max(refused, int(groups.failing))


@dataclass(slots=True)
class OutboxCounters:
    """What one destination outside (CloudWatch, a log group, …) has been sent, in points or lines."""

    sent: int = 0
    failures: int = 0  # requests
    dropped: dict[str, int] = field(default_factory=dict)  # by why: full, refused

    def drop(self, why: str, count: int) -> None:
        """So many will never be there."""
        self.dropped[why] = self.dropped.get(why, 0) + count


@dataclass(slots=True)
class WorkerCounters:
    """One worker's counts: what isn't a partition's."""

    faults: dict[tuple[str, str], int] = field(default_factory=dict)  # (link, reason) -> times raised
    memory_in_use_bytes: int = 0  # fetched and not yet acknowledged
    memory_limit_bytes: int = 0
    latency: dict[str, Histogram] = field(default_factory=dict)  # link -> record timestamp to acknowledgement, seconds
    links: dict[str, LinkCounters] = field(default_factory=dict)
    partitions: dict[tuple[str, str, int], PartitionCounters] = field(default_factory=dict)  # those that run
    begun: deque[PartitionCounters] | None = None  # those that began to run, for who must miss none: it takes them out
    cloudwatch: OutboxCounters | None = None  # None: nothing is sent there
    logs: dict[str, OutboxCounters] = field(default_factory=dict)  # by destination

    def begin(self, part: PartitionCounters) -> None:
        """This partition begins to run."""
        self.partitions[part.link, part.topic, part.partition] = part
        if self.begun is not None:
            self.begun.append(part)

    def all_partitions(self) -> list[PartitionCounters]:
        """Those that run, and those that rest."""
        running = dict(self.partitions)
        links = list(self.links.values())
        resting = [part for link in links for parts in list(link.resting.values()) for part in parts]
        return [*running.values(), *(p for p in resting if (p.link, p.topic, p.partition) not in running)]
