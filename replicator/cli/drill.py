"""`replicator drill`: the way to the other cluster and back, tried on a canary and measured."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from replicator.cli.options import DEFAULT_CONFIG, ConfigOption, LinkOption, Output, OutputOption, load_links
from replicator.cli.output import console, print_json
from replicator.cli.verbs import DryRunOption
from replicator.dr.drill import FAILOVER, PROMOTE, Drill
from replicator.dr.drill_report import as_json, rpo, rto, save
from replicator.telemetry import logs
from replicator.worker.crew import crew

_FAILED = 1


class Mode(StrEnum):
    """How the canary is moved."""

    PROMOTE = PROMOTE
    FAILOVER = FAILOVER


def drill(
    config: ConfigOption = DEFAULT_CONFIG,
    link: LinkOption = None,
    mode: Annotated[Mode, typer.Option("--mode", help="A planned move, or as if the source were gone.")] = Mode.PROMOTE,
    report: Annotated[
        list[Path] | None, typer.Option("--report", metavar="FILE", help="Keep it: .html is a page, else JSON.")
    ] = None,
    dry_run: DryRunOption = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Move a canary topic and group to the target and home again, and measure how long it takes and what is lost.

    It has links and workers of its own: nothing of the link itself is touched. Exit code 1 if something failed.
    """
    logs.configure(level="CRITICAL")
    settings, links, _ = load_links(config, link, ways_back=False)
    say = console().print if output is Output.TEXT and not dry_run else (lambda text: None)
    found = []
    for item in links:
        one = Drill(settings, item, mode.value, crew, say=say)
        if dry_run:
            console().print(f"{item.name}: topic {one.topic} would go from {item.source} to {item.target} and back.")
            continue
        result = one.run()
        found.append((item.name, result))
        for file in report or ():
            named = file if len(links) == 1 else file.with_stem(f"{file.stem}-{item.name}")
            save(named, item.name, result)
        if output is Output.TEXT:
            verdict = "passed" if result.ok else f"failed at “{result.failed_at}”: {result.error}"
            console().print(f"{item.name}: {verdict}. RTO {rto(result)}, RPO {rpo(result)}.")
    if dry_run:
        console().print("Nothing was changed.")
        return
    if output is Output.JSON:
        print_json({"drills": [as_json(name, result) for name, result in found]})
    if not all(result.ok for _, result in found):
        raise typer.Exit(_FAILED)
