"""A naive offset map to hold the real one against: a dictionary of every record."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable

from hypothesis import strategies as st

from replicator.ledger.offset_map import MapTail, OffsetMap

GAPS = st.sampled_from([0, 0, 0, 1, 1, 2, 14, 15, 16, 300])
LENGTHS = st.sampled_from([1, 1, 2, 3, 100, 127, 128, 129, 200])
STEPS = st.lists(st.tuples(GAPS, GAPS, LENGTHS), max_size=40)

Add = Callable[[int, int, int], None]


class Model:
    """Every copied record: source offset -> target offset."""

    def __init__(self) -> None:
        self.records: dict[int, int] = {}
        self.source_next = 0
        self.target_next = 0

    def step(self, source_gap: int, target_gap: int, length: int, add: Add) -> None:
        """Skip so much on either side, then copy so many records; tell `add`."""
        source, target = self.source_next + source_gap, self.target_next + target_gap
        self.records.update((source + n, target + n) for n in range(length))
        self.source_next, self.target_next = source + length, target + length
        add(source, target, length)

    def run(self, steps: Iterable[tuple[int, int, int]], add: Add) -> None:
        """Many steps."""
        for step in steps:
            self.step(*step, add)

    def copy(self) -> Model:
        """An independent copy."""
        other = Model()
        other.records = dict(self.records)
        other.source_next, other.target_next = self.source_next, self.target_next
        return other


def first_at_or_after(pairs: dict[int, int], offset: int) -> int | None:
    """The value of the smallest key that isn't below `offset`."""
    keys = list(pairs)
    at = bisect_left(keys, offset)
    return pairs[keys[at]] if at < len(keys) else None


def check_exact(found: OffsetMap, model: Model) -> None:
    """Both directions, every offset, in gaps and beyond the ends too."""
    forward, back = model.records, {target: source for source, target in model.records.items()}
    for pairs, translate, bound in (
        (forward, found.to_target, found.error_bound),
        (back, found.to_source, found.error_bound_reverse),
    ):
        expected: int | None = None
        for offset in range(max(pairs, default=0) + 3, -2, -1):  # downwards: the first one at or after it so far
            expected = pairs.get(offset, expected)
            assert (offset, translate(offset)) == (offset, expected)
            assert bound(offset) == 0
    assert found.exact


def check_bounded(found: OffsetMap, model: Model) -> int:
    """Never behind the exact position, and before it by at most the bound; the largest error that was seen."""
    forward, back = model.records, {target: source for source, target in model.records.items()}
    worst = 0
    for pairs, translate, bound in (
        (forward, found.to_target, found.error_bound),
        (back, found.to_source, found.error_bound_reverse),
    ):
        expected: int | None = None
        later: int | None = None
        for offset in range(max(pairs, default=0) + 3, -2, -1):
            expected = pairs.get(offset, expected)
            answer = translate(offset)
            if expected is None:
                assert answer is None, offset
                continue
            assert answer is not None, offset
            assert 0 <= expected - answer <= bound(offset), (offset, expected, answer, bound(offset))
            assert later is None or answer <= later, offset
            worst, later = max(worst, expected - answer), answer
    return worst


def drain(tail: MapTail, chunks: dict[int, bytes]) -> None:
    """Write what is to be flushed."""
    written = tail.flush()
    chunks.update(written)
    if written:
        tail.flushed([number for number, _ in written])
