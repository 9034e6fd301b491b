"""Who is measured when."""

from __future__ import annotations

from bench.order import WARM_UPS_AT_LEAST, WARM_UPS_AT_MOST, rotated, settled


def test_given_as_many_rounds_as_programs_when_rotated_then_everybody_is_at_every_place_once() -> None:
    rounds = [rotated("abcd", number) for number in range(4)]
    assert rounds[0] == list("abcd")
    for place in range(4):
        assert {order[place] for order in rounds} == set("abcd")


def test_given_more_rounds_than_programs_when_rotated_then_it_begins_again() -> None:
    assert rotated("ab", 2) == rotated("ab", 0) == ["a", "b"]
    assert rotated("ab", 3) == ["b", "a"]


def test_given_nobody_when_rotated_then_nobody_is_measured() -> None:
    assert rotated((), 1) == []


def test_given_too_few_copies_when_asked_then_the_brokers_have_not_settled() -> None:
    assert not settled([])
    assert not settled([300.0] * (WARM_UPS_AT_LEAST - 1))


def test_given_copies_that_still_get_faster_when_asked_then_the_brokers_have_not_settled() -> None:
    assert not settled([100.0, 200.0, 300.0])
    assert settled([100.0, 200.0, 300.0, 305.0])
    assert settled([300.0, 100.0, 200.0])


def test_given_copies_that_get_faster_for_ever_when_asked_then_there_is_an_end_to_it() -> None:
    assert settled([2.0**number for number in range(WARM_UPS_AT_MOST)])
