"""`replicator check`: is everything there that the links need."""

from __future__ import annotations

import asyncio
from typing import NoReturn

import typer

from replicator.cli.options import DEFAULT_CONFIG, ConfigOption, LinkOption, Output, OutputOption
from replicator.cli.output import console, print_json
from replicator.cli.reach import Direct, Reach, reach
from replicator.examine.finding import Finding, Level, as_json, exit_code, of_configuration
from replicator.examine.findings import examine
from replicator.telemetry import logs

_STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "bold red"}

_MOST = 2_000  # characters of a text, which may name thousands of topics


def check(config: ConfigOption = DEFAULT_CONFIG, link: LinkOption = None, output: OutputOption = Output.TEXT) -> None:
    """Connect to the clusters and report what is missing: reachability, versions, permissions. Changes nothing.

    Through the API it is the worker that looks, from where it runs.
    """
    logs.configure(level="ERROR")
    links = reach(config, link)
    if isinstance(links, Direct):  # together: links share clusters
        found = asyncio.run(examine(links.settings, links.links))
        end_with([*of_configuration(links.warnings), *found], output)
    end_with(told(links, "check"), output)


def told(links: Reach, view: str) -> list[Finding]:
    """What the view says of all links; what two of them say of a cluster, once."""
    rows = [row for name in links.names for row in links.view(view, name)["findings"]]
    return list(dict.fromkeys(map(Finding.of, rows)))


def end_with(findings: list[Finding], output: Output) -> NoReturn:
    """Print them, and end with the exit code of the worst."""
    if output is Output.JSON:
        print_json(as_json(findings))
    else:
        _show(findings)
    raise typer.Exit(exit_code(findings))


def _show(findings: list[Finding]) -> None:
    """One line a finding, with what to do below it, and a summary."""
    out = console()
    where_width = max((len(finding.where) for finding in findings), default=0)
    for finding in findings:
        out.print(f"{finding.level:<8}", style=_STYLES[finding.level], end="")
        out.print(f"{finding.where:<{where_width}}  {finding.what}", soft_wrap=True)
        for word, text in (("why", finding.why), ("next", finding.next_step), ("with", finding.command)):
            if text:
                if len(text) > _MOST:
                    text = f"{text[:_MOST].rpartition(' ')[0]} … (all of it: -o json)"
                out.print(f"{'':8}{'':{where_width}}  {word}: {text}", soft_wrap=True)
    problems, warnings = (
        sum(finding.level is level for finding in findings) for level in (Level.PROBLEM, Level.WARNING)
    )
    if problems:
        summary = f"{problems} problems"
    else:
        summary = "Everything that copying needs is there." if warnings else "Everything that the links need is there."
    out.print(f"{summary}{', ' if problems else ' '}{warnings} warnings" if warnings else summary, style="bold")
