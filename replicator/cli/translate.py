"""`replicator translate`: where a position on one side is on the other."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer
from rich.text import Text

from replicator.cli.options import DEFAULT_CONFIG, ConfigOption, LinkOption, Output, OutputOption
from replicator.cli.output import console, count, print_json
from replicator.cli.reach import reach
from replicator.errors import ConfigurationError, WrongStateError
from replicator.ledger.translation import BEFORE, BEYOND
from replicator.telemetry import logs
from replicator.views.translation import Position

_MOST = (1 << 63) - 1
_NUMBER = re.compile("[0-9]{1,19}")


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
    links = reach(config, link)
    found: list[dict[str, Any]] = []
    missing: list[str] = []
    for name in links.names:
        try:
            found.append(links.view("translate", name, **asked._asdict(), reverse=reverse))
        except WrongStateError as error:
            missing.append(str(error))
    if not found:
        raise WrongStateError("\n".join(missing))
    if output is Output.JSON:
        print_json({"links": found})
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


def render(found: dict[str, Any]) -> Text:
    """One line, for people."""
    text = Text(f"{found['link']}: ")
    text.append(_place(found["from"]))
    text.append(" -> ")
    text.append(_place(found["to"]), style="bold")
    if found["exact"]:
        text.append("  exact", style="green")
    else:
        text.append(f"  at most {count(found['error_bound'])} records before the exact position", style="yellow")
    if found["where"] == BEFORE:
        text.append("; nothing was copied from before it")
    elif found["where"] == BEYOND:
        text.append("; nothing at or after it is copied yet: the next record goes there")
    return text


def _place(place: dict[str, Any]) -> str:
    return "{cluster} {topic}:{partition}:{offset}".format(**place)
