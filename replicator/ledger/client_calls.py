"""What several of our users of AdminClient need alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from confluent_kafka import KafkaException

_64_BITS = (1 << 64) - 1
_SLICE_S = 2.0  # a thread that is waited for at the end of a program must not sit in librdkafka for longer


def topic_names(admin: Any, timeout_s: float, refused: Callable[[], bool]) -> list[str]:
    """The names of all topics that we may see; KafkaException after `timeout_s`, or soon after `refused()` is true.

    `refused` is asked after the client's own events (`error_cb`) were served.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return list(admin.list_topics(timeout=max(0.1, min(_SLICE_S, deadline - time.monotonic()))).topics)
        except KafkaException:
            admin.poll(0)
            if refused() or time.monotonic() >= deadline:
                raise


def topic_uuid(topic_id: Any) -> UUID:
    """librdkafka's Uuid as Python's; UUID(int=0) where the broker has none."""
    most, least = topic_id.get_most_significant_bits(), topic_id.get_least_significant_bits()
    return UUID(int=((most & _64_BITS) << 64) | (least & _64_BITS))
