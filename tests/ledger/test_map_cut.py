from __future__ import annotations

from dataclasses import replace

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from replicator.ledger.map_cut import cut_map, tail_suffices
from replicator.ledger.map_reader import map_of
from replicator.ledger.map_tail import MapTail
from replicator.ledger.map_thinning import thin
from tests.ledger.offset_map_model import Model, check_bounded, check_exact
from tests.ledger.test_entry import ENTRY


def drain(tail: MapTail, topic: dict[int, bytes]) -> None:
    written = tail.flush()
    topic.update(written)
    if written:
        tail.flushed([number for number, _ in written])


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 5)), min_size=1, max_size=5),
    st.sampled_from([3, 70, 700]),
    st.booleans(),
    st.floats(0, 1),
)
@settings(max_examples=25, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
def test_given_a_map_cut_anywhere_then_it_is_as_right_as_before_and_goes_on_strictly(
    pattern: list[tuple[int, int, int]], steps: int, thinned: bool, where: float
) -> None:
    model, tail, topic = Model(), MapTail(), dict[int, bytes]()
    for n in range(steps):
        model.run(pattern, tail.add)
        if n % 20 == 0:
            drain(tail, topic)
    drain(tail, topic)
    if thinned:
        topic = {n: value for n, value in {**topic, **dict(thin(topic, 2_500))}.items() if value is not None}
    entry = replace(ENTRY, map_chunks=tail.chunks, map_tail=tail.encoded())
    cut_at = round(model.source_next * where)
    chunks = {} if tail_suffices(entry, cut_at) else topic
    map_chunks, map_tail, written = cut_map(entry, chunks, cut_at)
    topic.update(written)  # what follows the cut stays in the topic, and isn't known any more

    model.records = {source: target for source, target in model.records.items() if source < cut_at}
    model.source_next = cut_at
    if thinned and not map_chunks and not map_tail:
        model.records = {}  # begun anew
    if not thinned and model.records:
        check_exact(map_of(replace(entry, map_chunks=map_chunks, map_tail=map_tail), topic), model)
    again = MapTail(map_chunks, map_tail)
    for _ in range(steps):
        model.run(pattern, again.add)
        drain(again, topic)
    found = map_of(replace(entry, map_chunks=again.chunks, map_tail=again.encoded()), topic)
    (check_bounded if thinned else check_exact)(found, model)
