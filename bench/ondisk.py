"""What lies in a broker's log, read from its segments: an account that owes nothing to any client."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from tests.support.kafka import KafkaCluster

# Base offset, length of what follows it; attributes; record count: of a v2 batch's 61 bytes.
_HEADER = struct.Struct(">qi9xh34xi")
_CONTROL = 0x20


@dataclass(frozen=True)
class OnDisk:
    """Data batches of a topic; markers aren't counted."""

    records: int
    batches: int
    bytes: int


def on_disk(cluster: KafkaCluster, topic: str, partitions: int) -> OnDisk:
    """All segments of all partitions."""
    parts = [_segment(path) for partition in range(partitions) for path in _segments(cluster, topic, partition)]
    return OnDisk(sum(p.records for p in parts), sum(p.batches for p in parts), sum(p.bytes for p in parts))


def _segments(cluster: KafkaCluster, topic: str, partition: int) -> list[Path]:
    newest = cluster.segment(topic, partition)
    return sorted(newest.parent.glob("*.log")) if newest else []


def _segment(path: Path) -> OnDisk:
    records = batches = size = 0
    with path.open("rb") as log:
        while len(header := log.read(_HEADER.size)) == _HEADER.size:
            _base, length, attributes, count = _HEADER.unpack(header)
            if not attributes & _CONTROL:
                records += count
                batches += 1
                size += 12 + length
            log.seek(12 + length - _HEADER.size, 1)
    return OnDisk(records, batches, size)
