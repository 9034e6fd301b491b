"""The one call of AdminClient that blocks, made so that it can be given up."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaException

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
