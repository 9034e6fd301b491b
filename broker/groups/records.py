"""What is stored in `__consumer_offsets`, in Kafka's own formats, so that tools which read that topic can read ours.

Keys: OffsetCommitKey v1 `(group, topic, partition)` and GroupMetadataKey v2 `(group)`; a null value deletes.
Values: OffsetCommitValue v4 (v1 where the client chose a retention time) and GroupMetadataValue v3; all versions up to
these are read. The records of consumer groups (KIP-848) are in `consumer_records`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from broker.groups.classic_group import ClassicGroup
from broker.groups.fields import INT, LONG, SHORT, FieldReader, byte_array, compact_string, string
from broker.groups.member import Member
from broker.storage.batch import Buffer

OFFSET_KEY_VERSIONS = (0, 1)
GROUP_KEY_VERSION = 2


@dataclass(frozen=True, slots=True)
class OffsetKey:
    """Whose position it is."""

    group_id: str
    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class GroupKey:
    """Which group it is."""

    group_id: str


@dataclass(frozen=True, slots=True)
class CommittedOffset:
    """A committed position. Times in ms; `record_offset` is where it was written, which orders commits."""

    offset: int
    leader_epoch: int
    metadata: str
    commit_timestamp_ms: int
    expire_timestamp_ms: int | None = None
    record_offset: int = -1


@dataclass(frozen=True, slots=True)
class StoredGroup:
    """A group as it was when its leader's assignment was accepted, or when it became empty."""

    protocol_type: str
    generation: int
    protocol_name: str | None
    leader: str | None
    state_timestamp_ms: int | None
    members: Sequence[Member]


def encode_offset_key(key: OffsetKey) -> bytes:
    """OffsetCommitKey v1."""
    return SHORT.pack(1) + string(key.group_id) + string(key.topic) + INT.pack(key.partition)


def encode_group_key(group_id: str) -> bytes:
    """GroupMetadataKey v2."""
    return SHORT.pack(GROUP_KEY_VERSION) + string(group_id)


def decode_key(data: Buffer) -> OffsetKey | GroupKey | None:
    """The key of a record, or None for a type that is not a classic group's."""
    reader = FieldReader(data)
    version = reader.read_short()
    if version in OFFSET_KEY_VERSIONS:
        return OffsetKey(reader.read_string(), reader.read_string(), reader.read_int())
    if version == GROUP_KEY_VERSION:
        return GroupKey(reader.read_string())
    return None


def encode_offset(value: CommittedOffset) -> bytes:
    """OffsetCommitValue v4, or v1 when the position has an expiry of its own, which v4 has no room for."""
    offset, commit_time = LONG.pack(value.offset), LONG.pack(value.commit_timestamp_ms)
    if value.expire_timestamp_ms is not None:
        return SHORT.pack(1) + offset + string(value.metadata) + commit_time + LONG.pack(value.expire_timestamp_ms)
    epoch = INT.pack(value.leader_epoch)
    return SHORT.pack(4) + offset + epoch + compact_string(value.metadata) + commit_time + b"\x00"


def decode_offset(data: Buffer, record_offset: int) -> CommittedOffset:
    """OffsetCommitValue v0-v4. Raises ValueError for anything else."""
    reader = FieldReader(data)
    version = reader.read_short()
    if not 0 <= version <= 4:
        raise ValueError(f"OffsetCommitValue v{version}")
    offset = reader.read_long()
    leader_epoch = reader.read_int() if version >= 3 else -1
    metadata = reader.read_compact_string() if version >= 4 else reader.read_string()
    commit_timestamp_ms = reader.read_long()
    expire_timestamp_ms: int | None = None
    if version == 1:
        stored = reader.read_long()
        expire_timestamp_ms = None if stored < 0 else stored
    return CommittedOffset(offset, leader_epoch, metadata, commit_timestamp_ms, expire_timestamp_ms, record_offset)


def encode_group(group: ClassicGroup, assignments: Mapping[str, bytes]) -> bytes:
    """GroupMetadataValue v3 of the group with these assignments by member id."""
    out = [
        SHORT.pack(3),
        string(group.protocol_type or ""),
        INT.pack(group.generation),
        string(group.protocol_name),
        string(group.roster.leader),
        LONG.pack(-1 if group.state_timestamp_ms is None else group.state_timestamp_ms),
        INT.pack(len(group.members)),
    ]
    for member in group.members.values():
        out += [
            string(member.member_id),
            string(member.group_instance_id),
            string(member.client_id),
            string(member.client_host),
            INT.pack(member.rebalance_timeout_ms),
            INT.pack(member.session_timeout_ms),
            byte_array(member.metadata(group.protocol_name)),
            byte_array(assignments.get(member.member_id, b"")),
        ]
    return b"".join(out)


def decode_group(data: Buffer) -> StoredGroup:
    """GroupMetadataValue v0-v3. Raises ValueError for anything else."""
    reader = FieldReader(data)
    version = reader.read_short()
    if not 0 <= version <= 3:
        raise ValueError(f"GroupMetadataValue v{version}")
    protocol_type = reader.read_string()
    generation = reader.read_int()
    protocol_name = reader.read_nullable_string()
    leader = reader.read_nullable_string()
    timestamp = reader.read_long() if version >= 2 else -1
    members = [_decode_member(reader, version, protocol_type, protocol_name) for _ in range(reader.read_int())]
    return StoredGroup(
        protocol_type, generation, protocol_name, leader, None if timestamp < 0 else timestamp, tuple(members)
    )


def _decode_member(reader: FieldReader, version: int, protocol_type: str, protocol_name: str | None) -> Member:
    member_id = reader.read_string()
    instance = reader.read_nullable_string() if version >= 3 else None
    client_id = reader.read_string()
    client_host = reader.read_string()
    rebalance_timeout_ms = reader.read_int() if version >= 1 else None
    session_timeout_ms = reader.read_int()
    subscription = reader.read_bytes()
    assignment = reader.read_bytes()
    return Member(
        member_id,
        instance,
        client_id,
        client_host,
        session_timeout_ms if rebalance_timeout_ms is None else rebalance_timeout_ms,
        session_timeout_ms,
        protocol_type,
        ((protocol_name or "", subscription),),
        assignment,
    )
