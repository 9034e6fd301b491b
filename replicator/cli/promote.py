"""`replicator promote`: a planned move to the copies, with nothing lost."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated

import typer

from replicator.cli.options import DEFAULT_CONFIG, ConfigOption, LinkOption, Output, OutputOption, load_links
from replicator.cli.output import age, console, print_json
from replicator.cli.plan import read_plan
from replicator.cli.verbs import AllOption, DryRunOption, TopicOption, WhyOption, YesOption, confirm
from replicator.config.models import LinkConfig, Settings
from replicator.dr import promote as dr
from replicator.dr.holds import Choice
from replicator.sync.plan import Kind, Why
from replicator.telemetry import logs

_SHOWN = 20


def promote(
    config: ConfigOption = DEFAULT_CONFIG,
    link: LinkOption = None,
    topic: TopicOption = None,
    everything: AllOption = False,
    why: WhyOption = "",
    quiet: Annotated[
        float, typer.Option("--quiet", metavar="SECONDS", min=0, help="How long nobody must have written.")
    ] = 5.0,
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=0, help="How long to wait for that, and for the rest.")
    ] = 120.0,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Wait until producers have stopped and all is copied, bring groups to their exact positions, and stop copying.

    If somebody still writes to the source, nothing is changed. When the source is gone, there is `replicator failover`.
    """
    logs.configure(level="ERROR")
    choice = Choice.of(topic, everything)
    settings, links, _ = load_links(config, link, ways_back=False)
    found = [(item, dr.prepare(settings, item, choice)) for item in links]
    count = sum(len(chosen) for _, chosen in found)
    if dry_run:
        if output is Output.JSON:
            rows = [{"link": item.name, "partitions": len(chosen)} for item, chosen in found]
            print_json({"links": rows, "dry_run": True})
        else:
            console().print(f"{count} partitions would be promoted. Nothing was changed.")
        return
    confirm(f"Copying of {count} partitions ends, once the source is quiet; their copies are used on their own.", yes)
    say = console().print if output is Output.TEXT else (lambda text: None)
    done = [
        dr.promote(
            settings,
            item,
            choice,
            quiet_s=quiet,
            wait_s=wait,
            why=why,
            say=say,
            plan=partial(_differences, settings, item),
        )
        for item, _ in found
    ]
    if output is Output.JSON:
        print_json({"links": [each.as_json() for each in done], "dry_run": False})
        return
    for each in done:
        for line in each.differences[:_SHOWN]:
            console().print(f"{each.link}: not in step: {line}")
        after = age(each.after_quiet_ms)
        console().print(f"{each.link}: promoted, {after} after the source was quiet. Let clients use the copies now.")


def _differences(settings: Settings, link: LinkConfig) -> tuple[str, ...]:
    """Settings and ACLs that differ, and what can't be kept in step."""
    changes, held = asyncio.run(read_plan(settings, link))
    own = [change for change in changes if change.kind is not Kind.GROUP]
    lines = [f"{c.kind.value} {c.resource}: {c.what}: {c.before} -> {c.after}" for c in own]
    lines += [f"{h.kind.value} {h.resource}: {h.why.value}: {h.detail}" for h in held if h.why is not Why.NO_AUTHORIZER]
    return tuple(lines)
