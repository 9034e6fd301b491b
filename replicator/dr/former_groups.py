"""Where the groups that a link keeps in step stand on its target, at the moment when it begins to."""

from __future__ import annotations

from replicator.config.models import LinkConfig, Settings
from replicator.sync.group_client import GroupClient
from replicator.sync.group_filter import GroupFilter
from replicator.wire.cluster import ClusterClient

Key = tuple[str, int]


async def read_groups(settings: Settings, link: LinkConfig, topics: set[str]) -> dict[str, dict[Key, int]]:
    """Group -> its positions in these topics of the target. ReplicatorError if the target doesn't answer."""
    target = ClusterClient(link.target, settings.clusters[link.target], f"replicator-{link.name}-reverse")
    try:
        await target.all_topics()
        client = GroupClient(target)
        groups = list(GroupFilter(link.groups).choose((await client.groups()).values()))
        found: dict[str, dict[Key, int]] = {}
        for group, positions in (await client.positions(groups)).items():
            at = {key: held.offset for key, held in positions.committed.items() if key[0] in topics and not held.error}
            if at:
                found[group] = at
        return found
    finally:
        await target.close()
