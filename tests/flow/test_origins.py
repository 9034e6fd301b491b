"""What links brought to the source: dropped where it came from the target, else written for its own origin."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from replicator.flow.backpressure import ByteBudget, Lease
from replicator.flow.ports import NATIVE
from replicator.flow.stage import LOOPED, Stage, Staged
from replicator.ledger.walk import Walk
from replicator.states import State
from tests.flow import logs
from tests.flow.logs import Outside, Row, flow_of
from tests.flow.test_stage import source_rows

CLIENT, OTHER_CLIENT, FROM_TARGET, FROM_ASIA, UNKNOWN = 1, 2, 3, 4, 5


class Told:
    """`Origins` as a table."""

    def __init__(self, **known: str) -> None:
        self.known = {CLIENT: NATIVE, OTHER_CLIENT: NATIVE, FROM_TARGET: "eu", FROM_ASIA: "asia"}

    def of(self, producer_id: int) -> str | None:
        return NATIVE if producer_id < 0 else self.known.get(producer_id)

    def passes(self, origin: str) -> bool:
        return origin != "eu"


def log_of(*batches: tuple[int, int]) -> list[bytes]:
    """Batches of (producer id, records), one behind the other."""
    made, offset = [], 0
    for producer_id, count in batches:
        rows = [Row(offset + n, logs.NOW, b"k", b"v%d" % (offset + n), ()) for n in range(count)]
        made.append(logs.batch(rows, producer_id=producer_id))
        offset += count
    return made


def staged_of(batches: list[bytes], start: int = 0, told: Told | None = None) -> Staged:
    stage = Stage("source", told or Told())
    return stage.stage(logs.fetched(*batches), start, Lease(ByteBudget(1 << 30), 0))


def test_given_batches_from_the_target_then_they_are_dropped_and_counted() -> None:
    staged = staged_of(log_of((CLIENT, 20), (FROM_TARGET, 20), (-1, 20), (FROM_TARGET, 5)))
    assert [(batch.source_base, batch.origin) for batch in staged.batches] == [(0, NATIVE), (40, NATIVE)]
    assert staged.dropped == {LOOPED: 2}
    assert staged.looped_records == 25
    assert staged.looped_bytes > 0
    assert staged.next_offset == 65


def test_given_a_producer_nobody_knows_then_it_stops_before_it_and_names_all_unknown_ones() -> None:
    staged = staged_of(log_of((CLIENT, 20), (UNKNOWN, 20), (FROM_TARGET, 20), (6, 20)))
    assert staged.next_offset == 20
    assert staged.unknown == {UNKNOWN, 6}
    assert staged.fault is None
    assert [batch.source_base for batch in staged.batches] == [0]


def test_given_an_unknown_producer_first_then_that_is_no_fault() -> None:
    staged = staged_of(log_of((UNKNOWN, 1), (CLIENT, 1)))
    assert (staged.fault, staged.next_offset, staged.unknown) == (None, 0, {UNKNOWN})


def test_given_control_batches_and_aborted_ones_of_unknown_producers_then_nobody_is_asked() -> None:
    data = [
        logs.batch([Row(0, logs.NOW, b"k", b"v", ())], producer_id=UNKNOWN, transactional=True),
        logs.marker(1, UNKNOWN, commit=False),
        *log_of((CLIENT, 1)),
    ]
    answer = logs.fetched(*data, aborted=[(UNKNOWN, 0)])
    staged = Stage("source", Told()).stage(answer, 0, Lease(ByteBudget(1 << 30), 0))
    assert not staged.unknown
    assert staged.dropped == {"aborted": 1, "control": 1}


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([-1, CLIENT, OTHER_CLIENT, FROM_TARGET, FROM_ASIA]), st.sampled_from([1, 1, 1, 2, 12])
        ),
        min_size=1,
        max_size=40,
    ),
    st.integers(0, 5),
)
def test_given_any_mixture_then_each_batch_is_of_one_origin_and_nothing_is_lost(
    mixture: list[tuple[int, int]], start: int
) -> None:
    told, owner, offset = Told(), {}, 0
    for producer_id, count in mixture:
        owner.update({offset + n: told.of(producer_id) for n in range(count)})
        offset += count
    staged = staged_of(log_of(*mixture), min(start, offset - 1))
    found = {row.offset: batch.origin for batch in staged.batches for row in source_rows(batch)}
    first = min(start, offset - 1)
    assert found == {at: origin for at, origin in owner.items() if origin != "eu" and at >= first}
    assert list(found) == sorted(found)


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.sampled_from([CLIENT, FROM_TARGET, FROM_ASIA]), st.sampled_from([1, 3])), max_size=30),
    st.data(),
)
def test_given_a_walk_over_as_many_records_as_were_copied_then_it_ends_behind_the_last_of_them(
    mixture: list[tuple[int, int]], data: st.DataObject
) -> None:
    copied, offset = [], 0
    for producer_id, count in mixture:
        if producer_id != FROM_TARGET:
            copied += range(offset, offset + count)
        offset += count
    if not copied:
        return
    count = data.draw(st.integers(1, len(copied)))
    walk = Walk(0, count, Told())
    walk.take(logs.fetched(*log_of(*mixture)))
    assert walk.hole is None
    assert walk.done
    assert walk.position == copied[count - 1] + 1


async def test_given_an_unknown_producer_then_the_partition_asks_and_is_fetched_again_from_there() -> None:
    outside, told = Outside(), Told()
    flow = flow_of(outside, stage=Stage("source", told))
    answer = logs.fetched(*log_of((CLIENT, 20), (UNKNOWN, 20)))
    flow.take(answer, Lease(ByteBudget(1 << 30), len(answer.records)))
    assert outside.asked == [{UNKNOWN}]
    assert not flow.fetchable
    assert flow.fetch_offset == 20
    told.known[UNKNOWN] = "eu"
    flow.try_fetching()
    assert flow.fetchable
    assert flow.state is State.COPYING
