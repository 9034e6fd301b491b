"""A check that can't fail is none: each rule's turns red for what breaks that rule, planted into a good history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest

from replicator.ledger.entry import Entry, Gap, State, decode, encode_entry
from replicator.ledger.lane_record import LANE_KEY, LaneRecord, encode_lane
from replicator.ledger.lanes import ledger_topic
from replicator.ledger.map_chunks import Runs, decode_runs, encode_runs
from replicator.ledger.moved import Moved, encode_moved
from replicator.states import Reason
from tests.rules.checks import RULES, Scene
from tests.rules.history import Append, Cut, Fence, History, Row
from tests.rules.schedule import Mood, run

PLACE = ("orders", 0)
COPY = ("us.orders", 0)
LEDGER = ledger_topic("l")
Change = Callable[[Append], list[Append]]


@cache
def good() -> Scene:
    """A quiet schedule, with every lane's producers in its record."""
    scene = run(7, Mood(steps=60, crashes=0.2, brokers=0.0, old_records=0.0), writing="transactions").scene
    producer = min(scene.own_producers)
    row = Row(-1, 0, LANE_KEY, encode_lane(LaneRecord(1, tuple(sorted(scene.own_producers)))))
    target = History(cuts=scene.target.cuts, fences=scene.target.fences, present=scene.target.present)
    for number, place in enumerate(scene.target.places(LEDGER)):
        target.add(Append(-1 - number, *place, -1, -1, producer, -1, -1, False, None, (row,)))
    for append in scene.target.appends:
        target.add(append)
    return replace(scene, target=target)


def with_target(change: Change) -> Scene:
    """The good scene with another target."""
    return replace(good(), target=good().target.changed(change))


def data(append: Append) -> bool:
    """Whether it's a batch of the copy."""
    return append.place == COPY and append.commit is None


def nth(what: Callable[[Append], bool], index: int) -> Append:
    """One of the target's appends."""
    return [append for append in good().target.appends if what(append)][index]


def rewritten(change: Callable[[Entry], Entry], *, only: int | None = None) -> Scene:
    """The good scene with other entries of the partition; `only`: the n-th, from the end if negative."""
    said = good().entries[PLACE]
    chosen = {one.order for one in (said if only is None else [said[only]])}

    def rewrite(append: Append) -> list[Append]:
        if append.order not in chosen:
            return [append]
        rows = []
        for row in append.rows:
            entry = decode(row.key, row.value) if row.key else None
            ours = entry is not None and (entry.topic, entry.partition) == PLACE
            rows.append(replace(row, value=encode_entry(change(entry))) if ours and entry is not None else row)
        return [replace(append, rows=tuple(rows))]

    return with_target(rewrite)


def red(rule: str, scene: Scene, said: str) -> None:
    wrong = RULES[rule](scene)
    assert any(said in sentence for sentence in wrong), wrong


@pytest.mark.parametrize("rule", list(RULES))
def test_given_what_really_happened_then_no_check_complains(rule: str) -> None:
    assert RULES[rule](good()) == []


def test_given_a_record_before_its_first_entry_then_rule_a_says_so() -> None:
    first = good().entries[PLACE][0]
    red("A", with_target(lambda a: [] if a.order == first.order else [a]), "before")


def test_given_a_producer_that_the_ledger_does_not_know_then_rule_a_says_so() -> None:
    stranger = nth(data, 3)
    scene = with_target(
        lambda a: [replace(a, producer_id=77, transactional=False)] if a.order == stranger.order else [a]
    )
    red("A", scene, "hadn't recorded")


@pytest.mark.parametrize(("source", "target"), [(1, 0), (0, 1), (1, 1), (-1, 0), (0, -1)])
def test_given_an_entry_that_is_off_then_rule_b_says_so(source: int, target: int) -> None:
    def off(entry: Entry) -> Entry:
        return replace(entry, source_next=entry.source_next + source, target_next=entry.target_next + target)

    count = len(good().entries[PLACE])
    found = sum(bool(RULES["B"](rewritten(off, only=index))) for index in range(count))
    assert found > 0  # others may be off by a marker, which nobody can see


def test_given_an_entry_of_an_earlier_or_later_instant_on_one_side_then_rule_b_says_so() -> None:
    said = good().entries[PLACE]
    earlier, later = said[len(said) // 3].entry, said[-1].entry
    assert earlier.source_next < later.source_next
    red("B", rewritten(lambda e: replace(e, source_next=later.source_next), only=len(said) // 3), "ahead")
    red("B", rewritten(lambda e: replace(e, target_next=earlier.target_next), only=-1), "source offset")


def test_given_a_sequence_that_is_not_the_next_then_rule_b_says_so() -> None:
    red("B", rewritten(lambda e: replace(e, next_sequence=e.next_sequence + 1), only=-1), "next sequence")


def test_given_an_entry_that_was_written_before_its_records_then_rule_b_says_so() -> None:
    last = nth(data, -1)
    moved = replace(last, order=1 << 40)
    target = good().target.without(lambda a: a.order == last.order)
    target.add(moved)
    target.add(Append((1 << 40) + 1, *COPY, moved.last_offset + 1, 0, last.producer_id, 9, -1, True, True, ()))
    red("B", replace(good(), target=target), "ahead")


def test_given_a_ledger_record_of_somebody_else_then_rule_c_says_so() -> None:
    one = nth(lambda a: a.topic == LEDGER and a.commit is None and a.order > 0, 2)
    red("C", with_target(lambda a: [replace(a, producer_id=78)] if a.order == one.order else [a]), "own producers")


def test_given_a_ledger_record_of_a_former_owner_behind_its_successors_then_rule_c_says_so() -> None:
    late = nth(lambda a: a.topic == LEDGER and a.commit is None and a.order > 0, -1)
    fence = replace(late, order=late.order, epoch=late.epoch + 1, commit=True, rows=())
    red("C", with_target(lambda a: [fence, a] if a.order == late.order else [a]), "later owner")


def test_given_loss_duplicate_swap_change_or_a_foreign_record_then_rule_d_says_so() -> None:
    one, other = nth(data, 4), nth(data, 5)

    def loses(append: Append) -> list[Append]:
        return [replace(append, rows=append.rows[1:])] if append.order == one.order else [append]

    def repeats(append: Append) -> list[Append]:
        return [append, replace(append, base_offset=append.base_offset)] if append.order == one.order else [append]

    def swaps(append: Append) -> list[Append]:
        if append.order in (one.order, other.order):
            return [replace(append, rows=(other if append.order == one.order else one).rows)]
        return [append]

    def changes(append: Append) -> list[Append]:
        if append.order != one.order:
            return [append]
        return [replace(append, rows=(replace(append.rows[0], headers=b"\x02x"), *append.rows[1:]))]

    def later(append: Append) -> list[Append]:
        if append.order != one.order:
            return [append]
        return [replace(append, rows=(replace(append.rows[0], timestamp=5), *append.rows[1:]))]

    red("D", with_target(loses), "aren't on")
    red("D", with_target(repeats), "twice")
    red("D", with_target(swaps), "comes behind")
    red("D", with_target(changes), "never did")
    red("D", with_target(later), "never did")


def test_given_an_offset_map_that_is_off_by_one_then_rule_e_says_so() -> None:
    red("E", rewritten(lambda e: replace(e, map_tail=_moved(e.map_tail)), only=-1), "by the logs")


def _moved(tail: bytes) -> bytes:
    """The same runs, each one target offset later."""
    runs = Runs()
    for run_ in decode_runs(tail):
        runs.append(run_._replace(target=run_.target + 1))
    return encode_runs(runs)


def test_given_a_map_without_its_older_part_then_rule_e_says_so() -> None:
    red("E", rewritten(lambda e: replace(e, map_tail=b"", map_chunks=0), only=-1), "offset map")


def gap_of(entry: Entry, reason: Reason = Reason.RETENTION_OVERRUN) -> Gap:
    """A gap of three records behind this entry."""
    return Gap(reason, entry.source_next, entry.source_next + 3, entry.target_next, entry.target_next, 1, "policy")


def test_given_a_gap_that_no_fault_came_before_then_rule_f_says_so() -> None:
    red("F", rewritten(lambda e: replace(e, gaps=(gap_of(e),)), only=-1), "says that it stopped")


def test_given_a_fault_without_reason_or_detail_then_rule_f_says_so() -> None:
    red("F", rewritten(lambda e: replace(e, state=State.FAULTED), only=-1), "FAULTED for None")
    scene = rewritten(lambda e: replace(e, state=State.FAULTED, reason=Reason.CORRUPT_BATCH), only=-1)
    red("F", scene, "doesn't say")


def test_given_records_that_were_passed_over_without_a_word_then_rule_f_says_so() -> None:
    one = nth(data, 4)
    scene = with_target(lambda a: [] if a.order == one.order else [a])
    source = good().source
    last = max(row.offset for row in scene.eligible(PLACE))
    moved = History(source.appends, source.cuts, [], source.present, {PLACE: last}, source._places)
    red("F", replace(scene, source=moved), "passed over")


def test_given_a_late_write_of_a_former_owner_then_rule_g_says_so() -> None:
    one = nth(data, 4)
    newer = replace(one, epoch=one.epoch + 1, commit=True, rows=())
    red("G", with_target(lambda a: [newer, a] if a.order == one.order else [a]), "later owner")


def test_given_a_late_transaction_of_a_former_owner_then_rule_g_says_so() -> None:
    one = nth(data, 4)
    scene = with_target(lambda a: [a])
    scene.target.fences.append(Fence(one.order - 1, one.producer_id, one.epoch + 1))
    red("G", scene, "behind the fence")


def test_given_writes_behind_the_word_that_the_target_lost_records_then_rule_h_says_so() -> None:
    said = good().entries[PLACE]
    middle = len(said) // 2

    def stops(entry: Entry) -> Entry:
        return replace(entry, state=State.FAULTED, reason=Reason.TARGET_TRUNCATED, detail="cut")

    at = said[middle].order
    scene = rewritten(stops, only=middle)
    others = {one.order for one in said if one.order > at}
    target = scene.target.without(lambda a: a.order in others)
    red("H", replace(scene, target=target), "written behind")


def test_given_a_loss_that_nobody_mentions_then_rule_h_says_so() -> None:
    scene = with_target(lambda a: [a])
    last = nth(data, -1)
    scene.target.cuts[COPY] = [Cut(1 << 40, last.base_offset - 2)]
    red("H", scene, "nothing in the ledger says so")


def test_given_an_entry_behind_the_word_that_the_partition_has_moved_then_rule_p_says_so() -> None:
    said = good().entries[PLACE]
    before = said[-2].append

    def move(append: Append) -> list[Append]:
        if append is not before:
            return [append]
        rows = tuple(
            replace(row, value=encode_moved(Moved(entry, 1 - append.partition, 1)))
            if row.key and (entry := decode(row.key, row.value)) is not None and (entry.topic, entry.partition) == PLACE
            else row
            for row in append.rows
        )
        return [replace(append, rows=rows)]

    red("P", with_target(move), "which is lane")
