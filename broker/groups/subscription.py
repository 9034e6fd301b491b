"""Reads the topics out of consumers' subscriptions (ConsumerProtocolSubscription), for the coordinator's own use."""

from __future__ import annotations

import struct
from collections.abc import Iterable

_SHORT = struct.Struct(">h")
_INT = struct.Struct(">i")
MAX_TOPICS = 100_000


def subscribed_topics(subscriptions: Iterable[bytes]) -> frozenset[str] | None:
    """All topics that the members subscribe to, or None when one of the subscriptions can't be read."""
    topics: set[str] = set()
    try:
        for data in subscriptions:
            topics.update(_topics(data))
    except (struct.error, UnicodeDecodeError, ValueError):
        return None
    return frozenset(topics)


def _topics(data: bytes) -> Iterable[str]:
    (count,) = _INT.unpack_from(data, _SHORT.size)
    if not 0 <= count <= MAX_TOPICS:
        raise ValueError(f"{count} topics in a subscription")
    offset = _SHORT.size + _INT.size
    topics = []
    for _ in range(count):
        (length,) = _SHORT.unpack_from(data, offset)
        offset += _SHORT.size
        if length < 0 or offset + length > len(data):
            raise ValueError("topic name runs past the end of the subscription")
        topics.append(bytes(data[offset : offset + length]).decode())
        offset += length
    return topics
