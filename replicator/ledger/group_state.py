"""The ledger's records of consumer groups: which positions this link wrote on the target, and what they were made from.

In lane 0's partition, written by lane 0's producer: one record for each group and target topic. What is about to be
written is in here before it is written, so that after a crash either value is known to be ours; and a position that
is none of these was moved by somebody else, who is to keep it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from replicator.ledger.codec import LedgerFormatError, Reader, put_string, put_varint
from replicator.ledger.entry import TOPIC_MAX_BYTES

GROUP_MAX_BYTES = 700  # a key in the ledger has at most 1 KiB
MARKS_MAX = 100_000  # partitions of a topic
ALSO_MAX = 8

_KEY_GROUP = 4
_VERSION = 1
_FINAL = 1


@dataclass(frozen=True, slots=True)
class Mark:
    """`target` is what was written last, or is about to be; it was made from the source's position `source`.

    `final`: it is exact, and stays so; as long as `basis`, which stands for the topics' identities and gaps, is the
    same. `also` are values that may be there instead: what was there before, or commits of which nobody knows.
    """

    source: int
    target: int
    final: bool = False
    basis: int = 0
    also: tuple[int, ...] = ()

    def owns(self, offset: int) -> bool:
        """Whether a position with this value is this link's work."""
        return offset == self.target or offset in self.also


@dataclass(frozen=True, slots=True)
class GroupTopic:
    """Of one group, in one target topic: the marks by partition, and when all of them were written last."""

    marks: Mapping[int, Mark] = field(default_factory=lambda: MappingProxyType({}))
    written_ms: int = 0


def encode_group_key(group: str, topic: str) -> bytes:
    """The key of a group's record. ValueError for a group whose name is too long."""
    out = bytearray((_KEY_GROUP,))
    put_string(out, group, GROUP_MAX_BYTES)
    put_string(out, topic, TOPIC_MAX_BYTES)
    return bytes(out)


def decode_group_key(key: bytes) -> tuple[str, str] | None:
    """Group and target topic; None for keys of other things. LedgerFormatError for what nobody writes."""
    if key[:1] != bytes((_KEY_GROUP,)):
        return None
    reader = Reader(key[1:])
    group, topic = reader.string(GROUP_MAX_BYTES), reader.string(TOPIC_MAX_BYTES)
    if reader.remaining:
        raise LedgerFormatError(f"a ledger key of group {group} goes on behind its topic {topic}")
    return group, topic


def encode_group(state: GroupTopic) -> bytes:
    """The value of a group's record."""
    out = bytearray((_VERSION,))
    put_varint(out, state.written_ms)
    put_varint(out, len(state.marks))
    for partition, mark in state.marks.items():
        out.append(_FINAL if mark.final else 0)
        for number in (partition, mark.source, mark.target, mark.basis, len(mark.also[-ALSO_MAX:])):
            put_varint(out, number)
        for offset in mark.also[-ALSO_MAX:]:
            put_varint(out, offset)
    return bytes(out)


def decode_group(value: bytes) -> GroupTopic:
    """What a value holds. LedgerFormatError for damage, and for a version that only a newer Replicator knows."""
    reader = Reader(value)
    if (version := reader.byte()) != _VERSION:
        raise LedgerFormatError(
            f"a group's record has version {version}, and this Replicator reads {_VERSION}: upgrade it"
        )
    written_ms = reader.varint()
    marks: dict[int, Mark] = {}
    for _ in range(reader.count(MARKS_MAX)):
        flags = reader.byte()
        partition, source, target, basis = reader.varint(), reader.varint(), reader.varint(), reader.varint()
        also = tuple(reader.varint() for _ in range(reader.count(ALSO_MAX)))
        marks[partition] = Mark(source, target, bool(flags & _FINAL), basis, also)
    return GroupTopic(marks, written_ms)
