"""`replicator translate`: where a position on one side is on the other."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Annotated, Any, NamedTuple

import typer
from rich.text import Text

from replicator.cli.options import DEFAULT_CONFIG, ConfigOption, LinkOption, Output, OutputOption, load_links
from replicator.cli.output import console, count, print_json
from replicator.config.librdkafka import client_properties
from replicator.config.models import LinkConfig, Settings
from replicator.errors import ConfigurationError, WrongStateError
from replicator.ledger.entry import Entry
from replicator.ledger.map_reader import MapReader
from replicator.ledger.offset_map import OffsetMap
from replicator.ledger.translation import BEFORE, BEYOND, locate
from replicator.telemetry import logs

_MOST = (1 << 63) - 1
_NUMBER = re.compile("[0-9]{1,19}")


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


def translate(
    position: Annotated[str, typer.Argument(metavar="TOPIC:PARTITION:OFFSET", help="A position on the source.")],
    reverse: Annotated[
        bool, typer.Option("--reverse", help="The position is one on the target, the topic as it is called there.")
    ] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    link: LinkOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Where a consumer's position is on the other cluster: that of the first copied record at or after it."""
    logs.configure(level="ERROR")
    asked = parse(position)
    settings, links, _ = load_links(config, link)
    found: list[Translation] = []
    missing: list[str] = []
    for item in links:
        answer = _ask(settings, item, asked, reverse)
        if isinstance(answer, Translation):
            found.append(answer)
        else:
            missing.append(answer)
    if not found:
        raise WrongStateError("\n".join(missing))
    if output is Output.JSON:
        print_json({"links": [answer.as_dict() for answer in found]})
        return
    for answer in found:
        console().print(render(answer), soft_wrap=True)


def parse(text: str) -> Position:
    """The argument's parts. ConfigurationError when it isn't a topic, a partition and an offset."""
    parts = text.rsplit(":", 2)
    if len(parts) != 3 or not parts[0]:
        raise ConfigurationError(f"{text!r}: a position is TOPIC:PARTITION:OFFSET, as in orders:0:1234")
    topic, partition, offset = parts
    for number, what, most in ((partition, "partition", (1 << 31) - 1), (offset, "offset", _MOST)):
        if not _NUMBER.fullmatch(number) or int(number) > most:
            raise ConfigurationError(f"{text!r}: {what} {number!r} isn't a number from 0 to {most}")
    return Position(topic, int(partition), int(offset))


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


def render(found: Translation) -> Text:
    """One line, for people."""
    text = Text(f"{found.link}: ")
    text.append(_place(found.origin))
    text.append(" -> ")
    text.append(_place(found.to), style="bold")
    if found.exact:
        text.append("  exact", style="green")
    else:
        text.append(f"  at most {count(found.error_bound)} records before the exact position", style="yellow")
    if found.where == BEFORE:
        text.append("; nothing was copied from before it")
    elif found.where == BEYOND:
        text.append("; nothing at or after it is copied yet: the next record goes there")
    return text


def _place(place: Place) -> str:
    return f"{place.cluster} {place.topic}:{place.partition}:{place.offset}"
