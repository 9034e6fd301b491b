"""`replicator ready`: could the copies be used on their own now, and what is missing for that?"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from replicator.cli.options import DEFAULT_CONFIG, ConfigOption, LinkOption, Output, OutputOption
from replicator.cli.output import console, count, print_json, table
from replicator.cli.reach import reach
from replicator.cli.verbs import TopicOption
from replicator.telemetry import logs

_NOT_READY = 1
_SHOWN = 50


def ready(
    config: ConfigOption = DEFAULT_CONFIG,
    link: LinkOption = None,
    topic: TopicOption = None,
    ignore: Annotated[
        str,
        typer.Option("--ignore", metavar="KINDS", help="What doesn't matter: quotas,users,acls,configs,groups,clocks."),
    ] = "",
    output: OutputOption = Output.TEXT,
) -> None:
    """Whether the copies could be used on their own now, with nothing missing; if not, everything that is in the way.

    Looks at lag, faults, groups, topics, settings, ACLs, quotas, SCRAM users and clocks. What can't be asked is
    unknown, and not ready. Exit code 0: ready for `promote`; 1: not ready. Changes nothing.
    """
    logs.configure(level="ERROR")
    links = reach(config, link, ways_back=False)
    found = [links.view("ready", name, topic=topic, ignore=ignore) for name in links.names]
    if output is Output.JSON:
        print_json({"links": found})
    else:
        for each in found:
            _show(each["link"], each["obstacles"])
    if not all(each["ready"] for each in found):
        raise typer.Exit(_NOT_READY)


def _show(name: str, found: list[dict[str, Any]]) -> None:
    out = console()
    blocking = sum(each["blocks"] for each in found)
    if not found:
        out.print(f"{name}: ready: nothing is missing on the target.")
        return
    out.print(f"{name}: {'not ready' if blocking else 'ready'}, {count(len(found))} things are worth knowing:")
    shown = table("KIND", "WHERE", "WHY", "NEXT")
    for each in found[:_SHOWN]:
        shown.add_row(each["kind"], each["where"], each["what"], each["next_step"])
    out.print(shown)
    if len(found) > _SHOWN:
        out.print(f"{len(found) - _SHOWN} more (-o json)")
