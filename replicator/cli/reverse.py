"""`replicator reverse`: what clients write to promoted copies goes back to where these came from."""

from __future__ import annotations

from typing import Annotated

import typer

from replicator.cli.options import DEFAULT_CONFIG, ConfigOption, Output, OutputOption, load_links
from replicator.cli.output import age, console, count, print_json
from replicator.cli.verbs import AllOption, DryRunOption, TopicOption, WaitOption, WhyOption, YesOption, confirm
from replicator.dr import reverse as dr
from replicator.dr.holds import Choice
from replicator.telemetry import logs


def reverse(
    link: Annotated[str, typer.Option("--link", metavar="NAME", help="The promoted link whose direction is turned.")],
    config: ConfigOption = DEFAULT_CONFIG,
    topic: TopicOption = None,
    everything: AllOption = False,
    show: Annotated[
        bool, typer.Option("--print", help="Only print the lines that the configuration needs for a way back.")
    ] = False,
    why: WhyOption = "",
    dry_run: DryRunOption = False,
    wait: WaitOption = 60.0,
    yes: YesOption = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """After a promotion: copy what clients write to the copies back to the former source, from their first record on.

    The way back is a link with `reverse_of` in the configuration. Once that was promoted, the same command with its
    name brings the pair home.
    """
    logs.configure(level="ERROR")
    settings, (item,), _ = load_links(config, link)
    if show:
        typer.echo(dr.lines_for(settings, item))
        return
    choice = Choice.of(topic, everything)
    woken = dr.way_back(settings, item)
    _, chosen = dr.prepare(settings, item, choice)
    names = sorted({each.topic for each in chosen})
    if dry_run:
        if output is Output.JSON:
            print_json({"link": woken.name, "of": item.name, "topics": names, "dry_run": True})
        else:
            console().print(f"{len(names)} topics would be copied from {woken.source} to {woken.target}.")
            console().print("Nothing was changed.")
        return
    confirm(f"What clients write to {len(names)} topics on {woken.source} will be copied to {woken.target}.", yes)
    say = console().print if output is Output.TEXT else (lambda text: None)
    done = dr.reverse(settings, item, choice, wait_s=wait, why=why, say=say)
    if output is Output.JSON:
        print_json({**done.as_json(), "dry_run": False})
        return
    if done.late:
        console().print(
            f"{count(done.late)} records were written to {item.source} after the promotion. They are copied to "
            f"{item.target} when {item.name} copies again."
        )
    console().print(f"{done.link}: {woken.source} -> {woken.target}, {len(names)} topics, in {age(done.took_ms)}.")
