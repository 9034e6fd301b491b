"""What an error on the target side means for a partition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from replicator.flow.batch import Batch
from replicator.states import PartitionFault, Reason
from replicator.wire import kafka_errors as codes
from replicator.wire.iam import CLUSTER, TOPIC, in_iam

if TYPE_CHECKING:
    from replicator.flow.partition import PartitionFlow

TOO_LARGE = frozenset({codes.MESSAGE_TOO_LARGE, codes.RECORD_LIST_TOO_LARGE})
STOPS_WRITING = frozenset({Reason.TARGET_TRUNCATED, Reason.TARGET_RECREATED, Reason.RECOVERY_AMBIGUOUS})
TARGET_SIDE = STOPS_WRITING | {
    Reason.TARGET_UNREACHABLE,
    Reason.TARGET_MISSING,
    Reason.RECORD_TOO_LARGE,
    Reason.RECORD_REFUSED,
}
NEW_PRODUCER = frozenset(
    {
        codes.OUT_OF_ORDER_SEQUENCE_NUMBER,
        codes.UNKNOWN_PRODUCER_ID,
        codes.INVALID_PRODUCER_EPOCH,
        codes.PRODUCER_FENCED,
    }
)
TRANSACTION_OVER = NEW_PRODUCER | {
    codes.INVALID_TXN_STATE,
    codes.INVALID_PRODUCER_ID_MAPPING,
    codes.TRANSACTION_COORDINATOR_FENCED,
    codes.TRANSACTION_ABORTABLE,
}
# Answers that say that the batch isn't in the log: given before anything is appended. All others don't say so, not even
# NOT_LEADER_OR_FOLLOWER: a leader that appended a batch and stops leading while its replicas take it answers that, and
# the next leader has the batch (`kafka.server.DelayedProduce`; seen on real Kafka with a frozen leader).
NOT_WRITTEN = (
    TOO_LARGE
    | TRANSACTION_OVER
    | {
        codes.CORRUPT_MESSAGE,
        codes.UNKNOWN_TOPIC_OR_PARTITION,
        codes.NOT_ENOUGH_REPLICAS,
        codes.TOPIC_AUTHORIZATION_FAILED,
        codes.CLUSTER_AUTHORIZATION_FAILED,
        codes.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        codes.INVALID_TIMESTAMP,
        codes.UNSUPPORTED_COMPRESSION_TYPE,
        codes.INVALID_RECORD,
        codes.UNKNOWN_TOPIC_ID,
        codes.INCONSISTENT_TOPIC_ID,
    }
)


def refused(flow: PartitionFlow, batch: Batch) -> PartitionFault | None:
    """The fault for a batch that the target answered with an error; None if it should be sent again soon."""
    where = _where(flow)
    said = f" ({batch.message})" if batch.message else ""
    if batch.code in TOO_LARGE:
        return _fault(
            flow,
            batch,
            Reason.RECORD_TOO_LARGE,
            f"Record at offset {batch.source_base}: batch of {len(batch.data)} bytes refused by {where}{said}.",
        )
    if batch.code == codes.TOPIC_AUTHORIZATION_FAILED:
        detail = f"Write on topic {flow.target_topic} of the target cluster ({in_iam(TOPIC, 'Write')})."
        return _fault(flow, batch, Reason.NOT_AUTHORIZED, detail)
    if batch.code == codes.CLUSTER_AUTHORIZATION_FAILED:
        iam = in_iam(CLUSTER, "IdempotentWrite")
        detail = f"IdempotentWrite on the target cluster ({iam}), or Write on any of its topics."
        return _fault(flow, batch, Reason.NOT_AUTHORIZED, detail)
    if codes.is_retriable(batch.code) or batch.code == codes.OUT_OF_ORDER_SEQUENCE_NUMBER:
        return None
    return _fault(
        flow,
        batch,
        Reason.RECORD_REFUSED,
        f"Offsets {batch.source_base} to {batch.source_next - 1}: {where} answers "
        f"{codes.error_name(batch.code)}{said}.",
    )


def truncated(flow: PartitionFlow, batch: Batch) -> PartitionFault:
    """The fault for an acknowledgement below what was acknowledged before: the target lost records."""
    return _fault(
        flow,
        batch,
        Reason.TARGET_TRUNCATED,
        f"{_where(flow)} wrote at offset {batch.target_base}, but had acknowledged up to {flow.target_next - 1} "
        "before.",
    )


def recreated(flow: PartitionFlow, cluster: str, topic_id: object) -> PartitionFault:
    """The fault for a target topic that has another id than the one that was written."""
    return PartitionFault(
        Reason.TARGET_RECREATED,
        f"Topic {flow.target_topic} of cluster {cluster} had id {flow.target_topic_id}, now it has {topic_id}.",
        topic=flow.topic,
        partition=flow.partition,
        offset=flow.source_next,
    )


def _where(flow: PartitionFlow) -> str:
    return f"{flow.target_topic}-{flow.partition}"


def _fault(flow: PartitionFlow, batch: Batch, reason: Reason, detail: str) -> PartitionFault:
    return PartitionFault(reason, detail, topic=flow.topic, partition=flow.partition, offset=batch.source_base)
