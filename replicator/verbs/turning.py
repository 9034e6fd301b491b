"""`reverse`, as the API has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from replicator.config.models import LinkConfig, Settings
from replicator.dr.reverse import prepare, reverse, way_back
from replicator.verbs.verb import Hand, Order, Row, Verb


class ReverseOrder(Order):
    """How long to wait."""

    wait: float = Field(default=60.0, ge=0, le=86_400, description="How many seconds to wait for workers.")


def _ahead(settings: Settings, link: LinkConfig, order: ReverseOrder) -> dict[str, Any]:
    woken = way_back(settings, link)
    _, chosen = prepare(settings, link, order.choice)
    names = {"link": woken.name, "of": link.name, "source": woken.source, "target": woken.target}
    return {**names, "topics": sorted({each.topic for each in chosen})}


def _consequence(rows: Sequence[Row], order: ReverseOrder) -> str:
    said = [f"{len(row['topics'])} topics on {row['source']} will be copied to {row['target']}" for row in rows]
    return f"What clients write to {'; to '.join(said)}."


def _run(settings: Settings, link: LinkConfig, order: ReverseOrder, found: Row | None, hand: Hand) -> dict[str, Any]:
    done = reverse(settings, link, order.choice, wait_s=order.wait, why=order.why, by=hand.by, say=hand.say)
    return done.as_json()


REVERSE = Verb(
    "reverse",
    "After a promotion: copy what clients write to the copies back to the former source, from their first record on.",
    ReverseOrder,
    _ahead,
    _consequence,
    _run,
)
