"""The judge must turn red on everything that can go wrong with a copy, and on nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.checker import Seen, compare_partition, compare_topics

SOURCE = [
    Seen(
        offset=i * 2, key=b"k%d" % (i % 3), value=b"v%d" % i, headers=(("h", b"1"), ("h", None)), timestamp_ms=1000 + i
    )
    for i in range(20)
]
COPY = [replace(record, offset=i) for i, record in enumerate(SOURCE)]


def damaged(at: int, **changes: object) -> list[Seen]:
    return [replace(r, **changes) if i == at else r for i, r in enumerate(COPY)]  # type: ignore[arg-type]


def test_given_an_exact_copy_at_other_offsets_then_green() -> None:
    verdict = compare_partition("t-0", SOURCE, COPY)
    assert verdict.problems == []
    assert (verdict.records, verdict.duplicates, verdict.rewinds) == (20, 0, 0)


@pytest.mark.parametrize(
    ("planted", "copy"),
    [
        ("loss in the middle", COPY[:7] + COPY[8:]),
        ("loss at the start", COPY[1:]),
        ("loss at the end", COPY[:-1]),
        ("everything lost", []),
        ("duplicate", COPY[:8] + COPY[7:]),
        ("swap", [*COPY[:7], COPY[8], COPY[7], *COPY[9:]]),
        ("rewind", COPY[:12] + COPY[4:]),
        ("foreign record", [*COPY, replace(COPY[0], value=b"who wrote this")]),
        ("changed key", damaged(5, key=b"other")),
        ("null key", damaged(5, key=None)),
        ("changed value", damaged(5, value=b"v5 ")),
        ("empty for null", damaged(5, value=b"")),
        ("header lost", damaged(5, headers=(("h", b"1"),))),
        ("headers swapped", damaged(5, headers=(("h", None), ("h", b"1")))),
        ("header null for empty", damaged(5, headers=(("h", b"1"), ("h", b"")))),
        ("timestamp", damaged(5, timestamp_ms=1006)),
        ("timestamp type", damaged(5, create_time=False)),
    ],
)
def test_given_planted_damage_when_nothing_crashed_then_red(planted: str, copy: list[Seen]) -> None:
    assert compare_partition("t-0", SOURCE, copy).problems, planted


def test_given_null_and_empty_differ_then_red_both_ways() -> None:
    null = [replace(SOURCE[0], value=None)]
    empty = [replace(SOURCE[0], value=b"")]
    assert compare_partition("t-0", null, empty).problems
    assert compare_partition("t-0", empty, null).problems


@pytest.mark.parametrize(
    ("planted", "copy"),
    [
        ("one window written again", COPY[:12] + COPY[4:]),
        ("one record written again", COPY[:8] + COPY[7:]),
        ("the last ones written again", COPY + COPY[15:]),
    ],
)
def test_given_one_crash_is_allowed_when_a_window_repeats_then_green_and_counted(
    planted: str, copy: list[Seen]
) -> None:
    verdict = compare_partition("t-0", SOURCE, copy, rewinds=1)
    assert verdict.problems == [], planted
    assert verdict.rewinds == 1
    assert verdict.duplicates == len(copy) - len(SOURCE)


@pytest.mark.parametrize(
    ("planted", "copy"),
    [
        ("two repeats", COPY[:8] + COPY[7:12] + COPY[11:]),
        ("repeat with a hole", COPY[:12] + COPY[4:6] + COPY[7:]),
        ("repeat that ends early", COPY + COPY[10:15]),
        ("swap", [*COPY[:7], COPY[8], COPY[7], *COPY[9:]]),
        ("loss", COPY[:7] + COPY[8:]),
        ("loss behind a repeat", COPY[:12] + COPY[4:18]),
    ],
)
def test_given_one_crash_is_allowed_when_more_went_wrong_then_red(planted: str, copy: list[Seen]) -> None:
    assert compare_partition("t-0", SOURCE, copy, rewinds=1).problems, planted


def test_given_two_writers_may_overlap_when_the_earlier_one_repeats_its_last_records_then_green() -> None:
    overlapping = COPY[:12] + COPY[4:8] + COPY[12:] + COPY[9:11]
    assert compare_partition("t-0", SOURCE, overlapping, rewinds=2, interleaved=True).problems == []
    assert compare_partition("t-0", SOURCE, overlapping, rewinds=1, interleaved=True).problems
    assert compare_partition("t-0", SOURCE, overlapping, rewinds=2).problems
    for damaged_copy in (COPY[:12] + COPY[4:8] + COPY[13:], COPY[:12] + COPY[4:6] + COPY[7:], overlapping[:-6]):
        assert compare_partition("t-0", SOURCE, damaged_copy, rewinds=1, interleaved=True).problems
    for lossy in (COPY[:12] + COPY[4:8] + COPY[13:], overlapping[:-6]):
        assert compare_partition("t-0", SOURCE, lossy, rewinds=9, interleaved=True).problems


def test_given_a_repeat_longer_than_anything_in_flight_then_red() -> None:
    assert compare_partition("t-0", SOURCE, COPY + COPY[2:], rewinds=1, window=10).problems


def test_given_equal_records_in_a_row_then_their_count_matters() -> None:
    same = [replace(SOURCE[0], offset=i) for i in range(5)]
    assert compare_partition("t-0", same, same).problems == []
    assert compare_partition("t-0", same, same[:4]).problems
    assert compare_partition("t-0", same[:4], same).problems


def test_given_a_topic_compared_with_itself_then_refused() -> None:
    here = {"bootstrap.servers": "127.0.0.1:1"}
    with pytest.raises(AssertionError, match="itself"):
        compare_topics(here, here, {"t": 1})
