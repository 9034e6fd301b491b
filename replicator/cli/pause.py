"""`replicator pause`: let topics stand still for a while."""

from __future__ import annotations

from collections.abc import Sequence

from replicator.cli.options import DEFAULT_CONFIG, ConfigOption, LinkOption, Output, OutputOption
from replicator.cli.output import console, print_json
from replicator.cli.reach import reach
from replicator.cli.verbs import (
    AllOption,
    DryRunOption,
    TopicOption,
    WaitOption,
    WhyOption,
    YesOption,
    confirm,
)
from replicator.states import State
from replicator.telemetry import logs
from replicator.verbs.holding import PAUSE, HoldOrder
from replicator.verbs.verb import Hand, Row, make_order


def pause(
    config: ConfigOption = DEFAULT_CONFIG,
    link: LinkOption = None,
    topic: TopicOption = None,
    everything: AllOption = False,
    why: WhyOption = "",
    dry_run: DryRunOption = False,
    wait: WaitOption = 30.0,
    yes: YesOption = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Stop copying, until `replicator resume`. Nothing is lost as long as the source keeps its records."""
    logs.configure(level="ERROR")
    order = make_order(HoldOrder, topic=topic, all=everything, why=why, wait=wait)
    links = reach(config, link, ways_back=False)
    done = {name: links.ahead(PAUSE, name, order) for name in links.names}
    if not dry_run:
        confirm(PAUSE.consequence(list(done.values()), order), yes)
        done = {name: links.run(PAUSE, name, order, found, Hand()) for name, found in done.items()}
    show(list(done.values()), output, dry_run)


def show(done: Sequence[Row], output: Output, dry_run: bool) -> None:
    """What was done."""
    if output is Output.JSON:
        print_json({"links": done, "dry_run": dry_run})
        return
    out = console()
    for held in done:
        name, partitions, waiting = held["link"], len(held["partitions"]), held["waiting"]
        what = "stand still" if held["state"] == State.PAUSED else "go on"
        if dry_run:
            out.print(f"{name}: {partitions} partitions would {what}. Nothing was changed.")
            continue
        out.print(f"{name}: {partitions - waiting} partitions {what}.")
        if waiting:
            out.print(f"{name}: {waiting} more will when a worker takes notice; see `replicator status`.")
