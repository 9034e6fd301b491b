"""Which lane a source partition belongs to, and what a link's internal topics and group are called.

The lane of a partition is fixed by its name for as long as the link lives: changing the hash or the number of lanes
would leave its ledger entry behind in another partition of the ledger.
"""

from __future__ import annotations

from functools import lru_cache

INTERNAL_PREFIX = "__replicator_"


def ledger_topic(link: str) -> str:
    """The compacted topic of the link's positions, lane producers and group state: one partition per lane."""
    return f"{INTERNAL_PREFIX}{link}_ledger"


def link_of_ledger(topic: str) -> str | None:
    """The link whose ledger this topic is; None for other topics."""
    name = topic.removeprefix(INTERNAL_PREFIX).removesuffix("_ledger")
    return name if name and topic == ledger_topic(name) else None


def map_topic(link: str) -> str:
    """The compacted topic of the link's offset map: one partition per lane."""
    return f"{INTERNAL_PREFIX}{link}_map"


def control_topic(link: str) -> str:
    """The one-partition topic of the link's commands, desired state and audit."""
    return f"{INTERNAL_PREFIX}{link}_control"


def group_id(link: str) -> str:
    """The consumer group that the link's workers are members of."""
    return f"replicator.{link}"


@lru_cache(maxsize=100_000)  # asked with every acknowledgement
def lane_of(topic: str, partition: int, lanes: int) -> int:
    """The lane (0 .. lanes-1) of a source partition: murmur2 of the name and the partition as a big-endian int32."""
    key = topic.encode() + partition.to_bytes(4, "big")
    return (murmur2(key) & 0x7FFFFFFF) % lanes


def murmur2(data: bytes) -> int:
    """Kafka's 32-bit murmur2 (`Utils.murmur2`), as an unsigned number."""
    length = len(data)
    h = 0x9747B28C ^ length
    whole = length & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little")
        k = (k * 0x5BD1E995) & 0xFFFFFFFF
        k ^= k >> 24
        k = (k * 0x5BD1E995) & 0xFFFFFFFF
        h = ((h * 0x5BD1E995) & 0xFFFFFFFF) ^ k
    if whole < length:
        h ^= int.from_bytes(data[whole:], "little")
        h = (h * 0x5BD1E995) & 0xFFFFFFFF
    h ^= h >> 13
    h = (h * 0x5BD1E995) & 0xFFFFFFFF
    return h ^ (h >> 15)
