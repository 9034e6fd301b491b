"""Takes links over from MirrorMaker 2: connects, makes sure that it has stopped, takes its positions, disconnects."""

from __future__ import annotations

from collections.abc import Sequence

from replicator.config.librdkafka import client_properties
from replicator.config.mm2_import import Flow
from replicator.config.models import LinkConfig, Settings
from replicator.dr.mm2_positions import Taken, require_stopped, stored_positions, synced_groups, take_over
from replicator.ledger.topic import ensure_topics
from replicator.sync.admin import Admin, TopicSpec
from replicator.wire.cluster import ClusterClient


async def take_links(
    settings: Settings, flows: Sequence[tuple[LinkConfig, Flow]], *, dry_run: bool = False
) -> list[tuple[str, Taken]]:
    """By link, in order. `dry_run` writes nothing. ReplicatorError if one can't be taken over; the ones before are."""
    return [(link.name, await _take(settings, link, flow, dry_run)) for link, flow in flows]


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
