"""Control records about the configuration: what was written is read, and nothing else is harmed by it."""

from __future__ import annotations

from uuid import UUID

import pytest

from replicator.ledger.configuration import (
    ConfigurationRecords,
    Reload,
    Reloaded,
    answer_key,
    encode_answer,
    encode_in_force,
    encode_reload,
    reload_key,
)
from replicator.ledger.control import decode_command
from replicator.ledger.lane_trouble import take_trouble

ID = UUID(int=7)
COMMAND = Reload(ID, "ann@host", 5)
ANSWER = Reloaded(ID, "host:12", "abc", "file: a mistake")


def records(*pairs: tuple[bytes | None, bytes | None]) -> ConfigurationRecords:
    made = ConfigurationRecords()
    for key, value in pairs:
        made.take(key, value)
    return made


def test_given_written_records_then_they_are_read_as_they_were() -> None:
    made = records(encode_in_force({"name": "x"}), encode_reload(COMMAND), encode_answer(ANSWER))
    assert made.in_force == {"name": "x"}
    assert made.reloads == {ID: COMMAND}
    assert made.answers == {(ID, "host:12"): ANSWER}


def test_given_tombstones_then_command_and_answer_are_over() -> None:
    over = ((reload_key(ID), None), (answer_key(ID, "host:12"), None))
    made = records(encode_reload(COMMAND), encode_answer(ANSWER), *over)
    assert not made.reloads
    assert not made.answers


@pytest.mark.parametrize(
    "pair",
    [
        (None, b"{}"),
        (b"lane/1", b"{}"),
        (b"reload/nonsense", b"{}"),
        (b"reload/" + str(ID).encode(), b"{}"),
        (b"reload/\xff", b"{}"),
        (b"reloaded/" + str(ID).encode(), b"[]"),
        (b"configuration", b"not json"),
        (b"configuration", b"[1]"),
    ],
)
def test_given_what_is_not_ours_or_can_not_be_read_then_nothing_changes(pair: tuple[bytes | None, bytes]) -> None:
    made = records(encode_in_force({"name": "x"}), encode_reload(COMMAND), pair)
    assert made.in_force == {"name": "x"}
    assert made.reloads == {ID: COMMAND}


def test_given_our_records_then_the_topics_other_readers_pass_over_them() -> None:
    troubles: dict[int, object] = {}
    for key, value in (encode_in_force({"a": 1}), encode_reload(COMMAND), encode_answer(ANSWER)):
        assert decode_command(key, value) is None
        take_trouble(troubles, key, value)  # type: ignore[arg-type]
    assert not troubles
