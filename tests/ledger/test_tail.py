"""How much a tail says was copied: exact, whatever is left of it, or a fault."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.ledger.entry import Entry, Gap, State, Way
from replicator.ledger.tail import Copied, Tail, copied_since
from replicator.states import PartitionFault, Reason
from replicator.wire import batch as v2
from replicator.wire.producer_id import ProducerIdAndEpoch
from tests.flow import logs

OWN, OWNER, FOREIGN = ProducerIdAndEpoch(7, 3), ProducerIdAndEpoch(7, 9), ProducerIdAndEpoch(66, 0)
LATER = [ProducerIdAndEpoch(7, 4), ProducerIdAndEpoch(7, 6), ProducerIdAndEpoch(8, 0), ProducerIdAndEpoch(8, 1)]
PRODUCERS = frozenset({7, 8})
SEQUENCES = 1 << 31
START = 1000


def entry_of(next_sequence: int, own: ProducerIdAndEpoch = OWN) -> Entry:
    return Entry(
        topic="orders",
        partition=2,
        source_topic_id=logs.TOPIC_ID,
        source_leader_epoch=0,
        target_topic="us.orders",
        target_topic_id=logs.TARGET_ID,
        source_next=500,
        target_next=START,
        producer_id=own.producer_id,
        producer_epoch=own.epoch,
        next_sequence=next_sequence,
        state=State.COPYING,
        reason=None,
        detail="",
        since_ms=0,
        record_timestamp_ms=-1,
        written_ms=0,
        way=Way.FENCED,
    )


def header(
    base: int, length: int, producer: ProducerIdAndEpoch, sequence: int, *, attributes: int = 0, records: int = -1
) -> v2.BatchHeader:
    """A batch header of so many offsets; `records` of them have a record, all unless said."""
    return v2.BatchHeader(
        base, 100, 0, 2, 0, attributes, length - 1, 5, base, *producer, sequence, length if records < 0 else records
    )


def marker(base: int, producer: ProducerIdAndEpoch) -> v2.BatchHeader:
    return header(base, 1, producer, -1, attributes=v2.CONTROL | v2.TRANSACTIONAL)


def read(entry: Entry, headers: list[v2.BatchHeader], log_start: int = 0) -> tuple[Tail, Copied]:
    tail = Tail(entry, OWNER, PRODUCERS)
    tail.begin_at(log_start)
    for each in headers:
        tail.take(each)
    assert tail.done
    return tail, copied_since(entry, tail)


def outcome(entry: Entry, headers: list[v2.BatchHeader], log_start: int) -> Copied | PartitionFault:
    try:
        return read(entry, headers, log_start)[1]
    except PartitionFault as fault:
        return fault


@dataclass
class History:
    """What was written behind the entry; `truth` are the target offsets of the copied records, in order."""

    entry: Entry
    headers: list[v2.BatchHeader]
    truth: list[int]
    end: int
    foreign: int


@st.composite
def histories(draw: st.DrawFn) -> History:
    first = draw(st.sampled_from([0, 5, SEQUENCES - 1, SEQUENCES - 7]))
    first_writer = draw(st.booleans())  # whether the entry names a producer
    entry = entry_of(first if first_writer else 0, OWN if first_writer else ProducerIdAndEpoch(-1, -1))
    writers = [*([OWN] if first_writer else []), *draw(st.lists(st.sampled_from(LATER), unique=True, max_size=3))]
    writers.sort(key=lambda p: (p.producer_id, p.epoch))
    headers: list[v2.BatchHeader] = []
    truth: list[int] = []
    offset, foreign = START, 0
    for writer in writers:
        sequence = first if writer == OWN else 0
        if writer != OWN and draw(st.booleans()):
            headers.append(marker(offset, writer))
            offset += 1
        for _ in range(draw(st.integers(0, 4))):
            kind = draw(st.sampled_from(["copy", "copy", "copy", "foreign", "transactional", "marker"]))
            length = 1 if kind == "marker" else draw(st.integers(1, 5))
            if kind == "copy":
                headers.append(header(offset, length, writer, sequence))
                truth += range(offset, offset + length)
                sequence = (sequence + length) % SEQUENCES
            elif kind == "foreign":
                headers.append(header(offset, length, FOREIGN, 0))
                foreign += 1
            elif kind == "transactional":
                headers.append(header(offset, length, ProducerIdAndEpoch(8, 0), 0, attributes=v2.TRANSACTIONAL))
            else:
                headers.append(marker(offset, FOREIGN))
            offset += length
    headers.append(marker(offset, OWNER))
    return History(entry, headers, truth, offset + 1, foreign)


def places_of(copied: Copied) -> dict[int, int]:
    return {place.first + n: place.target + n for place in copied.places for n in range(place.length)}


@given(histories())
def test_given_a_whole_tail_when_counted_then_exactly_what_was_copied(history: History) -> None:
    tail, copied = read(history.entry, history.headers)
    assert copied.count == len(history.truth)
    assert copied.complete
    assert places_of(copied) == dict(enumerate(history.truth))
    assert (tail.marker + 1, tail.next_offset, tail.foreign) == (history.end, history.end, history.foreign)


@given(histories(), st.data())
def test_given_a_tail_with_losses_when_counted_then_the_truth_or_a_fault(history: History, data: st.DataObject) -> None:
    kept: list[v2.BatchHeader] = []
    for each in history.headers[:-1]:
        what = data.draw(st.sampled_from(["keep", "keep", "thin", "empty", "drop"]))
        if what == "keep" or each.attributes & v2.CONTROL:
            kept.append(each)
        elif what != "drop":
            kept.append(each._replace(record_count=0 if what == "empty" else each.record_count // 2))
    log_start = data.draw(st.one_of(st.just(0), st.integers(START, history.end - 1)))
    kept = [each for each in kept if each.base_offset + each.last_offset_delta >= log_start]
    lost = log_start > START or len(kept) + 1 < len(history.headers)
    found = outcome(history.entry, [*kept, history.headers[-1]], log_start)
    if isinstance(found, PartitionFault):
        assert lost, found
        assert found.reason is Reason.RECOVERY_AMBIGUOUS
        assert "us.orders-2" in found.detail
        assert found.topic == "orders"
    else:
        assert found.count == len(history.truth)
        assert places_of(found).items() <= dict(enumerate(history.truth)).items()


@given(histories(), st.data())
def test_given_a_compacted_tail_with_the_last_batches_kept_when_counted_then_no_fault(
    history: History, data: st.DataObject
) -> None:
    mine = [h for h in history.headers if h.producer_id == OWN.producer_id and h.producer_epoch == OWN.epoch]
    history.headers = [h for h in history.headers if h in mine] + [history.headers[-1]]
    kept = [h._replace(record_count=0) for h in mine if h is mine[-1] or data.draw(st.booleans())]
    if not kept or kept[-1].base_offset + kept[-1].last_offset_delta + 1 != history.end - 1:
        return
    _, copied = read(history.entry, [*kept, history.headers[-1]])
    last = (kept[-1].base_sequence + kept[-1].last_offset_delta) % SEQUENCES
    assert copied.count == (last + 1 - history.entry.next_sequence) % SEQUENCES


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ([header(START, 5, OWN, 10), header(START + 5, 5, OWN, 10)], "sequence 10, 15 was to follow"),  # twice
        ([header(START, 5, OWN, 10), header(START + 5, 5, OWN, 16)], "sequence 16, 15 was to follow"),  # a jump
        ([header(START, 5, OWN, 9)], "sequence 9, 10 was to follow"),  # before the entry
        ([header(START, 5, LATER[0], 3)], "sequence 3, 0 was to follow"),
        ([header(START, 5, LATER[0], 0), header(START + 5, 5, OWN, 10)], "behind a later one"),
        ([header(START + 1, 5, LATER[0], 0)], "are gone"),
        ([header(START, 5, OWN, 10), header(START + 6, 5, LATER[0], 0)], "are gone"),
    ],
)
def test_given_sequences_that_no_writer_makes_when_counted_then_ambiguous(
    headers: list[v2.BatchHeader], why: str
) -> None:
    end = headers[-1].base_offset + headers[-1].last_offset_delta + 1
    with pytest.raises(PartitionFault, match=why) as caught:
        read(entry_of(10), [*headers, marker(end, OWNER)])
    assert caught.value.reason is Reason.RECOVERY_AMBIGUOUS


def test_given_a_long_tail_when_read_then_it_is_kept_as_one_span() -> None:
    tail = Tail(entry_of(0), OWNER, PRODUCERS)
    for n in range(10_000):
        tail.take(header(START + 10 * n, 10, OWN, 10 * n))
    assert len(tail.spans) == 1
    assert not tail.done


def test_given_a_tail_in_too_many_pieces_when_read_then_ambiguous(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replicator.ledger.tail.MAX_SPANS", 3)
    tail = Tail(entry_of(0), OWNER, PRODUCERS)
    for n in range(3):
        tail.take(header(START + 2 * n, 1, OWN, n))
        tail.take(header(START + 2 * n + 1, 1, FOREIGN, n))
    with pytest.raises(PartitionFault, match="more than 3 pieces"):
        tail.take(header(START + 6, 1, OWN, 3))


def test_given_batches_behind_the_marker_when_read_then_they_arent_seen() -> None:
    tail = Tail(entry_of(0), OWNER, PRODUCERS)
    for each in (header(START - 3, 3, OWN, SEQUENCES - 3), marker(START, OWNER), header(START + 1, 5, OWN, 0)):
        tail.take(each)
    assert (tail.marker, tail.spans, tail.next_offset) == (START, [], START + 1)


@pytest.mark.parametrize(
    ("before", "next_sequence", "cut"),
    [
        (header(START - 3, 3, OWN, 7), 10, False),
        (marker(START - 1, OWN), 0, False),
        (marker(START - 1, ProducerIdAndEpoch(8, 0)), 10, False),  # the lane's transactions came before
        (header(START - 3, 3, FOREIGN, 7), 0, False),  # nothing was copied yet
        (header(START - 3, 3, OWN, 6), 10, True),
        (header(START - 3, 5, OWN, 7), 10, True),  # entries stand between batches
        (marker(START - 1, ProducerIdAndEpoch(OWN.producer_id, OWN.epoch + 1)), 10, True),  # a later takeover's
        (marker(START - 1, OWNER), 10, True),
        (marker(START - 1, FOREIGN), 10, True),
    ],
)
def test_given_the_batch_before_the_tail_when_it_isnt_what_stood_there_then_the_target_was_cut(
    before: v2.BatchHeader, next_sequence: int, cut: bool
) -> None:
    tail = Tail(entry_of(next_sequence), OWNER, PRODUCERS)
    assert tail.position == START - 1
    if cut:
        with pytest.raises(PartitionFault) as caught:
            tail.take(before)
        assert caught.value.reason is Reason.TARGET_TRUNCATED
    else:
        tail.take(before)
        tail.take(marker(START, OWNER))
        assert copied_since(entry_of(next_sequence), tail).count == 0


def test_given_a_gap_that_was_just_accepted_when_read_then_whatever_stands_before_is_right() -> None:
    gap = Gap(Reason.RECOVERY_AMBIGUOUS, 1, 2, 3, 4, at_ms=9, by="somebody")
    entry = replace(entry_of(10), gaps=(gap,), written_ms=9)
    tail = Tail(entry, OWNER, PRODUCERS)
    tail.take(marker(START - 1, LATER[1]))
    tail.take(marker(START, OWNER))
    assert copied_since(entry, tail).count == 0


def test_given_a_log_that_others_write_too_then_what_stands_before_the_entry_proves_nothing() -> None:
    for before in (header(START - 2, 2, FOREIGN, 0), header(START - 1, 4, FOREIGN, 0)):
        tail = Tail(entry_of(40), OWNER, PRODUCERS, shared=True)
        tail.take(before)
        tail.take(header(START + 3, 2, OWN, 40))
        tail.take(header(START + 5, 2, FOREIGN, 9))
        tail.take(header(START + 7, 1, OWN, 42))
        tail.take(marker(START + 8, OWNER))
        assert copied_since(entry_of(40), tail).count == 3
        with pytest.raises(PartitionFault):
            Tail(entry_of(40), OWNER, PRODUCERS).take(before)


def test_given_a_log_that_others_write_too_when_our_own_batch_before_the_entry_is_another_then_it_was_cut() -> None:
    tail = Tail(entry_of(40), OWNER, PRODUCERS, shared=True)
    with pytest.raises(PartitionFault, match="cut"):
        tail.take(header(START - 2, 2, OWN, 20))
