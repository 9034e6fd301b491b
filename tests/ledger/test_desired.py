"""What is wanted of topics: the order of the log decides, and "all" means all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.ledger.desired import NOTHING_SAID, WANTED, Desired, DesiredStates, encode_desired, encode_for
from replicator.states import State

TOPICS = ("a", "b", "c")
STATES = st.sampled_from(sorted(WANTED))
COMMANDS = st.lists(st.tuples(st.one_of(st.none(), st.sets(st.sampled_from(TOPICS))), STATES), max_size=12)


@given(COMMANDS)
def test_given_commands_then_each_topic_is_as_the_last_one_says_that_named_it_or_all(
    commands: list[tuple[set[str] | None, State]],
) -> None:
    states = DesiredStates()
    expected = dict.fromkeys((*TOPICS, "later"), State.COPYING)
    log: dict[bytes, bytes | None] = {}
    for number, (topics, state) in enumerate(commands):
        for key, value in encode_for(topics, Desired(state, "me", number), states):
            assert states.take(key, value)
            log.pop(key, None)  # as compaction does: the last of each key, where it stands
            log[key] = value
        for topic in expected if topics is None else topics:
            expected[topic] = state
    compacted = DesiredStates()
    for key, value in log.items():
        compacted.take(key, value)
    for topic, state in expected.items():
        assert states.of(topic).state is state
        assert compacted.of(topic).state is state


@pytest.mark.parametrize(
    "value", [b"", b"{}", b'{"version":2,"state":"PAUSED"}', b"\xff", b'{"version":1,"state":"FAULTED"}']
)
def test_given_a_record_that_cannot_be_read_then_nothing_changes(value: bytes) -> None:
    states = DesiredStates()
    states.take(*encode_desired("a", Desired(State.PAUSED, "me", 1)))
    assert not states.take(b"desired/a", value)
    assert states.of("a").state is State.PAUSED
    assert not states.take(b"other", b"{}")
    assert states.of("b") == NOTHING_SAID
