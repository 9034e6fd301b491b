"""ListOffsets (key 2), versions 1-10: the log's start, its end, or the first record at or after a time.

KIP-79, KIP-207, KIP-320 (leader epochs), KIP-734 (-3: record with the largest timestamp), KIP-405 (-4 and -5: tiered
storage, which doesn't exist here: the local log is the log, and nothing is tiered).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import kio.schema.list_offsets
from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.leadership import led_partition
from broker.node import RequestContext
from broker.registry import api, build
from broker.security.resources import Operation, ResourceType
from broker.storage.log import READ_COMMITTED, PartitionLog
from broker.storage.lookup import offset_for_timestamp, offset_of_max_timestamp

LATEST, EARLIEST, MAX_TIMESTAMP, EARLIEST_LOCAL, LATEST_TIERED = -1, -2, -3, -4, -5
NOTHING = (-1, -1, -1)


@api(schema=kio.schema.list_offsets, versions=range(1, 11), asks={ResourceType.TOPIC})
async def list_offsets(ctx: RequestContext, request: Any) -> Any:
    isolation = getattr(request, "isolation_level", 0)
    topics = []
    for topic in request.topics:
        asked = Counter(item.partition_index for item in topic.partitions)
        rows = []
        for item in topic.partitions:
            row: dict[str, Any] = {"partition_index": item.partition_index, "timestamp": -1, "offset": -1}
            try:
                if asked[item.partition_index] > 1:
                    raise KafkaError(ErrorCode.invalid_request)
                ctx.access.require(Operation.DESCRIBE, ResourceType.TOPIC, topic.name)
                epoch = getattr(item, "current_leader_epoch", -1)
                partition = led_partition(ctx, topic.name, item.partition_index, epoch)
                timestamp, offset, leader_epoch = _look_up(partition.log, item.timestamp, isolation)
                row.update(timestamp=timestamp, offset=offset, leader_epoch=leader_epoch)
                row["error_code"] = ErrorCode.none
            except KafkaError as error:
                row["error_code"] = error.code
            rows.append(row)
        topics.append({"name": topic.name, "partitions": rows})
    return build(ctx, topics=topics)


def _look_up(log: PartitionLog, timestamp: int, isolation: int) -> tuple[int, int, int]:
    """(timestamp, offset, leader epoch); -1 for what there isn't."""
    epochs = log.leader_epochs
    bound = log.last_stable_offset if isolation == READ_COMMITTED else log.high_watermark
    if timestamp == LATEST:
        return -1, bound, epochs.latest
    if timestamp in (EARLIEST, EARLIEST_LOCAL):
        return -1, log.log_start_offset, epochs.epoch_of(log.log_start_offset)
    if timestamp == LATEST_TIERED:
        return NOTHING
    if timestamp == MAX_TIMESTAMP:
        found = offset_of_max_timestamp(log)
    elif timestamp < 0:
        raise KafkaError(ErrorCode.unsupported_version)
    else:
        found = offset_for_timestamp(log, timestamp)
    if found is None or found[1] >= bound:
        return NOTHING
    return found[0], found[1], epochs.epoch_of(found[1])
