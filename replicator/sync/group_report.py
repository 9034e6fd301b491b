"""Where groups are on both sides of a link, read straight from the clusters; no worker needs to run."""

from __future__ import annotations

import asyncio
from typing import Any

from replicator.config.models import LinkConfig, Settings
from replicator.errors import WrongStateError
from replicator.sync.group_filter import GroupFilter
from replicator.sync.group_plan import View
from replicator.sync.groups import make_group_sync
from replicator.sync.plan import Why
from replicator.wire.cluster import ClusterClient
from replicator.wire.fetch import READ_COMMITTED
from replicator.wire.kafka_errors import NONE
from replicator.wire.list_offsets import LATEST

Key = tuple[str, int]


async def read_groups(settings: Settings, link: LinkConfig, only: str | None = None) -> dict[str, Any]:
    """The link's groups (or `only` this one) as JSON has them. Writes nothing. ReplicatorError if a cluster doesn't
    answer, WrongStateError if the group isn't one that the link keeps in step."""
    client_id = f"replicator-{link.name}-groups"
    source, target = (ClusterClient(alias, settings.clusters[alias], client_id) for alias in (link.source, link.target))
    try:
        await asyncio.gather(source.all_topics(), target.all_topics())
        if only is not None and not GroupFilter(link.groups).selects(only):
            raise WrongStateError(f"link {link.name}: groups.include and groups.exclude leave out group {only}")
        sync = make_group_sync(settings, link, source, target)
        plan = await sync.plan(only, all_views=True)
        views = _of_copied_topics(sync.views) if only is None else sync.views
        ends = await _ends(source, {(view.topic, view.partition) for view in views})
    finally:
        await asyncio.gather(source.close(), target.close())
    groups: dict[str, list[dict[str, Any]]] = {}
    for view in sorted(views, key=lambda view: (view.group, view.topic, view.partition, view.target_topic or "")):
        groups.setdefault(view.group, []).append(_position(view, ends.get((view.topic, view.partition))))
    held = [
        {"group": item.resource, "why": item.why.value, "detail": item.detail}
        for item in plan.held
        if item.resource not in groups
    ]
    if only is not None and not groups and not held:
        raise WrongStateError(f"link {link.name}: group {only} has no positions on cluster {link.source}")
    return {
        "name": link.name,
        "source": link.source,
        "target": link.target,
        "synced": link.sync.groups,
        "groups": [{"group": group, "positions": positions} for group, positions in groups.items()],
        "held": held,
    }


def _of_copied_topics(views: list[View]) -> list[View]:
    """Without groups that have nothing to do with the link, and the topics that others have beside."""
    return [view for view in views if view.target_topic is not None]


async def _ends(source: ClusterClient, places: set[Key]) -> dict[Key, int]:
    listed = await source.offsets([(*at, LATEST) for at in sorted(places)], READ_COMMITTED)
    return {at: found.offset for at, found in listed.items() if found.error == NONE}


def _position(view: View, end: int | None) -> dict[str, Any]:
    wanted = view.wanted
    synced = wanted is not None and view.why in (None, Why.INEXACT) and view.held == view.offset_there
    return {
        "topic": view.topic,
        "partition": view.partition,
        "source_offset": view.offset,
        "lag": None if end is None else max(0, end - view.offset),
        "target_topic": view.target_topic,
        "target_offset": view.held,
        "translated": view.offset_there,
        "exact": wanted is not None and not wanted.error_bound,
        "error_bound": None if wanted is None else wanted.error_bound,
        "where": None if wanted is None else wanted.where,
        "smaller_of_two": wanted is not None and wanted.of_two,
        "synced": synced,
        "why": None if view.why is None else view.why.value,
        "detail": view.detail,
    }
