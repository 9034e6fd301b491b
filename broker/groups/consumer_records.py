"""What is stored of consumer groups (KIP-848) in `__consumer_offsets`, in Kafka's own formats.

    key version                                value (all v0)
     3  (group)           the group            its epoch, and a hash of the topics subscribed to
     5  (group, member)   a member             who it is and what it subscribes to
     6  (group)           the target           its epoch
     7  (group, member)   a member's target    partitions
     8  (group, member)   a member's present   epochs, state, partitions it has and partitions it is giving up
    16  (group, pattern)  a pattern            the topics it stands for

A null value deletes. The hash is our own: Kafka, if it read it, would only compute the target anew. Members that use
the classic protocol inside a consumer group are not written, and read as if they used the new one.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from broker.groups.consumer_member import Assignment, ConsumerMember, MemberState
from broker.groups.fields import (
    INT,
    LONG,
    NO_TAGS,
    SHORT,
    FieldReader,
    compact_array,
    compact_string,
    string,
    tagged,
)
from broker.groups.internal_topic import Pair
from broker.protocol import uvarint
from broker.storage.batch import Buffer

GROUP, MEMBER, TARGET_EPOCH, TARGET, CURRENT, REGEX = 3, 5, 6, 7, 8, 16
_WITH_SECOND_PART = (MEMBER, TARGET, CURRENT, REGEX)
_KINDS = (GROUP, TARGET_EPOCH, *_WITH_SECOND_PART)

NOT_CLASSIC = b"\x01\x00\x01\x00"
"""The tagged field that would describe a member of the classic protocol, null."""

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class ConsumerKey:
    """What a record is about: `kind` is the key's version, `name` the member id or the pattern."""

    kind: int
    group_id: str
    name: str = ""

    def encode(self) -> bytes:
        """The key as it is stored."""
        second = string(self.name) if self.kind in _WITH_SECOND_PART else b""
        return SHORT.pack(self.kind) + string(self.group_id) + second


@dataclass(frozen=True, slots=True)
class ResolvedRegex:
    """The topics that a pattern stood for at some time (ms)."""

    topics: frozenset[str]
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class GroupSnapshot:
    """All that is stored of a consumer group."""

    epoch: int = 0
    metadata_hash: int = 0
    target_epoch: int = 0
    members: Mapping[str, ConsumerMember] = field(default_factory=dict)
    targets: Mapping[str, Assignment] = field(default_factory=dict)
    regexes: Mapping[str, ResolvedRegex] = field(default_factory=dict)


def decode_key(data: Buffer) -> ConsumerKey | None:
    """The key of a consumer group's record, or None for a record of another kind. Raises ValueError if cut short."""
    reader = FieldReader(data)
    kind = reader.read_short()
    if kind not in _KINDS:
        return None
    group_id = reader.read_string()
    return ConsumerKey(kind, group_id, reader.read_string() if kind in _WITH_SECOND_PART else "")


# --- writing ---------------------------------------------------------------------------------------------------------


def difference(group_id: str, old: GroupSnapshot, new: GroupSnapshot) -> list[Pair]:
    """The records that turn `old` into `new`, in an order that leaves no partition with two members on the way."""

    def pair(kind: int, name: str, value: bytes | None) -> Pair:
        return ConsumerKey(kind, group_id, name).encode(), value

    pairs: list[Pair] = []
    for member_id in old.members:
        if member_id not in new.members:
            pairs += [pair(kind, member_id, None) for kind in (CURRENT, TARGET, MEMBER)]
    for member_id, member in new.members.items():
        before = old.members.get(member_id)
        if before is member:
            continue
        if before is None or _subscription(before) != _subscription(member):
            pairs.append(pair(MEMBER, member_id, _subscription(member)))
    pairs += [pair(REGEX, name, None) for name in old.regexes if name not in new.regexes]
    for name, regex in new.regexes.items():
        if old.regexes.get(name) != regex:
            pairs.append(pair(REGEX, name, _regex(regex)))
    if (old.epoch, old.metadata_hash) != (new.epoch, new.metadata_hash):
        pairs.append(pair(GROUP, "", _group(new)))
    for member_id, target in new.targets.items():
        if old.targets.get(member_id) != target:
            pairs.append(pair(TARGET, member_id, b"\x00\x00" + _partitions(target) + NO_TAGS))
    if old.target_epoch != new.target_epoch:
        pairs.append(pair(TARGET_EPOCH, "", b"\x00\x00" + INT.pack(new.target_epoch) + NO_TAGS))
    for member_id, member in new.members.items():
        before = old.members.get(member_id)
        if before is not member and _current(member) != _current(before or ConsumerMember(member_id)):
            pairs.append(pair(CURRENT, member_id, _current(member)))
    return pairs


def tombstones(group_id: str, old: GroupSnapshot) -> list[Pair]:
    """The records that delete the whole group."""
    pairs = [
        (key, None)
        for key, value in difference(group_id, old, GroupSnapshot(old.epoch, old.metadata_hash, old.target_epoch))
        if value is None
    ]
    return [*pairs, *((ConsumerKey(kind, group_id).encode(), None) for kind in (TARGET_EPOCH, GROUP))]


def _group(snapshot: GroupSnapshot) -> bytes:
    tags = NO_TAGS
    if snapshot.metadata_hash:
        tags = uvarint(1) + tagged(0, LONG.pack(snapshot.metadata_hash))
    return SHORT.pack(0) + INT.pack(snapshot.epoch) + tags


def _subscription(member: ConsumerMember) -> bytes:
    return b"".join(
        (
            SHORT.pack(0),
            compact_string(member.instance_id),
            compact_string(member.rack_id),
            compact_string(member.client_id),
            compact_string(member.client_host),
            compact_array(compact_string(topic) for topic in sorted(member.topics)),
            compact_string(member.regex),
            INT.pack(member.rebalance_timeout_ms),
            compact_string(member.assignor),
            NOT_CLASSIC,
        )
    )


def _current(member: ConsumerMember) -> bytes:
    return b"".join(
        (
            SHORT.pack(0),
            INT.pack(member.epoch),
            INT.pack(member.previous_epoch),
            bytes([member.state]),
            _partitions(member.assigned),
            _partitions(member.revoking),
            NO_TAGS,
        )
    )


def _partitions(assignment: Assignment) -> bytes:
    return compact_array(
        topic_id.bytes + compact_array(INT.pack(index) for index in indexes) + NO_TAGS
        for topic_id, indexes in by_topic(assignment).items()
    )


def _regex(regex: ResolvedRegex) -> bytes:
    names = compact_array(compact_string(topic) for topic in sorted(regex.topics))
    return SHORT.pack(0) + names + LONG.pack(0) + LONG.pack(regex.timestamp_ms) + NO_TAGS


def by_topic(assignment: Assignment) -> dict[uuid.UUID, list[int]]:
    """An assignment as partition indexes by topic id, sorted."""
    found: dict[uuid.UUID, list[int]] = {}
    for topic_id, index in sorted(assignment):
        found.setdefault(topic_id, []).append(index)
    return found


# --- reading ---------------------------------------------------------------------------------------------------------


def apply(snapshot: GroupSnapshot, key: ConsumerKey, value: Buffer | None) -> GroupSnapshot:
    """The snapshot after one more record. Raises ValueError for a value that can't be read."""
    reader = None if value is None else _opened(value)
    if key.kind == GROUP:
        if reader is None:
            return replace(snapshot, epoch=0, metadata_hash=0)
        return replace(snapshot, epoch=reader.read_int(), metadata_hash=_tagged_hash(reader))
    if key.kind == TARGET_EPOCH:
        return replace(snapshot, target_epoch=0 if reader is None else reader.read_int())
    if key.kind == TARGET:
        targets = _changed(snapshot.targets, key.name, None if reader is None else _read_partitions(reader))
        return replace(snapshot, targets=targets)
    if key.kind == REGEX:
        return replace(
            snapshot, regexes=_changed(snapshot.regexes, key.name, None if reader is None else _read_regex(reader))
        )
    known = snapshot.members.get(key.name, ConsumerMember(key.name))
    member: ConsumerMember | None
    if key.kind == CURRENT:
        if reader is None and key.name not in snapshot.members:
            return snapshot
        member = _with_current(known, reader)
    else:
        member = None if reader is None else _with_subscription(known, reader)
    return replace(snapshot, members=_changed(snapshot.members, key.name, member))


def _changed(mapping: Mapping[str, V], name: str, value: V | None) -> dict[str, V]:
    rest = {key: item for key, item in mapping.items() if key != name or value is not None}
    if value is not None:
        rest[name] = value
    return rest


def _opened(value: Buffer) -> FieldReader:
    reader = FieldReader(value)
    version = reader.read_short()
    if version != 0:
        raise ValueError(f"consumer group record v{version}")
    return reader


def _tagged_hash(reader: FieldReader) -> int:
    return next((content.read_long() for tag, content in reader.read_tags() if tag == 0), 0)


def _with_subscription(member: ConsumerMember, reader: FieldReader) -> ConsumerMember:
    return replace(
        member,
        instance_id=reader.read_nullable_compact_string(),
        rack_id=reader.read_nullable_compact_string(),
        client_id=reader.read_compact_string(),
        client_host=reader.read_compact_string(),
        topics=frozenset(reader.read_compact_array(reader.read_compact_string)),
        regex=reader.read_compact_string(),
        rebalance_timeout_ms=reader.read_int(),
        assignor=reader.read_nullable_compact_string(),
    )


def _with_current(member: ConsumerMember, reader: FieldReader | None) -> ConsumerMember:
    if reader is None:
        fresh = ConsumerMember(member.member_id)
        return replace(
            member,
            epoch=fresh.epoch,
            previous_epoch=fresh.previous_epoch,
            state=fresh.state,
            assigned=fresh.assigned,
            revoking=fresh.revoking,
        )
    return replace(
        member,
        epoch=reader.read_int(),
        previous_epoch=reader.read_int(),
        state=MemberState(reader.read_byte()),
        assigned=_read_partitions(reader),
        revoking=_read_partitions(reader),
    )


def _read_partitions(reader: FieldReader) -> Assignment:
    def read_topic() -> Iterable[tuple[uuid.UUID, int]]:
        topic_id = reader.read_uuid()
        indexes = reader.read_compact_array(reader.read_int)
        reader.skip_tags()
        return [(topic_id, index) for index in indexes]

    return frozenset(_flattened(reader.read_compact_array(read_topic)))


def _flattened(items: Iterable[Iterable[tuple[uuid.UUID, int]]]) -> Iterator[tuple[uuid.UUID, int]]:
    for each in items:
        yield from each


def _read_regex(reader: FieldReader) -> ResolvedRegex:
    topics = frozenset(reader.read_compact_array(reader.read_compact_string))
    reader.read_long()
    return ResolvedRegex(topics, reader.read_long())
