"""How far a link's ledger says that each partition has been copied."""

from __future__ import annotations

from collections.abc import Iterator

from replicator.config.models import LinkConfig
from replicator.dr.reader import Partition, Side
from replicator.ledger.lanes import ledger_topic
from replicator.ledger.load import entries_from_records


def ledger_positions(target: Side, link: LinkConfig) -> dict[Partition, tuple[int, int]] | None:
    """`(source_next, target_next)` by source partition, of one instant each; None if the link has no ledger yet."""
    topic = ledger_topic(link.name)
    lanes = target.partitions().get(topic)
    if lanes is None:
        return None
    places = [(topic, lane) for lane in range(lanes)]
    starts, ends = target.starts(places), target.ends(places)

    def records(place: tuple[str, int]) -> Iterator[tuple[bytes, bytes | None]]:
        for record in target.read(place, starts[place], ends[place]):
            yield record.key or b"", record.value

    found: dict[Partition, tuple[int, int]] = {}
    for place in places:  # each by itself: one lane may say that a partition has moved, and another one where it is
        for at, entry in entries_from_records(records(place)).items():
            found[at] = entry.source_next, entry.target_next
    return found
