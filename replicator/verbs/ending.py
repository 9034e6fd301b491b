"""`remove`, as the API has it: the link's workers, of which who serves the API is one, leave it first."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from replicator.config.models import LinkConfig, Settings
from replicator.dr.holds import Choice
from replicator.dr.remove import belongings, refuse_needed, remove
from replicator.errors import ConfigurationError
from replicator.verbs.verb import WHOLE_LINK, Hand, Order, Row, Verb


class RemoveOrder(Order):
    """How long to wait; topics can't be chosen."""

    model_config = ConfigDict(json_schema_extra=WHOLE_LINK)

    all: bool = Field(default=True, description="It is the whole link that goes.")
    wait: float = Field(default=30.0, ge=0, le=3600, description="How many seconds its workers have to leave it.")

    @property
    def choice(self) -> Choice:
        """All, as it is the link that goes."""
        if self.topic is not None:
            raise ConfigurationError("topic: it is the whole link that goes; topics leave it by the configuration")
        return Choice()


def audit_name(link: str) -> str:
    """The file that the audit trail of a removed link is saved to, unless it is told another."""
    return f"removed-{link}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.json"


def consequence(topics: int, workers: int = 0) -> str:
    """What comes of it, for people."""
    leave = f"{workers} workers leave the link; " if workers else ""
    text = "its positions are gone then: a link of that name can't go on where this one was"
    return f"{leave}{topics} internal topics are deleted, with what they know; {text}."


def _ahead(settings: Settings, link: LinkConfig, order: RemoveOrder) -> dict[str, Any]:
    refuse_needed(settings, link, {link.name})
    found = belongings(settings, link)
    return {"link": link.name, **found.as_json(), "workers": list(found.workers)}


def _consequence(rows: Sequence[Row], order: RemoveOrder) -> str:
    return consequence(sum(len(row["topics"]) for row in rows), sum(len(row["workers"]) for row in rows))


def _run(settings: Settings, link: LinkConfig, order: RemoveOrder, found: Row | None, hand: Hand) -> dict[str, Any]:
    refuse_needed(settings, link, {link.name})
    file = hand.snapshot or Path(audit_name(link.name))
    file.parent.mkdir(parents=True, exist_ok=True)
    done = remove(settings, link, save_audit=file, say=hand.say, by=hand.by, leave_s=order.wait)
    return {"link": link.name, **done.as_json(), "audit": str(file) if file.exists() else None}


REMOVE = Verb(
    "remove",
    "End the link for good: its workers leave it, then its internal topics, its groups and the ACLs that it created "
    "are deleted. Copies stay.",
    RemoveOrder,
    _ahead,
    _consequence,
    _run,
    saves="audit trail",
)
