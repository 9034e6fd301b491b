"""`replicator audit`: who did what to a link, when, and what came of it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from replicator.cli.options import DEFAULT_CONFIG, ConfigOption, LinkOption, Output, OutputOption, load_links
from replicator.cli.output import age, console, print_json, table
from replicator.dr.desk import read_trail
from replicator.telemetry import logs

_STYLES = {"refused": "yellow", "failed": "bold red"}


def audit(
    config: ConfigOption = DEFAULT_CONFIG,
    link: LinkOption = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many, the newest first.")] = 20,
    output: OutputOption = Output.TEXT,
) -> None:
    """Who did what to a link, when, and what came of it: the newest first."""
    logs.configure(level="ERROR")
    settings, links, _ = load_links(config, link)
    trails = {item.name: read_trail(settings, item)[:count] for item in links}
    if output is Output.JSON:
        rows: list[dict[str, Any]] = [
            {"link": name, **asdict(each), "id": str(each.id), "at": _iso(each.at_ms)}
            for name, trail in trails.items()
            for each in trail
        ]
        print_json({"audit": rows})
        return
    shown = table("AT", "LINK", "WHO", "VERB", "ARGUMENTS", "RESULT", "TOOK", "WHY", numbers=frozenset({"TOOK"}))
    for name, trail in trails.items():
        for each in trail:
            result = Text(each.result, style=_STYLES.get(each.result, ""))
            shown.add_row(_iso(each.at_ms), name, each.by, each.verb, each.what, result, age(each.took_ms), each.detail)
    console().print(shown)


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
