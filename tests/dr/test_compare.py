from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.dr.compare import Comparison, Counts, Limits, Record


def records(count: int) -> list[Record]:
    return [Record(i * 3, b"k%d" % (i % 7), b"v%d" % i, (("h", b"x"),), 1_000 + i) for i in range(count)]


SOURCE = records(40)
TARGET = [replace(record, offset=i) for i, record in enumerate(SOURCE)]


def compare(source: list[Record], target: list[Record], **options: object) -> Counts:
    return Comparison(iter(source), iter(target), **options).run()  # type: ignore[arg-type]


def kinds(counts: Counts) -> dict[str, int]:
    names = ("missing", "unexpected", "duplicates", "reordered", "changed", "compacted")
    return {name: getattr(counts, name) for name in names if getattr(counts, name)}


def test_given_an_equal_copy_at_other_offsets_then_no_difference() -> None:
    counts = compare(SOURCE, TARGET)
    assert kinds(counts) == {}
    assert counts.records == 40
    assert counts.complete


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (TARGET[:5] + TARGET[6:], {"missing": 1}),
        (TARGET[3:], {"missing": 3}),
        (TARGET[:-4], {"missing": 4}),
        ([], {"missing": 40}),
        (TARGET[:6] + TARGET[5:], {"duplicates": 1}),
        (TARGET[:20] + TARGET[10:], {"duplicates": 10}),
        ([*TARGET[:5], TARGET[6], TARGET[5], *TARGET[7:]], {"reordered": 1}),
        ([*TARGET[:5], replace(TARGET[0], value=b"new"), *TARGET[5:]], {"unexpected": 1}),
        ([*TARGET, replace(TARGET[0], value=b"new")], {"unexpected": 1}),
    ],
)
def test_given_planted_damage_then_it_gets_its_name(target: list[Record], expected: dict[str, int]) -> None:
    counts = compare(SOURCE, target)
    assert kinds(counts) == expected
    assert counts.records == 40 - expected.get("missing", 0) - expected.get("reordered", 0)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"key": None}, "key"),
        ({"value": b""}, "value"),
        ({"value": None}, "value"),
        ({"headers": ()}, "headers"),
        ({"headers": (("h", None),)}, "headers"),
        ({"timestamp_ms": -1}, "timestamp"),
    ],
)
def test_given_one_changed_record_then_its_field_is_named(change: dict[str, object], field: str) -> None:
    damaged = [*TARGET[:9], replace(TARGET[9], **change), *TARGET[10:]]  # type: ignore[arg-type]
    counts = compare(SOURCE, damaged)
    assert kinds(counts) == {"changed": 1}
    assert [(d.source_offset, d.target_offset, d.fields) for d in counts.differences] == [(27, 9, (field,))]


def test_given_every_timestamp_changed_then_all_are_changed_not_lost() -> None:
    counts = compare(SOURCE, [replace(record, timestamp_ms=5) for record in TARGET])
    assert kinds(counts) == {"changed": 40}


def test_given_a_loss_larger_than_the_window_then_it_still_meets_again() -> None:
    source = records(500)
    counts = compare(source, source[:10] + source[400:], limits=Limits(window_records=60))
    assert kinds(counts) == {"missing": 390}
    assert counts.records == 110


def test_given_more_differences_than_the_limit_then_given_up_and_said() -> None:
    counts = compare(SOURCE, [], limits=Limits(give_up_after=5, listed=3))
    assert not counts.complete
    assert counts.missing == 5
    assert len(counts.differences) == 3


def test_given_the_targets_end_is_open_then_what_follows_the_source_is_no_difference() -> None:
    assert kinds(compare(SOURCE[:20], TARGET, open_target=True)) == {}
    assert kinds(compare(SOURCE[:20], TARGET)) == {"unexpected": 20}


class TestCompacted:
    source = (
        Record(0, b"a", b"1", (), 1),
        Record(1, b"b", b"1", (), 2),
        Record(2, b"a", b"2", (), 3),
        Record(3, b"c", None, (), 4),
    )

    @pytest.mark.parametrize("kept", [[1, 2, 3], [1, 2], [0, 1, 2, 3]])
    def test_given_either_side_dropped_superseded_records_then_no_difference(self, kept: list[int]) -> None:
        whole, part = list(self.source), [self.source[i] for i in kept]
        for source, target in ((whole, part), (part, whole)):
            counts = compare(source, target, compacted=True)
            assert counts.total() == 0
            assert counts.compacted == 4 - len(kept)

    def test_given_the_last_value_of_a_key_is_gone_then_missing(self) -> None:
        target = [self.source[i] for i in (0, 1, 3)]
        assert kinds(compare(list(self.source), target, compacted=True)) == {"missing": 1}

    def test_given_a_foreign_key_then_unexpected(self) -> None:
        target = [*self.source, Record(9, b"x", b"1", (), 9)]
        assert kinds(compare(list(self.source), target, compacted=True)) == {"unexpected": 1}


@given(st.lists(st.tuples(st.sampled_from("ldsx"), st.integers(0, 39)), max_size=4))
def test_given_any_damage_then_red_exactly_when_the_copy_differs(damage: list[tuple[str, int]]) -> None:
    target = list(TARGET)
    for kind, place in damage:
        at = min(place, len(target) - 2)
        if kind == "l":
            del target[at]
        elif kind == "d":
            target.insert(at, target[max(0, at - 3)])
        elif kind == "s":
            target[at], target[at + 1] = target[at + 1], target[at]
        else:
            target[at] = replace(target[at], value=b"damaged")
    counts = compare(SOURCE, target)
    differs = [r.fingerprint() for r in SOURCE] != [r.fingerprint() for r in target]
    assert bool(counts.total()) == differs
    if not differs:
        return
    lost = Counter(r.fingerprint() for r in SOURCE) - Counter(r.fingerprint() for r in target)
    assert counts.missing + counts.changed >= sum(lost.values())  # loss is never called anything milder


def test_given_an_endless_source_then_memory_stays_bounded_by_the_window() -> None:
    taken = 0

    def endless() -> Iterator[Record]:
        nonlocal taken
        while True:
            taken += 1
            yield Record(taken, None, b"%d" % taken, (), taken)

    foreign = [Record(0, None, b"foreign", (), 0)]
    Comparison(endless(), iter(foreign), limits=Limits(window_records=100, give_up_after=3)).run()
    assert taken <= 110
