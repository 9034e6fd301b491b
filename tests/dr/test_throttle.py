"""What is read stays below the rate."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from replicator.dr.throttle import Throttle


@given(st.lists(st.tuples(st.integers(0, 5000), st.floats(0, 2)), min_size=1, max_size=30))
def test_given_any_reads_and_pauses_then_the_rate_holds_but_for_a_quarter_second(
    reads: list[tuple[int, float]],
) -> None:
    now, total = 0.0, 0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    throttle = Throttle(1000, now=lambda: now, sleep=sleep)
    for size, pause in reads:
        throttle.took(size)
        total += size
        assert total <= 1000 * (now + 0.25) + 1e-6
        now += pause


def test_given_no_rate_then_it_never_sleeps() -> None:
    def sleep(seconds: float) -> None:
        raise AssertionError

    Throttle(None, sleep=sleep).took(1 << 40)
