"""Rule G: a process that was away finds out before it writes."""

from __future__ import annotations

import pytest

from replicator.worker.suspension import LIMIT_S, TURN_S, Suspension


class Clocks:
    def __init__(self) -> None:
        self.boot = 100.0
        self.wall = 1_760_000_000.0

    def pass_(self, seconds: float, *, wall: float | None = None) -> None:
        self.boot += seconds
        self.wall += seconds if wall is None else wall


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def suspension(clocks: Clocks) -> Suspension:
    return Suspension(lambda: clocks.boot, lambda: clocks.wall)


def test_given_a_loop_that_turns_then_it_wasnt_away(suspension: Suspension, clocks: Clocks) -> None:
    clocks.pass_(TURN_S)
    assert suspension.away_s() == 0


@pytest.mark.parametrize(("boot", "wall"), [(20.0, 20.0), (20.0, 0.0), (0.1, 20.0)])
def test_given_either_clock_jumped_when_asked_then_it_was_away_until_that_is_confirmed(
    suspension: Suspension, clocks: Clocks, boot: float, wall: float
) -> None:
    clocks.pass_(boot, wall=wall)
    assert suspension.away_s() == pytest.approx(20.0)
    assert suspension.away_s() == pytest.approx(20.0)
    suspension.confirmed()
    assert suspension.away_s() == 0


async def test_given_the_loops_own_turn_comes_first_then_the_suspension_is_still_found(
    suspension: Suspension, clocks: Clocks
) -> None:
    suspension.start()
    clocks.pass_(LIMIT_S + 1)
    suspension._turn()
    assert suspension.away_s() == pytest.approx(LIMIT_S + 1)
    suspension.stop()


def test_given_the_wall_clock_is_set_back_then_that_is_no_suspension(suspension: Suspension, clocks: Clocks) -> None:
    clocks.pass_(0.1, wall=-3600)
    assert suspension.away_s() == 0
