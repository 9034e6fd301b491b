"""Is a partition's ledger entry still about the two topics that now have these names?"""

from __future__ import annotations

from enum import Enum
from uuid import UUID

from replicator.ledger.entry import Entry, Reason
from replicator.wire.iam import TOPIC, in_iam

_OR_HIDDEN = f", or mayn't be described ({in_iam(TOPIC, 'Describe')})"
NO_ID = UUID(int=0)  # of brokers that don't know topic ids


class Identity(Enum):
    """What to do with an entry, given the topics that exist now."""

    SAME = "go on from the entry"
    RESTART = "both topics are others than those of the entry: copy anew, from the start"
    SOURCE_MISSING = Reason.SOURCE_MISSING
    SOURCE_RECREATED = Reason.SOURCE_RECREATED
    TARGET_MISSING = Reason.TARGET_MISSING
    TARGET_RECREATED = Reason.TARGET_RECREATED

    @property
    def reason(self) -> Reason | None:
        """Why the partition can't go on; None if it can."""
        return self.value if isinstance(self.value, Reason) else None


def identify(entry: Entry, source_topic_id: UUID | None, target_topic_id: UUID | None) -> Identity:
    """Compare an entry with the topics as they are now; None is a topic that doesn't exist.

    A source topic that was deleted and created again is another topic: appending it to the old one's copy would mix the
    two. Once the operator has deleted that copy too, nothing is left to be mixed, and copying starts anew.
    """
    if source_topic_id is None:
        return Identity.SOURCE_MISSING
    source_same = _same(entry.source_topic_id, source_topic_id)
    target_same = target_topic_id is not None and _same(entry.target_topic_id, target_topic_id)
    if source_same and target_same:
        return Identity.SAME
    if target_same:
        return Identity.SOURCE_RECREATED
    if not source_same:
        return Identity.RESTART
    if entry.target_topic_id == NO_ID and target_topic_id is None:
        return Identity.SAME  # an entry from before the target topic was made
    return Identity.TARGET_MISSING if target_topic_id is None else Identity.TARGET_RECREATED


def explain(
    entry: Entry,
    reason: Reason,
    source_topic_id: UUID | None,
    target_topic_id: UUID | None,
    *,
    source: str,
    target: str,
) -> str:
    """The detail of what `identify` found, for people; `source` and `target` are the clusters' aliases."""
    if reason is Reason.SOURCE_MISSING:
        return f"Topic {entry.topic} (id {entry.source_topic_id}) isn't on cluster {source}{_OR_HIDDEN}."
    if reason is Reason.SOURCE_RECREATED:
        return f"Topic {entry.topic} on cluster {source} had id {entry.source_topic_id}, and now has {source_topic_id}."
    where = f"{entry.target_topic} (id {entry.target_topic_id})"
    if reason is Reason.TARGET_MISSING:
        return f"Topic {where} isn't on cluster {target}{_OR_HIDDEN}."
    return f"Topic {where} on cluster {target} now has id {target_topic_id}."


def _same(known: UUID, present: UUID) -> bool:
    return known == present or NO_ID in (known, present)
