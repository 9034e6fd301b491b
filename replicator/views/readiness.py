"""Whether a link's copies could be used on their own now, and what is in the way."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from replicator.config.models import LinkConfig, Settings
from replicator.dr import ready as dr
from replicator.dr.holds import Choice
from replicator.dr.ready_beside import beside
from replicator.errors import ReplicatorError
from replicator.ledger.status import read_status_blocking
from replicator.views.differences import read_plan


def read_readiness(settings: Settings, link: LinkConfig, choice: Choice, ignore: str = "") -> dict[str, Any]:
    """`{"link", "ready", "obstacles"}`, without the kinds to `ignore`. Changes nothing. ReplicatorError if the target
    doesn't answer."""
    ignored = dr.ignored_kinds(ignore)
    found = dr.without(_obstacles(settings, link, choice), ignored)
    return {"link": link.name, "ready": dr.ready(found), "obstacles": [asdict(each) for each in found]}


def _obstacles(settings: Settings, link: LinkConfig, choice: Choice) -> list[dr.Obstacle]:
    status = read_status_blocking(settings, link)
    if status.source_error is not None:
        return dr.obstacles(status, choice, (), ())
    try:
        changes, held = asyncio.run(read_plan(settings, link))
    except ReplicatorError as error:
        return [*dr.obstacles(status, choice, (), ()), dr.Obstacle("plan", link.name, str(error))]
    return [
        *dr.obstacles(status, choice, changes, held),
        *beside(settings, link, {p.topic for p in choice.of_status(status)}),
    ]
