"""What is kept in step beside the topics: the same for the controller, which applies it, and for `replicator plan`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from replicator.config.models import LinkConfig, Settings
from replicator.sync.admin import Admin
from replicator.sync.config_reader import ConfigReader
from replicator.sync.config_sync import ConfigSync
from replicator.sync.plan import Syncer
from replicator.sync.topics import TopicPair, TopicSync
from replicator.wire.cluster import ClusterClient
from replicator.wire.permissions import principal


def make_syncers(
    settings: Settings, link: LinkConfig, topics: TopicSync, target: Admin, clients: Sequence[ClusterClient]
) -> dict[str, Syncer]:
    """By name, in the order in which `plan` shows them. `clients` are of source and target, for these alone."""

    def pairs() -> Mapping[str, TopicPair]:
        return {} if topics.planned is None else topics.planned.pairs

    principals = principal(settings.clusters[link.source].security), principal(settings.clusters[link.target].security)
    syncers: dict[str, Syncer] = {}
    if link.sync.configs:
        readers = [ConfigReader(client) for client in clients]
        syncers["configs"] = ConfigSync(link, pairs, readers[0], readers[1], target, principals=principals)
    return syncers
