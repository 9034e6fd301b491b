"""What a failover would lose now."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from replicator.config.models import LinkConfig, Settings
from replicator.dr import failover as dr
from replicator.dr.holds import Choice
from replicator.dr.loss import total


def read_outlook(settings: Settings, link: LinkConfig, choice: Choice) -> dict[str, Any]:
    """As JSON has it. WrongStateError if one of the topics was promoted."""
    return as_json(link, dr.outlook(settings, link, choice))


def as_json(link: LinkConfig, found: dr.Outlook) -> dict[str, Any]:
    """The losses, partition by partition and together; `due`: how many partitions aren't failed over yet."""
    records, unknown = total(found.losses)
    return {
        "link": link.name,
        "source": link.source,
        "partitions": len(found.chosen),
        "due": len(found.due),
        "lost_records": records,
        "unknown_partitions": unknown,
        "losses": [asdict(loss) for loss in found.losses],
        "source_seen": found.status.source_seen,
        "source_error": found.status.source_error,
    }
