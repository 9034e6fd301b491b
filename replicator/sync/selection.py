"""`replicator.ledger.selection` for topics as a cluster describes them."""

from __future__ import annotations

from replicator.config.models import LinkConfig
from replicator.ledger import selection
from replicator.sync.admin import Topic


def skip_reason(link: LinkConfig, topic: Topic) -> str | None:
    """Why the link isn't meant to copy this topic; None if it is."""
    return selection.skip_reason(link, topic.name, internal=topic.internal)
