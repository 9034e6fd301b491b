"""What is kept in step beside the topics: the same for the controller, which applies it, and for `replicator plan`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from replicator.config.models import LinkConfig, Settings
from replicator.ledger.desired import nothing_released
from replicator.ledger.lanes import control_topic
from replicator.sync.acl import Acl
from replicator.sync.acl_admin import AclAdmin
from replicator.sync.acls import AclSync, Write
from replicator.sync.admin import Admin
from replicator.sync.checkpoints import Checkpoints
from replicator.sync.config_reader import ConfigReader
from replicator.sync.config_sync import ConfigSync
from replicator.sync.created_acls import CreatedAcls, ForeignAcls
from replicator.sync.group_rules import Former, never_turned
from replicator.sync.group_writer import Store
from replicator.sync.groups import make_group_sync
from replicator.sync.heartbeats import Heartbeats
from replicator.sync.plan import Syncer
from replicator.sync.topics import TopicPair, TopicSync
from replicator.wire.cluster import ClusterClient
from replicator.wire.permissions import principal


def make_syncers(
    settings: Settings,
    link: LinkConfig,
    topics: TopicSync,
    admins: tuple[Admin, Admin],
    clients: tuple[ClusterClient, ClusterClient],
    write: Write,
    store: Store | None = None,
    released: Callable[[str], bool] = nothing_released,
    former: Former = never_turned,
) -> dict[str, Syncer]:
    """By name, in the order in which `plan` shows them. Admins and clients are of source and target; the latter's
    metadata is that of `topics.plan()`. `write` appends to the control topic; without a `store`
    for what was written of groups, these are planned only. What belongs to copies of `released` topics is left alone.
    """

    def pairs() -> Mapping[str, TopicPair]:
        planned = {} if topics.planned is None else topics.planned.pairs  # maybe of before the source went away
        return {name: pair for name, pair in planned.items() if not released(name)}

    principals = principal(settings.clusters[link.source].security), principal(settings.clusters[link.target].security)
    syncers: dict[str, Syncer] = {}
    if link.sync.configs and not settings.closes(link):  # two directions would exchange what differs, again and again
        readers = [ConfigReader(client) for client in clients]
        syncers["configs"] = ConfigSync(link, pairs, readers[0], readers[1], admins[1], principals=principals)
    if link.sync.acls:
        foreign = ForeignAcls(clients[0])
        syncers["acls"] = AclSync(
            link,
            lambda: pairs().keys(),
            AclAdmin(admins[0], clients[0]),
            AclAdmin(admins[1], clients[1]),
            created=CreatedAcls(clients[1], control_topic(link.name)).read,
            foreign=foreign.read if settings.mixes(link) else _nobody,
            write=write,
            principals=principals,
        )
    if link.sync.groups:
        syncers["groups"] = make_group_sync(settings, link, clients[0], clients[1], store, released, former)
    if link.sync.checkpoints:
        syncers["checkpoints"] = Checkpoints(settings, link, *clients, admins[1])
    if link.sync.heartbeats:
        syncers["heartbeats"] = Heartbeats(link, (admins[0], clients[0]), (admins[1], clients[1]))
    return syncers


async def _nobody() -> tuple[Acl, ...]:
    return ()
