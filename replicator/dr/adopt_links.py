"""Adopts the copies of links before their workers start: connects, waits for clusters that start too, disconnects."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import structlog

from replicator.config.librdkafka import client_properties
from replicator.config.models import LinkConfig, Settings
from replicator.dr.adopt import Adoption, Outcome
from replicator.errors import ConfigurationError, ReplicatorError
from replicator.ledger.topic import ensure_topics
from replicator.sync.admin import Admin, TopicSpec
from replicator.wire.cluster import ClusterClient

log = structlog.get_logger(__name__)

START_LIMIT_S = 30.0
_RETRY_S = 1.0


async def prepare_links(settings: Settings, links: Sequence[LinkConfig], *, from_scratch: bool) -> None:
    """Adopt the unknown copies of these links, or begin anew behind them. ReplicatorError if that can't be done."""
    for link in links:
        await _patiently(settings, link, from_scratch)


async def _patiently(settings: Settings, link: LinkConfig, from_scratch: bool) -> None:
    """Clusters and daemon often start together: what may heal is tried again for `START_LIMIT_S`."""
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        try:
            await _once(settings, link, from_scratch)
            return
        except ConfigurationError:
            raise
        except ReplicatorError as error:
            if not error.retriable or time.monotonic() > deadline:
                raise
            log.warning("can't adopt yet", link=link.name, error=str(error))
            await asyncio.sleep(_RETRY_S)


async def _once(settings: Settings, link: LinkConfig, from_scratch: bool) -> Outcome:
    client_id = f"replicator-{link.name}-adopt"
    source = ClusterClient(link.source, settings.clusters[link.source], client_id)
    target = ClusterClient(link.target, settings.clusters[link.target], client_id)

    async def make_topics() -> None:
        properties = client_properties(settings.clusters[link.target], client_id=f"{client_id}-admin")
        await ensure_topics(link, Admin(properties, link.target), TopicSpec)

    adoption = Adoption(link, source, target, prepare=make_topics, two_way=settings.returns(link))
    try:
        return await (adoption.copy_again() if from_scratch else adoption.adopt())
    finally:
        await source.close()
        await target.close()
