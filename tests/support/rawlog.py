"""A partition's log as it lies on the broker: every batch, also of open and aborted transactions, and every marker.

Consumers don't show who wrote what. This does, and `late_batches` is the judgement whether somebody wrote who had been
replaced: it takes plain batches, so that it can itself be tested.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from kio.schema.errors import ErrorCode

from tests.support.rawclient import Batch, RawClient, read_batches

_BYTES = 8 << 20
_LEADER_WITHIN_S = 30.0


def raw_log(bootstrap: str, topic: str, partition: int) -> list[Batch]:
    """All batches from the log's start to the high watermark it has now, from the partition's leader (PLAINTEXT)."""
    with _leader(bootstrap, topic, partition) as client:
        batches: list[Batch] = []
        row = _fetch(client, topic, partition, 0)
        start, end = max(0, row.log_start_offset), row.high_watermark
        at = start
        while at < end:
            found = [b for b in read_batches(_fetch(client, topic, partition, at).records) if b.last_offset >= at]
            assert found, f"{topic}-{partition}: nothing at {at}, before its end {end}"
            batches += found
            at = found[-1].last_offset + 1
        return batches


def late_batches(where: str, batches: Sequence[Batch]) -> list[str]:
    """The data batches that a former owner wrote behind its successor's first batch or marker, described.

    Owners are told apart by the epochs of a producer. An owner has several producers, renews all of them when it takes
    over, and may begin to use them one by one, so that epochs of different producers can't be compared.
    """
    problems = []
    newest: dict[int, int] = {}
    for batch in batches:
        if batch.producer_id < 0:
            problems.append(f"{where}: {batch.base_offset} was written by no producer")
            continue
        if not batch.is_control and batch.epoch < newest.get(batch.producer_id, -1):
            problems.append(
                f"{where}: batch {batch.base_offset} to {batch.last_offset} of producer {batch.producer_id}, epoch "
                f"{batch.epoch}, lies behind the first one of its successor; newest epochs by then: {newest}"
            )
        newest[batch.producer_id] = max(batch.epoch, newest.get(batch.producer_id, -1))
    return problems


def _leader(bootstrap: str, topic: str, partition: int) -> RawClient:
    deadline = time.monotonic() + _LEADER_WITHIN_S
    while True:
        client = RawClient(bootstrap)
        found = client.call("metadata", 7, topics=[{"name": topic}], allow_auto_topic_creation=False)
        rows = [row for row in found.topics[0].partitions if row.partition_index == partition]
        if rows and rows[0].error_code == ErrorCode.none:
            (node,) = (broker for broker in found.brokers if broker.node_id == rows[0].leader_id)
            client.__exit__()
            return RawClient(f"{node.host}:{node.port}")
        client.__exit__()
        assert time.monotonic() < deadline, f"{topic}-{partition} has no leader: {found.topics[0]}"
        time.sleep(0.2)


def _fetch(client: RawClient, topic: str, partition: int, offset: int) -> Any:
    place = {
        "partition": partition,
        "fetch_offset": offset,
        "partition_max_bytes": _BYTES,
        "current_leader_epoch": -1,
        "last_fetched_epoch": -1,
    }
    answer = client.call(
        "fetch",
        12,
        replica_id=-1,
        max_wait=0,
        min_bytes=0,
        max_bytes=_BYTES,
        session_id=0,
        session_epoch=-1,
        isolation_level=0,
        topics=[{"topic": topic, "partitions": [place]}],
    )
    row = answer.responses[0].partitions[0]
    assert row.error_code == ErrorCode.none, row
    return row
