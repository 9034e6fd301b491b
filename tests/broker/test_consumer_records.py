"""What is stored of consumer groups: written and read back, changed step by step, and damaged."""

from __future__ import annotations

import uuid

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.groups.consumer_member import ConsumerMember, MemberState
from broker.groups.consumer_records import (
    ConsumerKey,
    GroupSnapshot,
    ResolvedRegex,
    apply,
    decode_key,
    difference,
    tombstones,
)
from broker.groups.internal_topic import Pair

text = st.text(max_size=200)
int32 = st.integers(-(2**31), 2**31 - 1)
int64 = st.integers(-(2**63), 2**63 - 1)
topic_ids = st.integers(1, 3).map(lambda number: uuid.UUID(int=number))
assignments = st.frozensets(st.tuples(topic_ids, st.integers(0, 300)), max_size=20)
ids = st.sampled_from(["a", "b", "", "member é"])


@st.composite
def snapshots(draw: st.DrawFn) -> GroupSnapshot:
    members = {
        member_id: ConsumerMember(
            member_id,
            draw(st.none() | text),
            draw(st.none() | text),
            draw(text),
            draw(text),
            draw(int32),
            draw(st.frozensets(text, max_size=5)),
            draw(text),
            draw(st.none() | text),
            draw(int32),
            draw(int32),
            draw(st.sampled_from(MemberState)),
            draw(assignments),
            draw(assignments),
        )
        for member_id in draw(st.frozensets(ids))
    }
    regexes = st.dictionaries(text, st.builds(ResolvedRegex, st.frozensets(text, max_size=5), int64), max_size=3)
    targets = st.fixed_dictionaries(dict.fromkeys(members, assignments))
    return GroupSnapshot(draw(int32), draw(int64), draw(int32), members, draw(targets), draw(regexes))


def replayed(snapshot: GroupSnapshot, pairs: list[Pair]) -> GroupSnapshot:
    for key, value in pairs:
        decoded = decode_key(key)
        assert decoded is not None
        assert decoded.encode() == key
        snapshot = apply(snapshot, decoded, value)
    return snapshot


@settings(max_examples=40)
@given(first=snapshots(), second=snapshots())
def test_given_any_two_states_when_the_difference_is_applied_then_the_first_becomes_the_second(
    first: GroupSnapshot, second: GroupSnapshot
) -> None:
    written = replayed(GroupSnapshot(), difference("g", GroupSnapshot(), first))
    assert written == first
    assert replayed(written, difference("g", first, second)) == second
    assert difference("g", second, second) == []


@settings(max_examples=40)
@given(snapshot=snapshots())
def test_given_any_state_when_deleted_then_nothing_is_left(snapshot: GroupSnapshot) -> None:
    pairs = tombstones("g", snapshot)
    assert {value for _, value in pairs} == {None}
    assert replayed(snapshot, pairs) == GroupSnapshot()
    written = {key for key, _ in difference("g", GroupSnapshot(), snapshot)}
    assert written <= {key for key, _ in pairs}


@settings(max_examples=40)
@given(snapshot=snapshots(), data=st.data())
def test_given_damaged_records_when_read_then_it_is_a_value_error(snapshot: GroupSnapshot, data: st.DataObject) -> None:
    for key, value in difference("g", GroupSnapshot(), snapshot):
        assert value is not None
        cut = data.draw(st.integers(0, len(value)))
        noise = data.draw(st.binary(max_size=6))
        decoded = decode_key(key)
        assert decoded is not None
        try:
            apply(GroupSnapshot(), decoded, value[:cut] + noise)
        except ValueError:  # of which UnicodeDecodeError is one
            continue


def test_given_keys_of_other_kinds_when_decoded_then_they_are_passed_over() -> None:
    assert decode_key(b"\x00\x01\x00\x01g\x00\x01t\x00\x00\x00\x00") is None
    assert decode_key(b"\x00\x0b\x00\x01g") is None
    assert decode_key(b"\x00\x05\x00\x01g\x00\x01m") == ConsumerKey(5, "g", "m")
