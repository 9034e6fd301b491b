"""`replicator audit`: who did what to a link, when, and what came of it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from replicator.cli.options import DEFAULT_CONFIG, ConfigOption, LinkOption, Output, OutputOption
from replicator.cli.output import age, console, print_json, table
from replicator.cli.reach import reach
from replicator.telemetry import logs

_STYLES = {"refused": "yellow", "failed": "bold red"}


def audit(
    config: ConfigOption = DEFAULT_CONFIG,
    link: LinkOption = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=1000, help="How many, the newest first.")] = 20,
    output: OutputOption = Output.TEXT,
) -> None:
    """Who did what to a link, when, and what came of it: the newest first."""
    logs.configure(level="ERROR")
    links = reach(config, link)
    rows = [row for name in links.names for row in links.view("audit", name, count=count)["audit"]]
    if output is Output.JSON:
        print_json({"audit": rows})
        return
    shown = table("AT", "LINK", "WHO", "VERB", "ARGUMENTS", "RESULT", "TOOK", "WHY", numbers=frozenset({"TOOK"}))
    for row in rows:
        result = Text(row["result"], style=_STYLES.get(row["result"], ""))
        cells = (row["at"], row["link"], row["by"], row["verb"], row["what"], result, age(row["took_ms"]))
        shown.add_row(*cells, row["detail"])
    console().print(shown)
