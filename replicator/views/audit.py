"""Who did what to a link, when, and what came of it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from replicator.config.models import LinkConfig, Settings
from replicator.dr.desk import read_trail


def read_audit(settings: Settings, link: LinkConfig, count: int) -> dict[str, Any]:
    """`{"audit": [rows]}`, at most so many, the newest first."""
    trail = read_trail(settings, link)[:count]
    return {"audit": [{"link": link.name, **asdict(each), "id": str(each.id), "at": iso(each.at_ms)} for each in trail]}


def iso(time_ms: int) -> str:
    """As people and programs read it: to the second, in UTC."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
