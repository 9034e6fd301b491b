"""Where very many partitions end, asked with one request per broker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from replicator.config.models import ClusterConfig
from replicator.errors import AuthenticationError, UnreachableError
from replicator.wire.cluster import ClusterClient
from replicator.wire.fetch import READ_COMMITTED
from replicator.wire.kafka_errors import NONE
from replicator.wire.list_offsets import LATEST

Key = tuple[str, int]


async def ends_of_many(
    cluster: ClusterConfig, alias: str, client_id: str, places: Sequence[Key], timeout_s: float
) -> dict[Key, int]:
    """Last stable offsets. Partitions whose leader isn't known, or doesn't answer in time, are left out.

    AuthenticationError if the cluster doesn't take us; UnreachableError if it doesn't say who leads them in time.
    """
    client = ClusterClient(alias, cluster, client_id)
    try:
        try:
            await asyncio.wait_for(client.all_topics(), timeout_s)
        except TimeoutError as error:
            raise UnreachableError(f"cluster {alias}: no metadata within {timeout_s:g} s") from error
        by_leader: dict[int, list[tuple[str, int, int]]] = {}
        for topic, partition in places:
            leader = client.leader(topic, partition)
            if leader is not None:
                by_leader.setdefault(leader.leader, []).append((topic, partition, LATEST))
        asked = [asyncio.wait_for(client.offsets(items, READ_COMMITTED), timeout_s) for items in by_leader.values()]
        ends: dict[Key, int] = {}
        for found in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(found, AuthenticationError):
                raise found
            if isinstance(found, UnreachableError | TimeoutError):
                continue
            if isinstance(found, BaseException):
                raise found
            ends |= {at: listed.offset for at, listed in found.items() if listed.error == NONE}
        return ends
    finally:
        await client.close()
