"""Takes links over from MirrorMaker 2: connects, makes sure that it has stopped, takes its positions, disconnects."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import structlog

from replicator.config.librdkafka import client_properties
from replicator.config.mm2_import import Flow
from replicator.config.models import LinkConfig, Settings
from replicator.dr.mm2_positions import Taken, require_stopped, stored_positions, synced_groups, take_over
from replicator.errors import ReplicatorError
from replicator.ledger.topic import ensure_topics
from replicator.sync.admin import Admin, TopicSpec
from replicator.wire.cluster import ClusterClient

log = structlog.get_logger(__name__)

_LIMIT_S = 30.0
_RETRY_S = 1.0


async def take_links(
    settings: Settings, flows: Sequence[tuple[LinkConfig, Flow]], *, dry_run: bool = False
) -> list[tuple[str, Taken]]:
    """By link, in order. `dry_run` writes nothing. ReplicatorError if one can't be taken over; the ones before are."""
    return [(link.name, await _patiently(settings, link, flow, dry_run)) for link, flow in flows]


async def _patiently(settings: Settings, link: LinkConfig, flow: Flow, dry_run: bool) -> Taken:
    """Topics that were only just created have no leader yet: what may heal is tried again; repeating is harmless."""
    deadline = time.monotonic() + _LIMIT_S
    while True:
        try:
            return await _take(settings, link, flow, dry_run)
        except ReplicatorError as error:
            if not error.retriable or time.monotonic() > deadline:
                raise
            log.warning("can't take over yet", link=link.name, error=str(error))
            await asyncio.sleep(_RETRY_S)


async def _take(settings: Settings, link: LinkConfig, flow: Flow, dry_run: bool) -> Taken:
    client_id = f"replicator-{link.name}-import"
    source = ClusterClient(link.source, settings.clusters[link.source], client_id)
    target = ClusterClient(link.target, settings.clusters[link.target], client_id)
    admin = Admin(client_properties(settings.clusters[link.target], client_id=f"{client_id}-admin"), link.target)

    async def make_topics() -> None:
        await ensure_topics(link, admin, TopicSpec)

    try:
        await source.all_topics()
        await target.all_topics()
        await require_stopped(target, flow.group)
        stored = await stored_positions(target, flow.positions_topic, flow.source)
        groups = await synced_groups(target, flow.checkpoints_topic) if flow.checkpoints_topic else {}
        return await take_over(link, source, target, stored, make_topics, groups=groups, dry_run=dry_run)
    finally:
        await source.close()
        await target.close()
