"""`replicator lag`: what isn't on the target yet, the furthest behind first."""

from __future__ import annotations

import asyncio
import contextlib

from rich.console import Group, RenderableType
from rich.text import Text

from replicator.cli.options import (
    DEFAULT_CONFIG,
    ConfigOption,
    LinkOption,
    Output,
    OutputOption,
    WatchOption,
)
from replicator.cli.output import age, count, table
from replicator.cli.reach import reach
from replicator.cli.status import Status, headline, show
from replicator.telemetry import logs

_NUMBERS = frozenset({"PART", "LAG", "BEHIND"})


def lag(
    config: ConfigOption = DEFAULT_CONFIG,
    link: LinkOption = None,
    output: OutputOption = Output.TEXT,
    follow: WatchOption = False,
) -> None:
    """Lag of every partition in records and in time, the furthest behind first. JSON is that of `status`."""
    logs.configure(level="ERROR")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(show(reach(config, link), output, follow, render))


def render(found: Status) -> RenderableType:
    """The lags as text."""
    parts: list[RenderableType] = []
    for link in found["links"]:
        shown = table("TOPIC", "PART", "LAG", "BEHIND", "STATE", numbers=_NUMBERS)
        for row in sorted(link["partitions"], key=_worst_first):
            shown.add_row(row["topic"], str(row["partition"]), count(row["lag"]), age(row["lag_ms"]), row["state"])
        parts += [headline(link), shown, Text()]
    return Group(*parts[:-1])


def _worst_first(row: Status) -> tuple[int, str, int]:
    return -(row["lag"] or 0), row["topic"], row["partition"]
