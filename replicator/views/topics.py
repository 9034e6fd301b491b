"""Which topics a link copies, under which names, and why not the others."""

from __future__ import annotations

import asyncio
from typing import Any

from replicator.config.librdkafka import client_properties
from replicator.config.models import LinkConfig, Settings
from replicator.sync.admin import Admin
from replicator.sync.topics import TopicPlan, TopicSync


def read_topics(settings: Settings, link: LinkConfig) -> dict[str, Any]:
    """`{"name", "source", "target", "topics": [rows]}`. ReplicatorError if a cluster doesn't answer."""
    names = {"name": link.name, "source": link.source, "target": link.target}
    return {**names, "topics": rows(asyncio.run(_plan(settings, link)))}


async def _plan(settings: Settings, link: LinkConfig) -> TopicPlan:
    source, target = (
        Admin(client_properties(settings.clusters[alias], client_id="replicator-topics"), alias)
        for alias in (link.source, link.target)
    )
    return await TopicSync(link, source, target).plan()


def rows(plan: TopicPlan) -> list[dict[str, Any]]:
    """One dictionary per source topic, by name: `topic, selected, remote, created, partitions, reason, detail`."""
    listed: list[dict[str, Any]] = []
    for name, pair in plan.pairs.items():
        problem = plan.problems.get(name)
        listed.append(
            {
                "topic": name,
                "selected": True,
                "remote": pair.remote_name,
                "created": pair.target is not None,
                "partitions": pair.source.partitions,
                "remote_partitions": pair.target.partitions if pair.target is not None else 0,
                "reason": str(problem.reason) if problem else None,
                "detail": problem.detail if problem else "",
            }
        )
    for name, problem in plan.problems.items():
        if name not in plan.pairs:
            listed.append(_row(name, selected=True, reason=str(problem.reason), detail=problem.detail))
    for name, why in plan.skipped.items():
        listed.append(_row(name, selected=False, reason=None, detail=why))
    return sorted(listed, key=lambda row: (not row["selected"], row["topic"]))


def _row(name: str, *, selected: bool, reason: str | None, detail: str) -> dict[str, Any]:
    return {
        "topic": name,
        "selected": selected,
        "remote": None,
        "created": False,
        "partitions": None,
        "remote_partitions": None,
        "reason": reason,
        "detail": detail,
    }
