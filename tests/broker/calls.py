"""A cluster in the test's own event loop and raw clients for it, off the loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from broker.cluster import Cluster
from tests.support.rawclient import RawClient, batch, read_batches


class Caller:
    """`await client.call(api, version, ...)`: a RawClient whose blocking calls run in a thread."""

    def __init__(self, raw: RawClient) -> None:
        self.raw = raw

    async def call(self, api: str, version: int, /, **values: Any) -> Any:
        return await asyncio.to_thread(self.raw.call, api, version, **values)

    async def send(self, api: str, version: int, /, **values: Any) -> None:
        await asyncio.to_thread(self.raw.send, api, version, **values)

    async def receive(self, api: str, version: int) -> Any:
        return await asyncio.to_thread(self.raw.receive, api, version)

    async def produce(
        self, topic: Any, records: bytes | None, *, version: int = 9, acks: int = -1, partition: int = 0, **more: Any
    ) -> Any:
        """The partition's answer to one batch; `topic` is an id from version 13 on."""
        row = {"partition_data": [{"index": partition, "records": records}]}
        row["topic_id" if version >= 13 else "name"] = topic
        values = {"acks": acks, "timeout": 1000, "transactional_id": None} | more
        answer = await self.call("produce", version, topic_data=[row], **values)
        return answer.responses[0].partition_responses[0]

    async def fetch(self, topic: Any, offset: int, *, version: int = 12, **more: Any) -> Any:
        """The whole answer to a fetch of partition 0 (or of `topics`)."""
        names = ("current_leader_epoch", "last_fetched_epoch", "partition")
        row = {"partition": 0, "fetch_offset": offset, "partition_max_bytes": 1 << 20}
        row |= {name: more.pop(name) for name in names if name in more}
        asked = [{"topic_id" if version >= 13 else "topic": topic, "partitions": [row]}]
        values: dict[str, Any] = {"topics": asked, "max_wait": 0, "min_bytes": 1, "max_bytes": 1 << 20}
        if version <= 14:
            values["replica_id"] = -1
        return await self.call("fetch", version, **(values | more))

    async def fetched(self, topic: Any, offset: int, **more: Any) -> Any:
        """The answer for that one partition."""
        return (await self.fetch(topic, offset, **more)).responses[0].partitions[0]


@asynccontextmanager
async def client_of(cluster: Cluster, node_id: int = 0) -> AsyncIterator[Caller]:
    """A connection to one node."""
    host, port = cluster.nodes[node_id].address("PLAINTEXT")
    with await asyncio.to_thread(RawClient, f"{host}:{port}", timeout=5.0) as raw:
        yield Caller(raw)


@asynccontextmanager
async def running(nodes: int = 1, config: Mapping[str, str] | None = None, **more: Any) -> AsyncIterator[Cluster]:
    """A started cluster that must not have had internal errors when it stops."""
    async with Cluster(nodes=nodes, config=config, **more) as cluster:
        yield cluster
    assert cluster.internal_errors == 0


__all__ = ["Caller", "batch", "client_of", "read_batches", "running"]
