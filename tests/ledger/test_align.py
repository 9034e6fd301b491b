from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replicator.ledger.align import Aligned, Alignment, AmbiguousError, align, fingerprint
from replicator.wire.records import Record


@dataclass(frozen=True)
class Case:
    """What happened: `truth` pairs copied records and source offsets; `next_offset` as `Aligned` has it."""

    copied: list[bytes]
    source: list[tuple[int, bytes | None]]
    start: int | None
    complete: bool
    from_entry: bool
    truth: list[tuple[int, int]]
    next_offset: int | None
    distinct: bool

    def only_looks_paired(self) -> bool:
        """Two records of one content, of which each side has another one: nothing can tell this."""
        on_source = Counter(content for _, content in self.source)
        in_copied = Counter(self.copied)
        pairs = {(self.copied[index], offset) for index, offset in self.truth}
        return any(
            content is not None and on_source[content] == in_copied[content] == 1 and (content, offset) not in pairs
            for offset, content in self.source
        )


@st.composite
def cases(draw: st.DrawFn, *, distinct: bool | None = None, complete: bool | None = None) -> Case:
    distinct = draw(st.booleans()) if distinct is None else distinct
    complete = draw(st.booleans()) if complete is None else complete
    from_entry = draw(st.booleans())
    count = draw(st.integers(0, 14))
    written = draw(st.integers(0, count))
    contents = (
        [b"%d" % n for n in range(count)]
        if distinct
        else [b"%d" % n for n in draw(st.lists(st.integers(0, 12), min_size=count, max_size=count))]
    )
    start = draw(st.integers(0, 5))
    log: list[tuple[int, int | None]] = []
    offset = start
    for n in range(count):
        for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
            log.append((offset, None))
            offset += 1
        log.append((offset, n))
        offset += 1
    gone = draw(st.sets(st.integers(0, max(0, count - 1)))) if draw(st.booleans()) else set()
    log_start = draw(st.one_of(st.just(0), st.integers(0, offset)))
    told = draw(st.booleans())
    first_copied = 0 if from_entry else draw(st.integers(0, written))
    kept = [n for n in range(first_copied, written) if complete or n == written - 1 or draw(st.booleans())]
    source = [
        (at, None if n is None else contents[n])
        for at, n in log
        if at >= log_start and (told if n is None else n not in gone)
    ]
    there = {n: at for at, n in log if n is not None and at >= log_start and n not in gone}
    truth = [(index, there[n]) for index, n in enumerate(kept) if n in there]
    before = [at for n, at in there.items() if first_copied <= n < written and (complete or n in kept)]
    return Case(
        copied=[contents[n] for n in kept],
        source=source,
        start=draw(st.sampled_from([None, start])) if from_entry else None,
        complete=complete,
        from_entry=from_entry,
        truth=truth,
        next_offset=max(before) + 1 if before else None,
        distinct=distinct,
    )


def judge(case: Case, answer: Aligned) -> None:
    """Fails unless the answer is what happened."""
    if case.only_looks_paired():
        return
    assert answer.matched == case.truth
    left = [at for at, content in case.source if content is not None and at >= (case.next_offset or 0)]
    taken = [at for at, content in case.source if content is not None and at >= (answer.next_offset or 0)]
    assert taken == left, "would lose or repeat records"
    assert answer.next_offset == case.next_offset


@given(cases())
@settings(max_examples=250, deadline=None)
def test_given_any_history_then_the_answer_is_what_happened_or_it_is_ambiguous(case: Case) -> None:
    try:
        answer = align(case.copied, case.source, complete=case.complete, from_entry=case.from_entry, start=case.start)
    except AmbiguousError:
        return
    judge(case, answer)


@given(cases(distinct=True, complete=True))
@settings(max_examples=120, deadline=None)
def test_given_no_two_records_alike_and_a_whole_tail_then_it_is_never_ambiguous(case: Case) -> None:
    if not case.from_entry and not case.truth:
        with pytest.raises(AmbiguousError, match="none of the copied records is on the source"):
            align(case.copied, case.source, from_entry=False)
        return
    judge(case, align(case.copied, case.source, from_entry=case.from_entry, start=case.start))


def test_given_a_wrong_answer_then_the_judge_says_so() -> None:
    case = Case([b"a", b"b"], [(3, b"a"), (4, b"b"), (5, b"c")], 3, True, True, [(0, 3), (1, 4)], 5, True)
    judge(case, Aligned(5, [(0, 3), (1, 4)]))
    for wrong in (Aligned(4, [(0, 3)]), Aligned(6, [(0, 3), (1, 4)]), Aligned(5, [(0, 4)]), Aligned(None, [])):
        with pytest.raises(AssertionError):
            judge(case, wrong)


def test_given_equal_records_side_by_side_and_no_hole_then_offsets_tell_them_apart() -> None:
    source = [(7, b"b"), (8, b"a"), (9, b"a"), (10, b"a")]
    assert align([b"b", b"a", b"a"], source, start=7) == Aligned(10, [(0, 7), (1, 8), (2, 9)])


def test_given_equal_records_around_a_hole_then_it_is_ambiguous() -> None:
    with pytest.raises(AmbiguousError, match="same content"):
        align([b"b", b"a"], [(0, b"b"), (2, b"a"), (3, b"a")], start=0)


def test_given_the_hole_is_known_to_hold_nothing_then_it_is_not() -> None:
    assert align([b"b", b"a"], [(0, b"b"), (1, None), (2, b"a"), (3, b"a")], start=0).next_offset == 3


def test_given_no_entry_and_only_records_that_others_equal_then_it_is_ambiguous() -> None:
    # Both copied records may be gone, and the one at 10 a new one: going on behind it would lose those before it.
    with pytest.raises(AmbiguousError, match="same content as others"):
        align([b"a", b"a"], [(8, b"x"), (9, b"x"), (10, b"a")], from_entry=False)


def test_given_all_copied_records_are_gone_from_the_source_then_it_goes_on_with_the_first_one_there() -> None:
    assert align([b"a", b"b"], [(9, b"c")], start=2) == Aligned(None, [])
    assert align([b"a", b"b"], []) == Aligned(None, [])


def test_given_a_record_between_copied_ones_that_was_not_copied_then_it_is_refused() -> None:
    with pytest.raises(AmbiguousError, match="weren't copied"):
        align([b"a", b"b"], [(0, b"a"), (1, b"x"), (2, b"b")])


def test_given_another_order_then_it_is_refused() -> None:
    with pytest.raises(AmbiguousError, match="another order"):
        align([b"a", b"b"], [(0, b"b"), (1, b"a")])
    with pytest.raises(AmbiguousError, match="another order"):
        align([b"a", b"b", b"c"], [(0, b"b"), (1, b"a"), (2, b"c")], complete=False)


def test_given_a_compacted_tail_whose_last_record_is_gone_from_the_source_then_it_is_ambiguous() -> None:
    with pytest.raises(AmbiguousError, match="copied last is gone"):
        align([b"a", b"z"], [(0, b"a"), (1, b"b")], complete=False)


def test_given_a_long_source_then_it_is_read_as_far_as_needed() -> None:
    taken = 0

    def source() -> object:
        nonlocal taken
        for n in range(100_000):
            taken += 1
            yield n, b"%d" % n

    copied = [b"%d" % n for n in range(50)]
    assert align(copied, source(), look_ahead=20).next_offset == 50  # type: ignore[arg-type]
    assert taken == 70


def test_given_very_many_equal_records_then_it_gives_up_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replicator.ledger.align.MAX_STEPS", 100_000)
    with pytest.raises(AmbiguousError, match="same content"):
        align([b"a"] * 5_000, [(2 * n, b"a") for n in range(8_000)])


BASE = Record(0, 5, b"k", b"v", (("h", b"1"),))


@pytest.mark.parametrize(
    "other",
    [
        BASE._replace(timestamp=6),
        BASE._replace(key=None),
        BASE._replace(key=b""),
        BASE._replace(value=None),
        BASE._replace(key=b"kv", value=b""),
        BASE._replace(headers=()),
        BASE._replace(headers=(("h", None),)),
        BASE._replace(headers=(("h1", b""),)),
        BASE._replace(headers=(("h", b"1"), ("", None)), value=b""),
    ],
)
def test_given_any_field_differs_then_the_fingerprint_does(other: Record) -> None:
    assert len(fingerprint(BASE)) == 16
    assert fingerprint(other) != fingerprint(BASE)
    assert fingerprint(BASE._replace(offset=99)) == fingerprint(BASE)


def test_given_a_header_key_that_is_not_utf8_then_it_has_a_fingerprint() -> None:
    assert fingerprint(BASE._replace(headers=(("\udcff", b"1"),))) != fingerprint(BASE)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_given_copying_that_began_again_then_the_farthest_place_is_found_or_it_is_ambiguous(
    data: st.DataObject,
) -> None:
    count = data.draw(st.integers(1, 20))
    source = [(at + at // 3, b"%d" % at) for at in range(count)]
    copied: list[int] = [0]
    for _ in range(data.draw(st.integers(0, 4))):
        begin = data.draw(st.integers(0, min(copied[-1] + 1, count - 1)))
        copied += range(begin, data.draw(st.integers(begin, count - 1)) + 1)
    gone = data.draw(st.sets(st.integers(0, count - 1)))
    there = [source[at] for at in range(count) if at not in gone]
    first = data.draw(st.integers(0, len(copied) - 1))
    alignment = Alignment([b"%d" % at for at in copied[first:]], from_entry=False)
    for record in there:
        alignment.take(*record)
    seen = [at for at in copied[first:] if at not in gone]
    try:
        found = alignment.result_if_repeated().next_offset
    except AmbiguousError:
        assert gone or not seen
        return
    assert found == source[max(seen)][0] + 1


def test_given_foreign_records_in_a_copy_that_began_again_then_it_is_ambiguous() -> None:
    source = [(n, b"%d" % n) for n in range(8)]
    for copied in ([0, 1, 99, 2], [0, 1, 2, 1, 99, 2, 3], [0, 1, 2, 99], [0, 2, 1, 3]):
        alignment = Alignment([b"%d" % n for n in copied], from_entry=False)
        for record in source:
            alignment.take(*record)
        with pytest.raises(AmbiguousError):
            alignment.result_if_repeated()
