"""What the contract tests do over and over: topics of their own, one batch at a time, transactions step by step."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Any, Self

from kio.schema.errors import ErrorCode

from tests.support.rawclient import GROUP, TRANSACTION, Batch, RawClient, batch, coordinator, read_batches, retry

NOT_YET = (ErrorCode.unknown_topic_or_partition, ErrorCode.leader_not_available, ErrorCode.not_leader_or_follower)
BUSY = (
    ErrorCode.concurrent_transactions,
    ErrorCode.coordinator_load_in_progress,
    ErrorCode.coordinator_not_available,
    ErrorCode.not_coordinator,
)
READ_UNCOMMITTED, READ_COMMITTED = 0, 1


def unique(prefix: str) -> str:
    """A name that no other test uses."""
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


class Scene:
    """A connection to the (only) node, and shorthands that return protocol entities, so that codes can be asserted."""

    def __init__(self, bootstrap: str, kind: str) -> None:
        self.bootstrap = bootstrap
        self.kind = kind
        self.client = RawClient(bootstrap)
        self._opened: list[RawClient] = [self.client]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._opened:
            client.__exit__()

    def connect(self) -> RawClient:
        """Another connection."""
        client = RawClient(self.bootstrap)
        self._opened.append(client)
        return client

    def group_coordinator(self, group: str) -> RawClient:
        """A connection to the group's coordinator, which has loaded what it needs."""
        client = coordinator(self.bootstrap, group, GROUP)
        self._opened.append(client)
        retry(lambda: client.call("describe_groups", 5, groups=[group]).groups[0], lambda row: row.error_code, BUSY)
        return client

    # --- topics ------------------------------------------------------------------------------------------------------

    def topic(self, partitions: int = 1, /, **configs: str) -> str:
        """A new topic that can be written to; config names with _ for dots."""
        name = unique("t")
        made = self.create(name, partitions, {key.replace("_", "."): value for key, value in configs.items()})
        assert made.error_code == ErrorCode.none, made
        for partition in range(partitions):
            retry(lambda p=partition: self.list_offset(name, -1, partition=p), lambda row: row.error_code, NOT_YET)  # type: ignore[misc]
        return name

    def create(self, name: str, partitions: int = 1, configs: dict[str, str | None] | None = None) -> Any:
        """CreateTopics for one topic."""
        rows = [{"name": key, "value": value} for key, value in (configs or {}).items()]
        topic = {"name": name, "num_partitions": partitions, "replication_factor": 1, "configs": rows}
        return self.client.call("create_topics", 7, topics=[topic], timeout=10_000).topics[0]

    def topic_id(self, name: str) -> uuid.UUID:
        """The topic's id."""
        found = retry(
            lambda: self.client.call("metadata", 12, topics=[{"name": name}]).topics[0],
            lambda row: row.error_code,
            NOT_YET,
        )
        assert found.error_code == ErrorCode.none, found
        assert isinstance(found.topic_id, uuid.UUID)
        return found.topic_id

    # --- records -----------------------------------------------------------------------------------------------------

    def produce(
        self,
        topic: str,
        records: bytes | None,
        *,
        partition: int = 0,
        version: int = 9,
        acks: int = -1,
        transactional_id: str | None = None,
    ) -> Any:
        """Produce one partition's records; the partition's answer."""
        data = {"name": topic, "partition_data": [{"index": partition, "records": records}]}
        response = self.client.call(
            "produce", version, transactional_id=transactional_id, acks=acks, timeout=10_000, topic_data=[data]
        )
        return response.responses[0].partition_responses[0]

    def write(self, topic: str, *values: bytes | tuple[bytes | None, bytes | None], partition: int = 0) -> int:
        """Produce a plain batch that must be accepted; its base offset."""
        done = self.produce(topic, batch(values), partition=partition)
        assert done.error_code == ErrorCode.none, done
        return int(done.base_offset)

    def fetch(self, topic: str, offset: int = 0, *, partition: int = 0, version: int = 12, **how: Any) -> Any:
        """Fetch one partition without a session; the partition's answer. `how`: fields of the request or partition."""
        top = {"isolation_level", "max_wait", "min_bytes", "max_bytes"}
        row = {
            "partition": partition,
            "fetch_offset": offset,
            "partition_max_bytes": 1 << 20,
        }
        if version >= 9:
            row["current_leader_epoch"] = -1
        if version >= 12:
            row["last_fetched_epoch"] = -1
        row |= {key: value for key, value in how.items() if key not in top}
        session = {"session_id": 0, "session_epoch": -1} if version >= 7 else {}
        request = {
            "max_wait": 0,
            "min_bytes": 0,
            "max_bytes": 1 << 24,
            **session,
            "topics": [{"topic": topic, "partitions": [row]}],
            **{key: value for key, value in how.items() if key in top},
        }
        if version < 15:
            request["replica_id"] = -1
        response = self.client.call("fetch", version, **request)
        assert getattr(response, "error_code", 0) == ErrorCode.none, response
        return response.responses[0].partitions[0]

    def batches(self, topic: str, offset: int = 0, **how: Any) -> list[Batch]:
        """The batches of one fetch."""
        row = self.fetch(topic, offset, **how)
        assert row.error_code == ErrorCode.none, row
        return read_batches(row.records)

    def all_batches(self, topic: str, **how: Any) -> list[Batch]:
        """Every batch up to the end: one fetch doesn't go beyond a segment."""
        out: list[Batch] = []
        offset = int(self.list_offset(topic, -2).offset)
        end = self.end(topic, isolation=how.get("isolation_level", READ_UNCOMMITTED))
        while offset < end:
            found = self.batches(topic, offset, **how)
            assert found, f"nothing at {offset} of {topic}, which ends at {end}"
            out += found
            offset = found[-1].last_offset + 1
        return out

    def list_offset(
        self, topic: str, timestamp: int, *, partition: int = 0, isolation: int = 0, version: int = 7
    ) -> Any:
        """ListOffsets for one partition; -1 is the end, -2 the start."""
        row = {"partition_index": partition, "timestamp": timestamp, "current_leader_epoch": -1}
        topics = [{"name": topic, "partitions": [row]}]
        response = self.client.call("list_offsets", version, replica_id=-1, isolation_level=isolation, topics=topics)
        return response.topics[0].partitions[0]

    def end(self, topic: str, *, isolation: int = 0) -> int:
        """The end of the topic's partition 0 as a reader of this isolation sees it."""
        return int(self.list_offset(topic, -1, isolation=isolation).offset)

    def until_end(self, topic: str, offset: int, *, isolation: int = READ_COMMITTED) -> None:
        """Wait until the end is there: markers are written after EndTxn was answered."""
        retry(lambda: self.end(topic, isolation=isolation), lambda end: int(end < offset), [1])
        assert self.end(topic, isolation=isolation) == offset

    # --- producers ---------------------------------------------------------------------------------------------------

    def producer_id(self) -> int:
        """A new idempotent producer's id."""
        done = retry(
            lambda: self.client.call(
                "init_producer_id", 4, transaction_timeout=60_000, producer_id=-1, producer_epoch=-1
            ),
            lambda answer: answer.error_code,
            BUSY,
        )
        assert done.error_code == ErrorCode.none, done
        return int(done.producer_id)

    def transactional(self, name: str | None = None) -> Transactional:
        """A transactional producer that was initialised."""
        name = name or unique("x")
        client = coordinator(self.bootstrap, name, TRANSACTION)
        self._opened.append(client)
        made = Transactional(self, name, client)
        assert made.init() == ErrorCode.none
        return made


class Transactional:
    """A transactional producer, driven by hand. Sequences are kept for partition 0 of one topic at a time."""

    def __init__(self, scene: Scene, name: str, client: RawClient) -> None:
        self.name = name
        self.client = client
        self.producer_id = -1
        self.epoch = -1
        self._scene = scene
        self._sequences: dict[tuple[str, int, int], int] = {}

    def init(self, *, expected: bool = False, version: int = 4, timeout_ms: int = 60_000) -> ErrorCode:
        """InitProducerId; `expected` presents what the producer has. Asks again while the coordinator is busy."""
        known = (self.producer_id, self.epoch) if expected else (-1, -1)
        done = retry(
            lambda: self.client.call(
                "init_producer_id",
                version,
                transactional_id=self.name,
                transaction_timeout=timeout_ms,
                producer_id=known[0],
                producer_epoch=known[1],
            ),
            lambda answer: answer.error_code,
            BUSY,
        )
        if done.error_code == ErrorCode.none:
            self.producer_id, self.epoch = done.producer_id, done.producer_epoch
        return ErrorCode(done.error_code)

    def init_once(self) -> ErrorCode:
        """InitProducerId without asking again."""
        done = self.client.call(
            "init_producer_id",
            4,
            transactional_id=self.name,
            transaction_timeout=60_000,
            producer_id=-1,
            producer_epoch=-1,
        )
        return ErrorCode(done.error_code)

    def add(self, topic: str, partition: int = 0, *, epoch: int | None = None, version: int = 3) -> ErrorCode:
        """AddPartitionsToTxn for one partition; asks again while the last transaction is being ended."""
        done = retry(
            lambda: (
                self.client.call(
                    "add_partitions_to_txn",
                    version,
                    v3_and_below_transactional_id=self.name,
                    v3_and_below_producer_id=self.producer_id,
                    v3_and_below_producer_epoch=self.epoch if epoch is None else epoch,
                    v3_and_below_topics=[{"name": topic, "partitions": [partition]}],
                )
                .results_by_topic_v3_and_below[0]
                .results_by_partition[0]
            ),
            lambda answer: answer.partition_error_code,
            [ErrorCode.concurrent_transactions],
        )
        return ErrorCode(done.partition_error_code)

    def send(self, topic: str, *values: bytes, epoch: int | None = None, version: int = 9) -> Any:
        """Produce a transactional batch with the next sequence."""
        epoch = self.epoch if epoch is None else epoch
        key = (topic, self.producer_id, epoch)
        sequence = self._sequences.get(key, 0)
        data = batch(values, producer_id=self.producer_id, epoch=epoch, sequence=sequence, attributes=0x10)
        done = self._scene.produce(topic, data, version=version, transactional_id=self.name)
        if done.error_code == ErrorCode.none:
            self._sequences[key] = sequence + len(values)
        return done

    def end(self, *, commit: bool, version: int = 4, epoch: int | None = None) -> ErrorCode:
        """EndTxn, once."""
        done = self.client.call(
            "end_txn",
            version,
            transactional_id=self.name,
            producer_id=self.producer_id,
            producer_epoch=self.epoch if epoch is None else epoch,
            committed=commit,
        )
        if done.error_code == ErrorCode.none and version >= 5:
            self.producer_id, self.epoch = done.producer_id, done.producer_epoch
        return ErrorCode(done.error_code)

    def run(self, topic: str, *values: bytes, commit: bool = True) -> None:
        """A whole transaction, markers included."""
        assert self.add(topic) == ErrorCode.none
        assert self.send(topic, *values).error_code == ErrorCode.none
        end = self._scene.end(topic)
        assert self.end(commit=commit) == ErrorCode.none
        self._scene.until_end(topic, end + 1, isolation=READ_UNCOMMITTED)

    def state(self) -> str:
        """The coordinator's name for the transaction's state."""
        listed = self.client.call(
            "list_transactions", 1, producer_id_filters=[self.producer_id], duration_filter=-1
        ).transaction_states
        (row,) = [each for each in listed if each.transactional_id == self.name]
        return str(row.transaction_state)

    def until_complete(self) -> None:
        """Wait until no transaction is being ended any more."""
        deadline = time.monotonic() + 10
        while self.state().startswith("Prepare"):
            assert time.monotonic() < deadline, self.state()
            time.sleep(0.02)


def values(batches: Sequence[Batch]) -> list[bytes | None]:
    """The values of all data records."""
    return [value for each in batches if not each.is_control for _, _, value in each.records]
