"""Where a position on one side of a link is on the other."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from replicator.config.librdkafka import client_properties
from replicator.config.models import LinkConfig, Settings
from replicator.errors import WrongStateError
from replicator.ledger.entry import Entry
from replicator.ledger.map_reader import MapReader
from replicator.ledger.offset_map import OffsetMap
from replicator.ledger.translation import locate


class Position(NamedTuple):
    """What the argument says."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a cluster."""

    cluster: str
    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Translation:
    """The answer for one link. `offset` of `to` is at most `error_bound` records before the exact one, never behind.

    `where`: the position is `copied`, `before` the first record that was copied, or `beyond` the last one.
    """

    link: str
    origin: Place
    to: Place
    exact: bool
    error_bound: int
    where: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = asdict(self)
        return {"link": found.pop("link"), "from": found.pop("origin"), **found}


def read_translation(settings: Settings, link: LinkConfig, asked: Position, *, reverse: bool) -> dict[str, Any]:
    """Where it is, as JSON has it; WrongStateError if nobody knows, and why."""
    found = _ask(settings, link, asked, reverse)
    if isinstance(found, str):
        raise WrongStateError(found)
    return found.as_dict()


def _ask(settings: Settings, link: LinkConfig, asked: Position, reverse: bool) -> Translation | str:
    """The answer of a link, or why it has none."""
    topic = _source_topic(link, asked.topic) if reverse else asked.topic
    if topic is None:
        return (
            f"link {link.name}: topic {asked.topic} on cluster {link.target} isn't one of its copies, which are called "
            f"{link.remote_topic('…')}"
        )
    reader = MapReader(
        client_properties(settings.clusters[link.target], client_id=f"replicator-{link.name}-translate"),
        link.name,
        cluster=link.target,
    )
    try:
        loaded = reader.load(topic, asked.partition)
    finally:
        reader.close()
    if loaded is None:
        return _why_unknown(link, topic, asked.partition, reverse)
    return _translation(link, asked, reverse, *loaded)


def _source_topic(link: LinkConfig, topic: str) -> str | None:
    """What a topic of the target is called on the source; None if the link wouldn't call a copy so."""
    prefix = link.remote_topic("")
    source = topic.removeprefix(prefix)
    return source if source and link.remote_topic(source) == topic else None


def _why_unknown(link: LinkConfig, topic: str, partition: int, reverse: bool) -> str:
    said = f"link {link.name}: nothing is known of {topic}-{partition} of cluster {link.source}"
    original = _source_topic(link, topic)
    if not reverse and original is not None and original != topic:
        return f"{said}; to translate a position in the copy {topic} on {link.target}, add --reverse"
    if not link.selects(topic):
        return f"{said}: the link doesn't copy this topic (topics.include, topics.exclude)"
    return f"{said}: it doesn't exist, or isn't copied yet; see `replicator status --link {link.name}`"


def _translation(link: LinkConfig, asked: Position, reverse: bool, entry: Entry, known: OffsetMap) -> Translation | str:
    located = locate(entry, known, asked.offset, reverse=reverse)
    if isinstance(located, str):
        return f"link {link.name}: {located}"
    offset, bound, where = located
    source = Place(link.source, entry.topic, entry.partition, offset if reverse else asked.offset)
    target = Place(link.target, entry.target_topic, entry.partition, asked.offset if reverse else offset)
    origin, to = (target, source) if reverse else (source, target)
    return Translation(link.name, origin, to, bound == 0, bound, where)
