"""Where the groups that a link keeps in step stand on one of its clusters, at this moment."""

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
        return await groups_of(link, target, topics)
    finally:
        await target.close()


async def groups_of(link: LinkConfig, cluster: ClusterClient, topics: set[str]) -> dict[str, dict[Key, int]]:
    """The same of any cluster."""
    await cluster.all_topics()
    client = GroupClient(cluster)
    groups = list(GroupFilter(link.groups).choose((await client.groups()).values()))
    found: dict[str, dict[Key, int]] = {}
    for group, positions in (await client.positions(groups)).items():
        at = {key: held.offset for key, held in positions.committed.items() if key[0] in topics and not held.error}
        if at:
            found[group] = at
    return found
