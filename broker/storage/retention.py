"""Deleting old segments by time and size (`cleanup.policy=delete`)."""

from __future__ import annotations

from broker.storage.log import PartitionLog


def apply_retention(log: PartitionLog) -> int:
    """Raise the log start past segments that are due, never past the high watermark; returns how many went.

    Age is that of a segment's newest record. The active segment goes too once it is due, as in Kafka, which rolls it.
    """
    config = log.config
    if "delete" not in config.cleanup_policy or log.offline is not None:
        return 0
    now_ms = log.clock.now_ms()
    excess = log.size - config.retention_bytes if config.retention_bytes >= 0 else 0
    start = log.log_start_offset
    deleted = 0
    for segment in log.segments:
        if not len(segment) or segment.next_offset > log.high_watermark:
            break
        too_old = config.retention_ms >= 0 and now_ms - segment.max_timestamp > config.retention_ms
        too_much = config.retention_bytes >= 0 and excess >= segment.size
        if not (too_old or too_much):
            break
        excess -= segment.size
        start = segment.next_offset
        deleted += 1
    log.raise_start(start)
    return deleted
