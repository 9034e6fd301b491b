"""Where copying has got to when it ends: what clients write to the copies from then on lies behind that."""

from __future__ import annotations

from replicator.config.models import LinkConfig, Settings
from replicator.dr.desk import Desk
from replicator.dr.holds import Choice
from replicator.ledger.status import read_status_blocking
from replicator.ledger.turning import encode_cuts


def note_cuts(settings: Settings, link: LinkConfig, choice: Choice, desk: Desk) -> None:
    """Write it down for the chosen topics of which it isn't known yet. Call when they don't copy any more, and before
    `restore` copies the rest, which comes to stand behind clients' records."""
    known = desk.turning.cuts
    found: dict[str, dict[int, int]] = {}
    for each in choice.of_status(read_status_blocking(settings, link, ask_source=False)):
        if each.topic not in known and each.target_next >= 0:
            found.setdefault(each.topic, {})[each.partition] = each.target_next
    desk.write(encode_cuts(found))
