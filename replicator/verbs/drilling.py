"""`drill`, as the API has it. Its canary has workers of its own, which whoever offers this verb has to bring along."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import ConfigDict, Field

from replicator.config.models import LinkConfig, Settings
from replicator.dr.canary import canary_settings
from replicator.dr.drill import Crew, Drill
from replicator.dr.drill_report import as_json
from replicator.dr.holds import Choice
from replicator.errors import ConfigurationError
from replicator.verbs.verb import WHOLE_LINK, Hand, Order, Row, Verb


class DrillOrder(Order):
    """How the canary is moved; topics can't be chosen."""

    model_config = ConfigDict(json_schema_extra=WHOLE_LINK)

    all: bool = Field(default=True, description="It goes for the whole link.")
    mode: Literal["promote", "failover"] = Field(default="promote", description="A planned move, or a forced one.")

    @property
    def choice(self) -> Choice:
        """All, as far as a drill has to do with topics."""
        if self.topic is not None:
            raise ConfigurationError("topic: a drill has a canary of its own, and touches no other topic")
        return Choice()


def drill_verb(crew: Crew) -> Verb[DrillOrder]:
    """The verb; `crew` runs workers for the settings that it is given."""

    def run(settings: Settings, link: LinkConfig, order: DrillOrder, found: Row | None, hand: Hand) -> dict[str, Any]:
        return as_json(link.name, Drill(settings, link, order.mode, crew, by=hand.by, say=hand.say).run())

    return Verb(
        "drill",
        "Move a canary topic and group to the target and home again, and measure how long it takes and what is lost.",
        DrillOrder,
        _ahead,
        _consequence,
        run,
    )


def _ahead(settings: Settings, link: LinkConfig, order: DrillOrder) -> dict[str, Any]:
    _, there, _ = canary_settings(settings, link)
    names = {"link": link.name, "source": link.source, "target": link.target}
    return {**names, "topic": there.topics.include[0]}


def _consequence(rows: Sequence[Row], order: DrillOrder) -> str:
    said = "; ".join(f"topic {row['topic']} goes from {row['source']} to {row['target']} and back" for row in rows)
    return f"{said}. No other topic is touched."
