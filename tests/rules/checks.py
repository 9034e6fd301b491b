"""The rules A to H of exactly-once delivery, held against the histories of both clusters.

Each check returns what breaks its rule, as sentences; an empty list is a pass. `Scene` says what there was to copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from replicator.config.models import LinkConfig
from replicator.ledger.entry import Entry, Gap, decode, decode_key
from replicator.ledger.lane_record import LANE_KEY, decode_lane
from replicator.ledger.lanes import lane_of, ledger_topic, map_topic
from replicator.ledger.map_chunks import chunks_from_records
from replicator.ledger.moved import decode_moved
from replicator.ledger.offset_map import OffsetMap
from replicator.states import Reason, State
from tests.rules.history import COUNTS, Append, History, Place, Row

TARGET_LOST = frozenset({Reason.TARGET_TRUNCATED, Reason.TARGET_RECREATED})


@dataclass(frozen=True, slots=True)
class Said:
    """An entry, where it is in the ledger."""

    append: Append
    entry: Entry

    @property
    def order(self) -> int:
        """When it was appended."""
        return self.append.order


@dataclass
class Scene:
    """A link and what happened. `complete`: all that was to be copied is expected on the target by now."""

    link: LinkConfig
    source: History
    target: History
    partitions: dict[Place, int]  # of the source topics that are copied, and where each begins
    own_producers: set[int] = field(default_factory=set)
    complete: bool = True
    ordered: bool = True  # whether the order between partitions is known
    compacted: frozenset[str] = frozenset()  # source topics

    def copy_of(self, place: Place) -> Place:
        """The target partition of a source partition."""
        return self.link.remote_topic(place[0]), place[1]

    @property
    def ledgers(self) -> list[Place]:
        """The ledger's partitions."""
        return [(ledger_topic(self.link.name), lane) for lane in range(self.link.lanes)]

    def eligible(self, place: Place) -> list[Row]:
        """What there was to copy."""
        start = self.partitions[place]
        return [row for _, row in self.source.counted(place) if row.offset >= start]

    def source_offsets(self, place: Place) -> dict[tuple[object, ...], int]:
        """Each record's content, which is unlike any other's -> its source offset."""
        return {row.content: row.offset for row in self.eligible(place)}

    @cached_property
    def entries(self) -> dict[Place, list[Said]]:
        """What the ledger says for good of each source partition, in the order of the appends."""
        found: dict[Place, list[Said]] = {place: [] for place in self.partitions}
        for ledger in self.ledgers:
            for append, row in self.target.counted(ledger):
                entry = decode(row.key, row.value) if row.key else None
                if entry is not None and (entry.topic, entry.partition) in found:
                    found[entry.topic, entry.partition].append(Said(append, entry))
        for said in found.values():
            said.sort(key=lambda one: one.order if self.ordered else 0)
        return found

    @cached_property
    def moves(self) -> dict[Place, list[tuple[int, int, int | None]]]:
        """By source partition, in the order of the appends: (order, lane that says it, lane it moved to or None for an
        entry)."""
        found: dict[Place, list[tuple[int, int, int | None]]] = {place: [] for place in self.partitions}
        for ledger in self.ledgers:
            for append, row in self.target.counted(ledger):
                place = decode_key(row.key) if row.key else None
                if place in found:
                    moved = decode_moved(row.key, row.value)
                    found[place].append((append.order, ledger[1], None if moved is None else moved.lane))
        return {place: sorted(rows, key=lambda one: one[0]) for place, rows in found.items()}

    @cached_property
    def recorded_producers(self) -> dict[Place, list[tuple[int, frozenset[int]]]]:
        """By ledger partition: from which append on which producer ids are in its lane's record."""
        found: dict[Place, list[tuple[int, frozenset[int]]]] = {}
        for place in self.target.places(ledger_topic(self.link.name)):
            for append, row in self.target.counted(place):
                if row.key == LANE_KEY and row.value is not None:
                    found.setdefault(place, []).append((append.order, frozenset(decode_lane(row.value).producers)))
        return found


def rule_a(scene: Scene) -> list[str]:
    """No record before its partition's entry, and none of a producer that isn't in the ledger."""
    wrong: list[str] = []
    for place in scene.partitions:
        lanes = {said.append.partition for said in scene.entries[place]}
        first = min((said.order for said in scene.entries[place]), default=None)
        for append in scene.target.of(scene.copy_of(place)):
            if append.commit is not None or scene.target.outcome(append) not in COUNTS:
                continue
            if first is None or (scene.ordered and first > append.order):
                wrong.append(f"{append} was produced before {place} had an entry")
            known = (
                producers
                for ledger in scene.ledgers
                if ledger[1] in lanes
                for order, producers in scene.recorded_producers.get(ledger, ())
                if order < append.order or not scene.ordered
            )
            if not any(append.producer_id in producers for producers in known):
                wrong.append(f"{append} is of a producer that lanes {sorted(lanes)} hadn't recorded")
    return wrong


def rule_b(scene: Scene) -> list[str]:
    """An entry isn't ahead of what is on the target, and all it says is of one instant."""
    wrong: list[str] = []
    for place in scene.partitions:
        offsets, copy = scene.source_offsets(place), scene.copy_of(place)
        for said in scene.entries[place]:
            wrong += _one_instant(scene, place, copy, offsets, said)
    return wrong


def _one_instant(
    scene: Scene, place: Place, copy: Place, offsets: dict[tuple[object, ...], int], said: Said
) -> Iterator[str]:
    entry = said.entry
    until = said.order if scene.ordered else None
    where = f"entry {said.append} of {place} (source {entry.source_next}, target {entry.target_next})"
    if any(gap.reason is not Reason.RETENTION_OVERRUN for gap in entry.gaps):
        return  # offsets mean something else behind such a gap
    if until is not None and entry.target_next > (end := scene.target.end_before(copy, until)):
        yield f"{where} is ahead: the target's log ended at {end}"
    there: set[int] = set()
    sequences: dict[tuple[int, int], int] = {}
    for append, row in scene.target.counted(copy, before=until):
        source = offsets.get(row.content)
        if source is None:
            continue  # rule D says so
        below = row.offset < entry.target_next
        if below:
            there.add(source)
            sequences[append.producer_id, append.epoch] = append.last_sequence + 1 & 0x7FFFFFFF
        lost = entry.source_next <= source < scene.source.starts.get(place, 0)  # recovery may say so of copied ones
        if below != (source < entry.source_next) and not (below and lost):
            yield f"{where}: source offset {source} is at target offset {row.offset}"
    missing = {s for s in offsets.values() if s < entry.source_next} - there
    gone = {s for s in missing if s not in scene.source.present.get(place, set())}
    if missing - gone:
        yield f"{where} is ahead: source offsets {sorted(missing - gone)[:5]} weren't on the target"
    producer = entry.producer_id, entry.producer_epoch
    if entry.producer_id >= 0 and (expected := sequences.get(producer, 0)) != entry.next_sequence:
        yield f"{where}: next sequence of producer {producer} is {entry.next_sequence}, by the log {expected}"


def rule_c(scene: Scene) -> list[str]:
    """Ledger and map are written by the lane's own producers, and by none that has a successor."""
    wrong: list[str] = []
    for topic in (ledger_topic(scene.link.name), map_topic(scene.link.name)):
        for place in scene.target.places(topic):
            wrong += [
                f"{append} isn't of the link's own producers {sorted(scene.own_producers)}"
                for append in scene.target.of(place)
                if append.producer_id not in scene.own_producers
            ]
            wrong += _late(scene.target.of(place))
    return wrong


def _late(appends: list[Append]) -> Iterator[str]:
    newest: dict[int, Append] = {}
    for append in appends:
        known = newest.get(append.producer_id)
        if known is not None and append.epoch < known.epoch:
            yield f"{append} was written behind {known}, by a later owner"
        else:
            newest[append.producer_id] = append


def rule_d(scene: Scene) -> list[str]:
    """Each eligible record once, in order, byte for byte."""
    wrong: list[str] = []
    for place in scene.partitions:
        offsets, copy = scene.source_offsets(place), scene.copy_of(place)
        last, seen = -1, set()
        for append, row in scene.target.counted(copy):
            source = offsets.get(row.content)
            if source is None:
                wrong.append(f"{append}: offset {row.offset} holds what {place} never did")
                continue
            if source in seen:
                wrong.append(f"{append}: {place} offset {source} is there twice")
            elif source < last:
                wrong.append(f"{append}: {place} offset {source} comes behind {last}")
            seen.add(source)
            last = max(last, source)
        present = scene.source.present.get(place, set(offsets.values()))
        wanted = {offset for offset in offsets.values() if offset in present and (scene.complete or offset < last)}
        if missing := sorted(wanted - seen):
            wrong.append(f"{place}: {len(missing)} records aren't on {copy}, the first at {missing[0]}")
    return wrong


def rule_e(scene: Scene) -> list[str]:
    """The offset map is strictly increasing, exact, and invertible."""
    wrong: list[str] = []
    for place in scene.partitions:
        said = scene.entries[place]
        for one in {index: said[index] for index in (len(said) // 3, 2 * len(said) // 3, -1) if said}.values():
            wrong += _exact(scene, place, one)
    return wrong


def _exact(scene: Scene, place: Place, said: Said) -> Iterator[str]:
    entry = said.entry
    if any(gap.reason is not Reason.RETENTION_OVERRUN for gap in entry.gaps):
        return
    until = said.order + 1 if scene.ordered else None
    maps = map_topic(scene.link.name), said.append.partition
    records = [(row.key, row.value) for _, row in scene.target.counted(maps, before=until)]
    chunks = chunks_from_records(records, place).get(place, {})
    known = [(number, value) for number, value in chunks.items() if number < entry.map_chunks]
    found = OffsetMap.from_parts(known, entry.map_tail)
    offsets = scene.source_offsets(place)
    counted = scene.target.counted(scene.copy_of(place))
    pairs = {offsets[row.content]: row.offset for _, row in counted if row.content in offsets}
    start = scene.source.starts.get(
        place, 0
    )  # what the source has lost since may have been copied from who knows where
    pairs = {source: target for source, target in pairs.items() if start <= source < entry.source_next}
    if not pairs:
        return
    first = min(pairs.values())
    where = f"offset map of {place} as of {said.append}"
    if list(pairs.values()) != sorted(set(pairs.values())):
        yield f"{where}: the logs themselves aren't in order"
    for run, after in zip(list(found), list(found)[1:], strict=False):
        if after.source < run.source_end or after.target < run.target_end:
            yield f"{where}: {after} doesn't follow {run}"
    for pairs_, translate, way, lowest in (
        (pairs, found.to_target, "to the target", start),
        ({target: source for source, target in pairs.items()}, found.to_source, "to the source", first),
    ):
        expected: int | None = None
        for offset in range(max(pairs_) + 2, lowest - 1, -1):
            expected = pairs_.get(offset, expected)
            if (answer := translate(offset)) != expected:
                yield f"{where}: {offset} {way} is {answer}, by the logs {expected}"
                return


def rule_f(scene: Scene) -> list[str]:
    """What stopped a partition is in the ledger, with reason, offsets and time, before anything else happens."""
    wrong: list[str] = []
    for place in scene.partitions:
        said = scene.entries[place]
        for index, one in enumerate(said):
            wrong += _stated(place, one, said[:index])
        wrong += _passed_over(scene, place, said[0].entry.source_next if said else 0)
    return wrong


def _stated(place: Place, said: Said, before: list[Said]) -> Iterator[str]:
    entry = said.entry
    if (entry.state is State.FAULTED) != (entry.reason is not None):
        yield f"entry {said.append} of {place} is {entry.state.value} for {entry.reason}"
    if entry.state is State.FAULTED and (not entry.detail or entry.since_ms <= 0):
        yield f"entry {said.append} of {place} doesn't say what happened and when"
    if entry.gaps and (not before or entry.gaps[-1] not in before[-1].entry.gaps):
        gap, last = entry.gaps[-1], before[-1].entry if before else None
        if last is None or last.reason is not gap.reason or last.source_next != gap.source_from:
            yield f"entry {said.append} of {place} goes on behind {gap}, and no entry before it says that it stopped"


def _passed_over(scene: Scene, place: Place, began: int) -> Iterator[str]:
    """Records that the log start went past unread, without a gap that was in the ledger first.

    What was gone before the partition's first entry, which says that it `began` at the log's start, isn't meant.
    """
    offsets = scene.source_offsets(place)
    if place[0] in scene.compacted:  # nobody knows what compaction took before
        return
    if any(gap.reason is not Reason.RETENTION_OVERRUN for gap in _gaps(scene, place)):
        return
    start = scene.source.starts.get(place, 0)
    rows = {row.content for row in scene.eligible(place)}
    by_offset = sorted(offset for offset in offsets.values() if (began if began <= start else 0) <= offset < start)
    copied = [
        (append, offsets[row.content])
        for append, row in scene.target.counted(scene.copy_of(place))
        if row.content in rows
    ]
    seen = {source for _, source in copied}
    for offset in by_offset:
        behind = next((append for append, source in copied if source > offset), None)
        if offset in seen or behind is None:
            continue
        until = behind.order if scene.ordered else None
        if not any(g.source_from <= offset < g.source_to for g in _gaps(scene, place, until)):
            yield f"{behind}: {place} offset {offset} was passed over, and the ledger had no gap for it"


def _gaps(scene: Scene, place: Place, before: int | None = None) -> list[Gap]:
    return [gap for said in scene.entries[place] if before is None or said.order < before for gap in said.entry.gaps]


def rule_g(scene: Scene) -> list[str]:
    """Nothing that a former owner still sends is in the log."""
    wrong: list[str] = []
    for place in scene.partitions:
        appends = scene.target.of(scene.copy_of(place))
        wrong += _late(appends)
        for append in appends:
            if append.commit is not None or not append.transactional or scene.target.outcome(append) not in COUNTS:
                continue
            for fence in scene.target.fences:
                if (
                    fence.producer_id == append.producer_id
                    and fence.epoch > append.epoch
                    and fence.order < append.order
                ):
                    wrong.append(f"{append} was written and committed behind the fence of epoch {fence.epoch}")
                    break
    return wrong


def rule_p(scene: Scene) -> list[str]:
    """A partition is in one lane at a time: no lane writes an entry while another one holds the partition."""
    wrong: list[str] = []
    for place in scene.partitions if scene.ordered else ():
        bound = lane_of(*place, scene.link.lanes)
        for order, lane, to in scene.moves[place]:
            if lane != bound:
                wrong.append(f"#{order}: lane {lane} speaks of {place}, which is lane {bound}'s")
            bound = lane if to is None else to
    return wrong


def rule_h(scene: Scene) -> list[str]:
    """A target that lost records, or is another topic, stops the partition; nothing more is written to it."""
    wrong: list[str] = []
    for place in scene.partitions:
        copy = scene.copy_of(place)
        said = scene.entries[place]
        stops = [one for one in said if one.entry.state is State.FAULTED and one.entry.reason in TARGET_LOST]
        for stop in stops:
            resumed = next((o.order for o in said if o.order > stop.order and o.entry.reason is None), None)
            wrong += [
                f"{append} was written behind {stop.append}, which says {stop.entry.reason}"
                for append in scene.target.of(copy)
                if append.commit is None
                and stop.order < append.order
                and (resumed is None or append.order < resumed)
                and append.producer_id in scene.own_producers
            ]
        for cut in scene.target.cuts.get(copy, ()):
            lost = any(
                append.order < cut.order
                and append.last_offset >= cut.offset
                and append.commit is None
                and append.producer_id in scene.own_producers
                and scene.target.outcome(append) in COUNTS
                and any(append.base_offset < one.entry.target_next for one in said if one.order < cut.order)
                for append in scene.target.of(copy)
            )
            if lost and scene.complete and not any(stop.order > cut.order for stop in stops):
                wrong.append(f"{copy} lost what it had from offset {cut.offset} on, and nothing in the ledger says so")
    return wrong


RULES: dict[str, Callable[[Scene], list[str]]] = {
    "A": rule_a,
    "B": rule_b,
    "C": rule_c,
    "D": rule_d,
    "E": rule_e,
    "F": rule_f,
    "G": rule_g,
    "H": rule_h,
    "P": rule_p,
}


def hold(scene: Scene, rules: str = "ABCDEFGHP") -> list[str]:
    """What breaks any of these rules."""
    return [f"rule {letter}: {wrong}" for letter in rules for wrong in RULES[letter](scene)]
