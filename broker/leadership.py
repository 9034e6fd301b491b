"""Whether a request for a partition has come to the right node, in the right epoch."""

from __future__ import annotations

from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.node import RequestContext
from broker.topics import Partition


def check_leader(ctx: RequestContext, partition: Partition, epoch: int = -1) -> ErrorCode:
    """Another epoch than the client's (-1: it doesn't say) is FENCED or UNKNOWN; another node NOT_LEADER (KIP-320)."""
    if epoch >= 0:
        if epoch < partition.leader_epoch:
            return ErrorCode.fenced_leader_epoch
        if epoch > partition.leader_epoch:
            return ErrorCode.unknown_leader_epoch
    if not ctx.cluster.leads(ctx.node, partition):
        return ErrorCode.not_leader_or_follower
    return ErrorCode.none


def led_partition(ctx: RequestContext, topic: str, index: int, epoch: int = -1) -> Partition:
    """The partition, led by this node. Raises KafkaError UNKNOWN_TOPIC_OR_PARTITION or what `check_leader` finds."""
    partition = ctx.cluster.topics.partition(topic, index)
    if partition is None:
        raise KafkaError(ErrorCode.unknown_topic_or_partition)
    code = check_leader(ctx, partition, epoch)
    if code is not ErrorCode.none:
        raise KafkaError(code)
    return partition
