"""All views of a link. A new one is one entry here: the API, its description and the CLI's `--api` then have it."""

from __future__ import annotations

import asyncio
from typing import Any

from replicator.config.models import LinkConfig, Settings
from replicator.ledger.status import LinkStatus, read_status_blocking
from replicator.sync.group_report import read_groups
from replicator.views import shapes
from replicator.views.audit import read_audit
from replicator.views.diagnosis import read_diagnosis, read_examination
from replicator.views.differences import read_differences
from replicator.views.outlook import read_outlook
from replicator.views.readiness import read_readiness
from replicator.views.topics import read_topics
from replicator.views.translation import Position, read_translation
from replicator.views.view import CountQuery, GroupQuery, PositionQuery, Query, ReadyQuery, TopicQuery, View


def read_link(settings: Settings, link: LinkConfig) -> dict[str, Any]:
    """The link's status as JSON has it."""
    return read_status_blocking(settings, link).model_dump(mode="json")


def _lag(settings: Settings, link: LinkConfig, _: Query) -> dict[str, Any]:
    found = read_link(settings, link)
    found["partitions"].sort(key=lambda row: (-(row["lag"] or 0), row["topic"], row["partition"]))
    return found


def _workers(settings: Settings, link: LinkConfig, _: Query) -> dict[str, Any]:
    found = read_link(settings, link)
    return {"name": found["name"], "workers": found["workers"]}


def _groups(settings: Settings, link: LinkConfig, query: GroupQuery) -> dict[str, Any]:
    return asyncio.run(read_groups(settings, link, query.group))


def _translation(settings: Settings, link: LinkConfig, query: PositionQuery) -> dict[str, Any]:
    asked = Position(query.topic, query.partition, query.offset)
    return read_translation(settings, link, asked, reverse=query.reverse)


VIEWS: dict[str, View[Any]] = {
    view.name: view
    for view in (
        View("", "Status of every partition, the workers, what isn't kept in step.", Query,
             lambda settings, link, _: read_link(settings, link), LinkStatus),
        View("lag", "The same, the furthest behind first.", Query, _lag, LinkStatus),
        View("topics", "Which topics are copied, under which names, and why not the others.", Query,
             lambda settings, link, _: read_topics(settings, link), shapes.Topics),
        View("groups", "Consumer groups' positions on both sides.", GroupQuery, _groups, shapes.Groups),
        View("differences", "What will be changed on the target beside the records, and what can't be.", Query,
             lambda settings, link, _: read_differences(settings, link), shapes.Differences),
        View("audit", "Who did what, when, and what came of it.", CountQuery,
             lambda settings, link, query: read_audit(settings, link, query.count), shapes.Audits),
        View("workers", "The workers and their lanes.", Query, _workers, shapes.Workers),
        View("ready", "Whether the copies could be used on their own now, and what is in the way.", ReadyQuery,
             lambda settings, link, query: read_readiness(settings, link, query.choice, query.ignore),
             shapes.Readiness),
        View("check", "Whether all is there that copying needs: addresses, versions, rights, topics.", Query,
             lambda settings, link, _: read_examination(settings, link), shapes.Diagnosis, slow=True),
        View("doctor", "What may trouble the link: addresses, versions, rights, ways, clocks, disks, misfits.", Query,
             lambda settings, link, _: read_diagnosis(settings, link), shapes.Diagnosis, slow=True),
        View("failover", "What a failover would lose now.", TopicQuery,
             lambda settings, link, query: read_outlook(settings, link, query.choice), shapes.Outlook),
        View("translate", "Where a position is on the other cluster.", PositionQuery, _translation,
             shapes.Translation),
    )
}  # fmt: skip
