from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.ledger.entry import LedgerFormatError, encode_entry, encode_key
from replicator.ledger.load import entries_from_records
from replicator.ledger.selection import TopicProblem
from replicator.ledger.topic_problem import problem_changes, problems_from_records
from replicator.states import Reason
from tests.ledger.test_entry import ENTRY, TOPICS

PROBLEMS = st.dictionaries(TOPICS, st.builds(TopicProblem, st.sampled_from(Reason), st.text(max_size=2000)), max_size=4)


@given(st.lists(PROBLEMS, max_size=5))
def test_given_problems_that_come_and_go_when_written_then_reading_them_all_gives_the_last_ones(
    history: list[dict[str, TopicProblem]],
) -> None:
    log: list[tuple[bytes | None, bytes | None]] = []
    known = problems_from_records(log)
    for now_ms, current in enumerate(history):
        records, known = problem_changes(known, current, now_ms)
        log += records
        assert problems_from_records(log) == known
        assert {topic: problem.reason for topic, problem in known.items()} == {t: p.reason for t, p in current.items()}
        assert problem_changes(known, current, now_ms + 100)[0] == []


def test_given_a_problem_whose_detail_changes_when_written_then_it_keeps_its_time_until_the_reason_changes() -> None:
    _, known = problem_changes({}, {"t": TopicProblem(Reason.TOPIC_REFUSED, "a")}, 1)
    _, known = problem_changes(known, {"t": TopicProblem(Reason.TOPIC_REFUSED, "b")}, 2)
    assert (known["t"].detail, known["t"].since_ms) == ("b", 1)
    _, known = problem_changes(known, {"t": TopicProblem(Reason.NOT_AUTHORIZED, "b")}, 3)
    assert known["t"].since_ms == 3


def test_given_entries_beside_problems_when_either_is_read_then_the_other_is_passed_over() -> None:
    records, _ = problem_changes({}, {"orders": TopicProblem(Reason.TOPIC_REFUSED, "a")}, 1)
    log = [*records, (encode_key("orders", 3), encode_entry(ENTRY))]
    assert problems_from_records(log).keys() == {"orders"}
    assert entries_from_records(log) == {("orders", 3): ENTRY}


def test_given_a_newer_or_damaged_record_when_read_then_it_is_refused() -> None:
    ((key, value),), _ = problem_changes({}, {"orders": TopicProblem(Reason.TOPIC_REFUSED, "a")}, 1)
    assert value is not None
    for damaged in (b"\x02" + value[1:], value[:3], b""):
        with pytest.raises(LedgerFormatError):
            problems_from_records([(key, damaged)])
