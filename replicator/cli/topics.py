"""`replicator topics`: which topics a link copies, under which names, and why not the others."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from replicator.cli.options import DEFAULT_CONFIG, ConfigOption, LinkOption, Output, OutputOption
from replicator.cli.output import console, print_json, table
from replicator.cli.reach import reach
from replicator.telemetry import logs


def topics(
    config: ConfigOption = DEFAULT_CONFIG,
    link: LinkOption = None,
    output: OutputOption = Output.TEXT,
    everything: Annotated[bool, typer.Option("--all", help="In text, the topics that aren't selected, too.")] = False,
) -> None:
    """Which source topics are copied, under which names, whether the copies exist, and why others aren't copied."""
    logs.configure(level="ERROR")
    links = reach(config, link)
    found = [links.view("topics", name) for name in links.names]
    if output is Output.JSON:
        print_json({"links": [{"name": each["name"], "topics": each["topics"]} for each in found]})
        return
    for each in found:
        _show(each, everything)


def _show(found: dict[str, Any], everything: bool) -> None:
    out, listed = console(), found["topics"]
    selected = [row for row in listed if row["selected"]]
    others = [row for row in listed if not row["selected"]]
    shown = table("TOPIC", "COPY", "PARTS", "STATE", "WHY", numbers=frozenset({"PARTS"}))
    for row in selected + (others if everything else []):
        shown.add_row(row["topic"], row["remote"] or "-", str(row["partitions"] or "-"), _state(row), row["detail"])
    out.print(f"{found['name']}: {found['source']} -> {found['target']}", style="bold")
    out.print(shown)
    if others and not everything:
        out.print(f"{len(others)} other topics aren't copied; --all says why.")
    out.print()


def _state(row: dict[str, Any]) -> str:
    if row["reason"]:
        return str(row["reason"])
    if not row["selected"]:
        return "not copied"
    if not row["created"]:
        return "to be created"
    if row["remote_partitions"] < row["partitions"]:
        return f"to grow from {row['remote_partitions']}"
    return "created"
