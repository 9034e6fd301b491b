"""What a group has read in a log where copies and natives take turns, against lists of records."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from replicator.ledger.map_chunks import Stretch
from replicator.ledger.offset_map import OffsetMap
from replicator.sync.one_name import Side, first_unread

COPY, NATIVE, NOTHING = "copy", "native", "nothing"


def side(log: list[str], kind: str, known_to: int, *, of_target: bool) -> Side:
    """What a link knows of its records in this log, below an offset; on the other side they lie without gaps."""
    known = OffsetMap()
    places = [at for at, what in enumerate(log[:known_to]) if what == kind]
    for other, at in enumerate(places):
        run = Stretch(other, at, 1) if of_target else Stretch(at, other, 1)
        known._push(run)
    return Side(known, known_to)


def natural(log: list[str], kind: str, read: int) -> int:
    """Behind the first `read` records of a kind: where the next one is, or behind all that is known."""
    places = [at for at, what in enumerate(log) if what == kind]
    return places[read] if read < len(places) else len(log)


@given(
    log=st.lists(st.sampled_from([COPY, NATIVE, NOTHING]), max_size=30),
    copies=st.integers(0, 30), natives=st.integers(0, 30), own=st.integers(0, 30), opposite=st.integers(0, 30),
)  # fmt: skip
def test_given_any_log_then_no_unread_record_is_passed(
    log: list[str], copies: int, natives: int, own: int, opposite: int
) -> None:
    own, opposite = min(own, len(log)), min(opposite, len(log))
    # Beyond what a link knows it says where it has got to, which may be early, never late.
    copies_read = min(natural(log, COPY, copies), own)
    natives_read = min(natural(log, NATIVE, natives), opposite)
    found = first_unread(
        copies_read, natives_read, side(log, COPY, own, of_target=True), side(log, NATIVE, opposite, of_target=False)
    )
    assert min(copies_read, natives_read) <= found <= max(copies_read, natives_read)
    passed = list(enumerate(log))[:found]
    assert all(at < copies_read for at, what in passed if what == COPY)
    assert all(at < natives_read for at, what in passed if what == NATIVE)


def test_given_that_the_sides_were_written_one_after_the_other_and_all_is_read_then_nothing_is_read_again() -> None:
    log = [NATIVE] * 3 + [COPY] * 2 + [NATIVE] * 4
    knows_copies, knows_natives = side(log, COPY, 5, of_target=True), side(log, NATIVE, 9, of_target=False)
    assert first_unread(5, 9, knows_copies, knows_natives) == 9


def test_given_an_offset_that_the_other_link_has_not_come_to_then_it_is_not_passed() -> None:
    log = [NATIVE] * 3 + [COPY] * 2 + [NATIVE] * 4
    knows_copies, knows_natives = side(log, COPY, 5, of_target=True), side(log, NATIVE, 7, of_target=False)
    assert first_unread(5, 7, knows_copies, knows_natives) == 7
