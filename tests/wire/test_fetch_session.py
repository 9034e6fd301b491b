"""FetchSession against a model of the broker's session cache (KIP-227), by random schedules."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from replicator.wire.fetch import FetchPosition
from replicator.wire.fetch_session import FetchSession

KEYS = st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 2))
Key = tuple[str, int]


class SessionMachine(RuleBasedStateMachine):
    """A: after each accepted request the broker holds what is wanted. B: only changes are sent. C: errors reset."""

    def __init__(self) -> None:
        super().__init__()
        self.session = FetchSession()
        self.wanted: dict[Key, FetchPosition] = {}
        self.held: dict[Key, FetchPosition] | None = None  # by the broker; None: no session
        self.broker_id = self.broker_epoch = 0
        self.has_room = True
        self.under_way = False
        self.as_of: dict[Key, FetchPosition] = {}
        self.sessions = 0

    @rule(key=KEYS, offset=st.integers(0, 3))
    def want(self, key: Key, offset: int) -> None:
        position = FetchPosition(key[1], 0, offset, -1, 1)
        self.session.want(key, position)
        self.wanted[key] = position

    @rule(key=KEYS)
    def drop(self, key: Key) -> None:
        self.session.drop(key)
        self.wanted.pop(key, None)

    @precondition(lambda self: not self.under_way)
    @rule()
    def send(self) -> None:
        before = dict(self.held) if self.held is not None and self.session.epoch else {}
        topics, forgotten = self.session.plan()
        sent = {(topic, p.partition): p for topic, positions in topics.items() for p in positions}
        gone = {(topic, index) for topic, indexes in forgotten.items() for index in indexes}
        self.full = self.session.epoch == 0
        assert not (sent.keys() & gone)
        if self.full:  # a new session, or none
            assert self.session.session_id == 0
            assert sent == self.wanted
            assert not gone
        else:
            assert gone <= before.keys()
            assert all(key in self.wanted for key in sent)
            assert before.keys() - gone | sent.keys() == self.wanted.keys()
        self.as_of = dict(self.wanted)
        assert all(self.session.asked(key) == position for key, position in self.wanted.items())
        self.sent, self.gone = sent, gone
        self.under_way = True

    @precondition(lambda self: self.under_way)
    @rule()
    def accept(self) -> None:
        self.under_way = False
        if self.full:
            if not self.has_room:
                self.session.answered(0)
                self.held = None
                return
            self.sessions += 1
            self.broker_id, self.broker_epoch = 1000 + self.sessions, 1
            self.held = dict(self.sent)
        else:
            assert self.held is not None
            assert (self.session.session_id, self.session.epoch) == (self.broker_id, self.broker_epoch)
            self.held.update(self.sent)
            for key in self.gone:
                del self.held[key]
            self.broker_epoch = 1 if self.broker_epoch == 2**31 - 1 else self.broker_epoch + 1
        self.session.answered(self.broker_id)
        assert self.held == self.as_of  # invariant A

    @precondition(lambda self: self.under_way)
    @rule()
    def refuse(self) -> None:
        self.under_way = False
        self.session.reset()
        assert (self.session.session_id, self.session.epoch) == (0, 0)  # invariant C

    @precondition(lambda self: not self.under_way and self.held is not None)
    @rule()
    def reach_the_last_epoch(self) -> None:
        if self.session.epoch:
            self.session.epoch = self.broker_epoch = 2**31 - 1

    @rule()
    def change_room(self) -> None:
        self.has_room = not self.has_room

    @invariant()
    def it_is_as_large_as_what_is_wanted(self) -> None:
        assert len(self.session) == len(self.wanted)


SessionMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_invariants_a_and_c_under_any_schedule = SessionMachine.TestCase


def position(offset: int, partition: int = 0) -> FetchPosition:
    return FetchPosition(partition, 0, offset, -1, 1)


def test_invariant_b_what_has_not_changed_is_not_sent_again() -> None:
    session = FetchSession()
    for n in range(100):
        session.want(("t", n), position(0, n))
    session.plan()
    session.answered(5)
    session.want(("t", 7), position(0, 7))
    assert session.plan() == ({}, {})
    session.answered(5)
    session.want(("t", 7), position(1, 7))
    assert session.plan() == ({"t": [position(1, 7)]}, {})


def test_given_no_room_for_sessions_then_what_was_just_read_is_asked_for_last() -> None:
    session = FetchSession()
    for n in range(3):
        session.want(("t", n), position(0, n))
    session.plan()
    session.want(("t", 0), position(5, 0))
    session.answered(0)
    topics, _ = session.plan()
    assert [p.partition for p in topics["t"]] == [1, 2, 0]


def test_given_a_request_under_way_then_a_new_position_is_not_what_it_asked_for() -> None:
    session = FetchSession()
    session.want(("t", 0), position(10))
    session.plan()
    session.drop(("t", 0))
    session.want(("t", 0), position(3))
    assert session.asked(("t", 0)) == position(10)
    session.answered(5)
    session.plan()
    assert session.asked(("t", 0)) == position(3)
    session.drop(("t", 0))
    session.plan()
    assert session.asked(("t", 0)) is None
