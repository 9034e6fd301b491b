"""Writes the markers that end a transaction in its partitions, after EndTxn was answered.

A partition without a live leader keeps the transaction from completing until it has one again, as in Kafka.
Tests can hold markers back: `cluster.faults.delay("WriteTxnMarkers", seconds, topic=...)`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.faults import Action
from broker.node import NodeState
from broker.transactions.metadata import Transaction, TransactionState

if TYPE_CHECKING:
    from broker.cluster import Cluster
    from broker.coordinator_topic import CoordinatorTopic

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.05
OFFSETS_TOPIC = "__consumer_offsets"
API = "WriteTxnMarkers"


class MarkerWriter:
    """One task for each transaction that is being ended."""

    def __init__(self, cluster: Cluster, transactions_log: CoordinatorTopic) -> None:
        self._cluster = cluster
        self._log = transactions_log
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, transaction: Transaction) -> None:
        """Start writing markers; returns at once."""
        task = asyncio.get_running_loop().create_task(self._end(transaction), name="transaction-markers")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Give up what isn't written yet; it is resumed from the log at the next start."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _end(self, transaction: Transaction) -> None:
        await asyncio.sleep(0)
        commit = transaction.state is TransactionState.PREPARE_COMMIT
        for topic, partition in sorted(transaction.partitions):
            await self._delay(topic)
            await _until_done(partial(self._write, transaction, topic, partition, commit))
        await _until_done(partial(self._complete, transaction.transactional_id))

    def _write(self, transaction: Transaction, topic: str, index: int, commit: bool) -> bool:
        """Write one marker; False means to try again later."""
        partition = self._cluster.topics.partition(topic, index)
        if partition is None:
            return True  # deleted meanwhile: there is nothing left to end
        if partition.leader == -1 or self._cluster.nodes[partition.leader].state is not NodeState.RUNNING:
            return False
        coordinator_epoch = self._log.coordinator_epoch(self._log.partition_for(transaction.transactional_id))
        try:
            partition.log.append_marker(transaction.producer_id, transaction.producer_epoch, commit, coordinator_epoch)
        except KafkaError as error:
            if error.code is ErrorCode.kafka_storage_error:
                return False
            log.warning("marker of %s in %s-%d: %s", transaction.transactional_id, topic, index, error)
            return True
        if topic == OFFSETS_TOPIC:
            self._cluster.coordinators.groups.end_transaction(index, transaction.producer_id, commit=commit)
        return True

    def _complete(self, transactional_id: str) -> bool:
        try:
            self._cluster.coordinators.transactions.complete(transactional_id)
        except KafkaError as error:
            log.info("completing the transaction of %s: %s", transactional_id, error)
            return False
        return True

    async def _delay(self, topic: str) -> None:
        node = self._cluster.controller_id
        fault = self._cluster.faults.strike(Action.DELAY, API, node=node, client_id=None, topics=(topic,))
        if fault is not None:
            await asyncio.sleep(fault.seconds)


async def _until_done(attempt: Callable[[], bool]) -> None:
    while True:
        if attempt():
            return
        await asyncio.sleep(RETRY_SECONDS)
