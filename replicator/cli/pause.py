"""`replicator pause`: let topics stand still for a while."""

from __future__ import annotations

from dataclasses import asdict

from replicator.cli.options import DEFAULT_CONFIG, ConfigOption, LinkOption, Output, OutputOption, load_links
from replicator.cli.output import console, print_json
from replicator.cli.verbs import (
    AllOption,
    DryRunOption,
    TopicOption,
    WaitOption,
    WhyOption,
    YesOption,
    confirm,
)
from replicator.dr.holds import Choice, Held, refuse_released
from replicator.dr.holds import pause as pause_link
from replicator.ledger.status import read_status_blocking
from replicator.states import State
from replicator.telemetry import logs


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
    choice = Choice.of(topic, everything)
    settings, links, _ = load_links(config, link, ways_back=False)
    chosen = {item.name: choice.of_status(read_status_blocking(settings, item)) for item in links}
    for item in links:
        refuse_released(item, chosen[item.name], "pause")
    if dry_run:
        places = {name: tuple((p.topic, p.partition) for p in found) for name, found in chosen.items()}
        done = [Held(name, State.PAUSED, found, 0, 0) for name, found in places.items()]
    else:
        count = sum(map(len, chosen.values()))
        confirm(f"{count} partitions will stand still; records wait on the source as long as it keeps them.", yes)
        done = [pause_link(settings, item, choice, why=why, wait_s=wait) for item in links]
    show(done, output, dry_run)


def show(done: list[Held], output: Output, dry_run: bool) -> None:
    """What was done."""
    if output is Output.JSON:
        print_json({"links": [asdict(held) for held in done], "dry_run": dry_run})
        return
    out = console()
    for held in done:
        what = "stand still" if held.state is State.PAUSED else "go on"
        if dry_run:
            out.print(f"{held.link}: {len(held.partitions)} partitions would {what}. Nothing was changed.")
            continue
        out.print(f"{held.link}: {len(held.partitions) - held.waiting} partitions {what}.")
        if held.waiting:
            out.print(f"{held.link}: {held.waiting} more will when a worker takes notice; see `replicator status`.")
