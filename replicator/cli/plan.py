"""`replicator plan`: what `run` would create, change and delete beside the records, without touching anything."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import typer

from replicator.cli.options import DEFAULT_CONFIG, ConfigOption, LinkOption, Output, OutputOption, load_links
from replicator.cli.output import console, print_json, table
from replicator.config.models import LinkConfig
from replicator.sync.plan import Change, Held
from replicator.telemetry import logs
from replicator.views.differences import as_json, read_plan

_DIFFERS = 1


def plan(
    config: ConfigOption = DEFAULT_CONFIG,
    link: LinkOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """What `run` would create, change and delete on the target now: topics, partitions, settings, ACLs.

    Nothing is touched, and no worker needs to run. Exit code 0: nothing to do; 1: something differs.
    """
    logs.configure(level="ERROR")
    settings, links, _ = load_links(config, link)
    found = [(item, *asyncio.run(read_plan(settings, item))) for item in links]
    if output is Output.JSON:
        print_json({"links": [as_json(item, changes, held) for item, changes, held in found]})
    else:
        for item, changes, held in found:
            _show(item, changes, held)
    if any(changes for _, changes, _ in found):
        raise typer.Exit(_DIFFERS)


def _show(link: LinkConfig, changes: Sequence[Change], held: Sequence[Held]) -> None:
    out = console()
    out.print(f"{link.name}: {link.source} -> {link.target}", style="bold")
    if changes:
        shown = table("", "KIND", "RESOURCE", "WHAT", "BEFORE", "AFTER")
        for change in changes:
            sign, style = _sign(change)
            before, after = (("-" if value is None else value) for value in (change.before, change.after))
            shown.add_row(sign, change.kind.value, change.resource, change.what, before, after, style=style)
        out.print(shown)
    for item in held:
        out.print(f"{item.kind.value} of {item.resource} isn't kept in step: {item.why}", style="yellow")
        out.print(f"  {item.detail}")
    many = len(changes)
    out.print(f"{many} change{'' if many == 1 else 's'} to make." if many else "Nothing to do.")
    out.print()


def _sign(change: Change) -> tuple[str, str]:
    if change.before is None:
        return "+", "green"
    return ("-", "red") if change.after is None else ("~", "yellow")
