"""Consumer groups on the wire: which there are, who coordinates them, and their positions, many groups per request.

ListGroups 4-5, FindCoordinator 3-6, OffsetFetch 7-9, OffsetCommit 8-9, OffsetDelete 0, DeleteGroups 2. Brokers before
Kafka 3.0 take one group per FindCoordinator and OffsetFetch: callers ask `groups_per_question` how many they may name.
Positions are committed as `AlterConsumerGroupOffsets` does, without member or generation: the broker itself refuses
that unless the group is empty.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from replicator.errors import ProtocolError
from replicator.wire.connection import QUESTION_TIMEOUT_S, Connection
from replicator.wire.kafka_errors import NONE, BrokerError
from replicator.wire.primitives import (
    INT8,
    INT32,
    NO_TAGS,
    Reader,
    compact_array,
    compact_string,
    string,
)

OFFSET_COMMIT = 8
OFFSET_FETCH = 9
FIND_COORDINATOR = 10
LIST_GROUPS = 16
DELETE_GROUPS = 42
OFFSET_DELETE = 47

MANY_GROUPS = 100  # per request, from Kafka 3.0 on
_FIND_MANY, _FETCH_MANY = 4, 8
_MOST_CODE = (1 << 15) - 1
_GROUP = 0  # FindCoordinator's key type
_THROTTLE_BYTES = 4
_POSITION = struct.Struct(">iqi")  # partition, offset, leader epoch
_COMMIT = struct.Struct(">iqi")
_CODE = struct.Struct(">ih")

Key = tuple[str, int]


class ListedGroup(NamedTuple):
    """A group as its coordinator lists it. `kind` is "classic", "consumer", …, or empty before Kafka 3.8."""

    group: str
    protocol: str
    state: str
    kind: str

    @property
    def empty(self) -> bool:
        """Whether it has no members."""
        return self.state in ("Empty", "Dead")


class Coordinator(NamedTuple):
    """Who coordinates a group; `error` is a Kafka error code, and counts more."""

    error: int
    node: int


class Committed(NamedTuple):
    """A group's position in a partition; with an `error`, a Kafka error code, it isn't known."""

    offset: int
    metadata: str
    error: int = NONE


class Positions(NamedTuple):
    """A group's positions, without those partitions that have none; with an `error` they aren't known."""

    error: int
    committed: dict[Key, Committed]


async def list_groups(connection: Connection) -> memoryview:
    """The groups that this broker coordinates, undecoded (`decode_groups`), so that equal answers can be told."""
    version = connection.pick(LIST_GROUPS, 4, 5)
    body = b"\x01" * (version - 3) + NO_TAGS  # of all states, of all types
    answer = await connection.request(LIST_GROUPS, version, [body], flexible=True, timeout_s=QUESTION_TIMEOUT_S)
    return answer[_THROTTLE_BYTES:]


def decode_groups(connection: Connection, answer: memoryview) -> list[ListedGroup]:
    """What `list_groups` answered on this connection. BrokerError if the broker couldn't say."""
    typed = connection.pick(LIST_GROUPS, 4, 5) >= 5
    reply = Reader(answer)
    if (code := reply.int16()) != NONE:
        raise BrokerError(code, f"cluster {connection.cluster}: {connection.address}: ListGroups")
    found = []
    for _ in range(reply.compact_array_length()):
        group, protocol, state = reply.compact_string(), reply.compact_string(), reply.compact_string()
        found.append(ListedGroup(group, protocol, state, reply.compact_string().lower() if typed else ""))
        reply.tags()
    return found


def groups_per_question(connection: Connection) -> int:
    """How many groups one question to this broker may name."""
    many = connection.supports(FIND_COORDINATOR, _FIND_MANY) and connection.supports(OFFSET_FETCH, _FETCH_MANY)
    return MANY_GROUPS if many else 1


async def find_coordinators(connection: Connection, groups: Sequence[str]) -> dict[str, Coordinator]:
    """Who coordinates these groups, at most `groups_per_question` of them."""
    version = connection.pick(FIND_COORDINATOR, 3, 6)
    if version < _FIND_MANY:
        body = compact_string(groups[0]) + INT8.pack(_GROUP) + NO_TAGS
    else:
        body = INT8.pack(_GROUP) + compact_array([compact_string(group) for group in groups]) + NO_TAGS
    answer = await connection.request(FIND_COORDINATOR, version, [body], flexible=True, timeout_s=QUESTION_TIMEOUT_S)
    reply = Reader(answer)
    reply.int32()
    if version < _FIND_MANY:
        code = reply.int16()
        reply.compact_string()
        return {groups[0]: Coordinator(code, reply.int32())}
    found = {}
    for _ in range(reply.compact_array_length()):
        group, node = reply.compact_string(), reply.int32()
        reply.compact_string()
        reply.int32()
        found[group] = Coordinator(reply.int16(), node)
        reply.compact_string()
        reply.tags()
    return found


async def fetch_positions(connection: Connection, groups: Sequence[str]) -> memoryview:
    """All stable positions of these groups, at most `groups_per_question` of them; undecoded (`decode_positions`)."""
    version = connection.pick(OFFSET_FETCH, 7, 9)
    if version < _FETCH_MANY:
        body = compact_string(groups[0]) + b"\x00" + b"\x01" + NO_TAGS  # all topics, only stable positions
    else:
        member = compact_string(None) + INT32.pack(-1) if version >= 9 else b""
        body = compact_array([compact_string(group) + member + b"\x00" + NO_TAGS for group in groups]) + b"\x01\x00"
    answer = await connection.request(OFFSET_FETCH, version, [body], flexible=True, timeout_s=QUESTION_TIMEOUT_S)
    return answer[_THROTTLE_BYTES:]


def decode_positions(connection: Connection, groups: Sequence[str], answer: memoryview) -> dict[str, Positions]:
    """What `fetch_positions` answered on this connection when asked for these groups."""
    reply = Reader(answer)
    found: dict[str, Positions] = {}
    if connection.pick(OFFSET_FETCH, 7, 9) < _FETCH_MANY:
        committed = _committed(reply)
        found[groups[0]] = Positions(reply.int16(), committed)
        return found
    for _ in range(reply.compact_array_length()):
        group = reply.compact_string()
        committed = _committed(reply)
        found[group] = Positions(reply.int16(), committed)
        reply.tags()
    return found


def _committed(reply: Reader) -> dict[Key, Committed]:
    """Ten thousands of positions per round, so no call for each of their fields."""
    found: dict[Key, Committed] = {}
    view = reply.view
    try:
        for _ in range(reply.compact_array_length()):
            topic = reply.compact_string()
            for _ in range(reply.compact_array_length()):
                pos = reply.pos
                partition, offset, _ = _POSITION.unpack_from(view, pos)
                pos += _POSITION.size
                if view[pos] <= 1:  # no metadata, as nearly always
                    metadata = ""
                    pos += 1
                else:
                    reply.pos = pos
                    metadata = reply.compact_string()
                    pos = reply.pos
                code = view[pos] << 8 | view[pos + 1]
                if code > _MOST_CODE:
                    code -= 1 << 16
                reply.pos = pos + 2
                if view[pos + 2]:
                    reply.tags()
                else:
                    reply.pos += 1
                if offset >= 0 or code:
                    found[topic, partition] = Committed(offset, metadata, code)
            reply.tags()
    except (IndexError, struct.error):
        raise ProtocolError(f"positions of {len(view)} bytes end within a partition") from None
    return found


async def commit_positions(
    connection: Connection, group: str, positions: Mapping[Key, tuple[int, str]]
) -> dict[Key, int]:
    """Write these positions (offset, metadata) of a group that has no members; an error code for each."""
    version = connection.pick(OFFSET_COMMIT, 8, 9)
    topics = [
        compact_string(topic)
        + compact_array(
            [_COMMIT.pack(partition, offset, -1) + compact_string(said) + NO_TAGS for partition, offset, said in items]
        )
        + NO_TAGS
        for topic, items in _by_topic(positions).items()
    ]
    body = compact_string(group) + INT32.pack(-1) + compact_string("") + compact_string(None) + compact_array(topics)
    reply = Reader(
        await connection.request(OFFSET_COMMIT, version, [body, NO_TAGS], flexible=True, timeout_s=QUESTION_TIMEOUT_S)
    )
    reply.int32()
    found: dict[Key, int] = {}
    for _ in range(reply.compact_array_length()):
        topic = reply.compact_string()
        for _ in range(reply.compact_array_length()):
            partition = reply.int32()
            found[topic, partition] = reply.int16()
            reply.tags()
        reply.tags()
    return found


async def delete_positions(connection: Connection, group: str, positions: Collection[Key]) -> dict[Key, int]:
    """Delete positions that no member of the group consumes. BrokerError if the group as a whole is refused."""
    topics: dict[str, list[bytes]] = {}
    for topic, partition in positions:
        topics.setdefault(topic, []).append(INT32.pack(partition))
    body = string(group) + INT32.pack(len(topics))
    for topic, partitions in topics.items():
        body += string(topic) + INT32.pack(len(partitions)) + b"".join(partitions)
    connection.pick(OFFSET_DELETE, 0, 0)
    answer = await connection.request(OFFSET_DELETE, 0, [body], flexible=False, timeout_s=QUESTION_TIMEOUT_S)
    reply = Reader(answer)
    if (code := reply.int16()) != NONE:
        raise BrokerError(code, f"cluster {connection.cluster}: delete positions of group {group}")
    reply.int32()
    found: dict[Key, int] = {}
    for _ in range(reply.array_length()):
        topic = reply.string()
        for _ in range(reply.array_length()):
            partition, code = _CODE.unpack_from(reply.view, reply.skip(_CODE.size))
            found[topic, partition] = code
    return found


async def delete_group(connection: Connection, group: str) -> int:
    """Delete a group that has no members, with all its positions; an error code."""
    connection.pick(DELETE_GROUPS, 2, 2)
    body = compact_array([compact_string(group)]) + NO_TAGS
    answer = await connection.request(DELETE_GROUPS, 2, [body], flexible=True, timeout_s=QUESTION_TIMEOUT_S)
    reply = Reader(answer)
    reply.int32()
    for _ in range(reply.compact_array_length()):
        reply.compact_string()
        return reply.int16()
    raise ProtocolError(f"cluster {connection.cluster}: DeleteGroups said nothing of group {group}")


def _by_topic(positions: Mapping[Key, tuple[int, str]]) -> dict[str, list[tuple[int, int, str]]]:
    topics: dict[str, list[tuple[int, int, str]]] = {}
    for (topic, partition), (offset, metadata) in positions.items():
        topics.setdefault(topic, []).append((partition, offset, metadata))
    return topics
