"""More runs in one commit than an entry's tail could ever hold: sources with a hole behind every record."""

from __future__ import annotations

from dataclasses import replace

from replicator.ledger.entry import MAP_TAIL_MAX_BYTES, decode, encode_entry, encode_key
from replicator.ledger.map_reader import map_of
from replicator.ledger.map_tail import CHUNK_BYTES, MapTail
from tests.ledger.offset_map_model import Model, check_exact, drain
from tests.ledger.test_entry import ENTRY


def test_given_fifteen_thousand_runs_in_one_commit_then_chunks_and_tail_stay_small_and_exact() -> None:
    model, tail, topic = Model(), MapTail(), dict[int, bytes]()
    for commit in (15_000, 1, 200):
        model.run([(1, commit % 2, 1)] * commit, tail.add)
        written, (chunks, encoded) = tail.flush(), tail.after_flush()
        assert all(len(value) < CHUNK_BYTES + 100 for _, value in written)
        drain(tail, topic)
        assert (chunks, encoded) == (tail.chunks, tail.encoded())
        assert len(encoded) < MAP_TAIL_MAX_BYTES // 8
        entry = replace(ENTRY, map_chunks=chunks, map_tail=encoded)
        assert decode(encode_key(entry.topic, entry.partition), encode_entry(entry)) == entry
        check_exact(map_of(entry, topic), model)


def test_given_the_widest_holes_then_an_entry_still_holds_the_tail() -> None:
    tail = MapTail()
    for n in range(15_000):
        tail.add(n << 48, n << 48, 1 << 40)
    written, (_, encoded) = tail.flush(), tail.after_flush()
    assert len(encoded) <= MAP_TAIL_MAX_BYTES
    assert max(len(value) for _, value in written) < CHUNK_BYTES + 100
    for n in range(15_000, 15_040):  # and while these are being written
        tail.add(n << 48, n << 48, 1 << 40)
    assert len(tail.after_flush()[1]) <= MAP_TAIL_MAX_BYTES
