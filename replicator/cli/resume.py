"""`replicator resume`: let topics go on that were paused, and partitions that a gap has stopped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from replicator.cli.options import DEFAULT_CONFIG, ConfigOption, LinkOption, Output, OutputOption
from replicator.cli.output import console, print_json, table
from replicator.cli.pause import show
from replicator.cli.reach import reach
from replicator.cli.verbs import AllOption, DryRunOption, TopicOption, WaitOption, YesOption, confirm
from replicator.telemetry import logs
from replicator.verbs.holding import RESUME, ResumeOrder
from replicator.verbs.verb import Hand, Row, make_order


def resume(
    config: ConfigOption = DEFAULT_CONFIG,
    link: LinkOption = None,
    topic: TopicOption = None,
    everything: AllOption = False,
    accept_gap: Annotated[
        bool, typer.Option("--accept-gap", help="Go on without the data that the reason names; it stays in status.")
    ] = False,
    dry_run: DryRunOption = False,
    wait: WaitOption = 30.0,
    yes: YesOption = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Go on with topics that were paused; with --accept-gap, with partitions that a gap in the data has stopped.

    What is missing in a gap stays recorded in the ledger.
    """
    logs.configure(level="ERROR")
    order = make_order(ResumeOrder, topic=topic, all=everything, wait=wait, accept_gap=accept_gap)
    links = reach(config, link, ways_back=False)
    found = {name: links.ahead(RESUME, name, order) for name in links.names}
    paused = {name: row for name, row in found.items() if "accepted" not in row}
    if paused:
        held = paused if dry_run else {n: links.run(RESUME, n, order, row, Hand()) for n, row in paused.items()}
        show(list(held.values()), output, dry_run)
        return
    stopped = [gap for row in found.values() for gap in row["accepted"]]
    if output is Output.TEXT:
        _show(stopped)
    if not stopped:
        if output is Output.JSON:
            print_json({"accepted": []})
        return
    for row in found.values():
        RESUME.check(row, order)
    if not dry_run:
        confirm(RESUME.consequence(list(found.values()), order), yes)
        for name, row in found.items():
            links.run(RESUME, name, order, row, Hand())
    if output is Output.JSON:
        print_json({"accepted": stopped, "dry_run": dry_run})
    else:
        console().print("Nothing was changed." if dry_run else f"{len(stopped)} partitions go on.")


def _show(stopped: Sequence[Row]) -> None:
    out = console()
    if not stopped:
        out.print("No partition is stopped by a gap.")
        return
    shown: Any = table("LINK", "TOPIC", "PARTITION", "REASON", "WHAT IS MISSING", numbers=frozenset({"PARTITION"}))
    for gap in stopped:
        shown.add_row(gap["link"], gap["topic"], str(gap["partition"]), str(gap["reason"]), gap["detail"])
    out.print(shown)
