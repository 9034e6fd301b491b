"""What a link would create, change and delete beside the records, and what can't be kept in step."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from replicator.config.librdkafka import client_properties
from replicator.config.models import LinkConfig, Settings
from replicator.ledger.lanes import ledger_topic
from replicator.ledger.log import KeyValue
from replicator.states import Reason
from replicator.sync.admin import Admin
from replicator.sync.deletions import Deletions
from replicator.sync.ledger_follower import LedgerFollower
from replicator.sync.metadata_topics import MetadataTopics
from replicator.sync.plan import Change, Held, Kind, Why
from replicator.sync.syncers import make_syncers
from replicator.sync.topics import TopicPlan, TopicSync, changes_of
from replicator.wire.cluster import ClusterClient

_ORDER = {kind: number for number, kind in enumerate(Kind)}


def read_differences(settings: Settings, link: LinkConfig) -> dict[str, Any]:
    """The plan, as JSON has it. ReplicatorError if a cluster doesn't answer."""
    return as_json(link, *asyncio.run(read_plan(settings, link)))


async def read_plan(settings: Settings, link: LinkConfig) -> tuple[list[Change], list[Held]]:
    """All changes in the order in which they would be made, and what can't be kept in step. Reads only."""
    client_id = f"replicator-{link.name}-plan"
    aliases = (link.source, link.target)
    source, target = (Admin(client_properties(settings.clusters[a], client_id=client_id), a) for a in aliases)
    clients = [ClusterClient(a, settings.clusters[a], client_id) for a in aliases]
    ledger = LedgerFollower(client_properties(settings.clusters[link.target], client_id=client_id), link, target)
    listing = MetadataTopics(clients[0]), MetadataTopics(clients[1])
    try:
        there = ledger_topic(link.name) in await listing[1].list_topics()
        deletions = Deletions(clients[0], patience_s=0)
        topics = TopicSync(link, source, target, ledger.entries if there else dict, listing, deletions)
        planned = await topics.plan()
        changes, held = list(changes_of(planned)), _problems(planned)
        syncers = make_syncers(settings, link, topics, (source, target), (clients[0], clients[1]), _write_nothing)
        for found in [await syncer.plan() for syncer in syncers.values()]:
            changes += found.changes
            held += found.held
    finally:
        await ledger.close()
        for client in clients:
            await client.close()
    return sorted(changes, key=lambda change: _ORDER[change.kind]), held


def as_json(link: LinkConfig, changes: Sequence[Change], held: Sequence[Held]) -> dict[str, Any]:
    """`{name, changes: [{kind, resource, what, before, after}], held: [{kind, resource, why, detail}]}`"""
    return {
        "name": link.name,
        "source": link.source,
        "target": link.target,
        "changes": [
            {"kind": c.kind.value, "resource": c.resource, "what": c.what, "before": c.before, "after": c.after}
            for c in changes
        ],
        "held": [
            {"kind": h.kind.value, "resource": h.resource, "why": str(h.why), "detail": h.detail} for h in held
        ],
    }  # fmt: skip


def _problems(plan: TopicPlan) -> list[Held]:
    held: list[Held] = []
    for name, problem in plan.problems.items():
        why = Why.NOT_AUTHORIZED if problem.reason is Reason.NOT_AUTHORIZED else Why.REFUSED
        held.append(Held(Kind.TOPIC, name, why, f"{problem.reason.value}: {problem.detail}"))
    return held


async def _write_nothing(pairs: Sequence[KeyValue]) -> None:
    raise AssertionError("a plan writes nothing")
