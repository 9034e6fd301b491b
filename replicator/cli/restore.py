"""`replicator restore`: the old source is back; what it had and the copies don't is saved, or copied now."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from replicator.cli.options import DEFAULT_CONFIG, ConfigOption, LinkOption, Output, OutputOption, load_links
from replicator.cli.output import age, console, count, print_json, table
from replicator.cli.verbs import AllOption, DryRunOption, TopicOption, WaitOption, WhyOption, YesOption, confirm
from replicator.dr import restore as dr
from replicator.dr.holds import Choice
from replicator.telemetry import logs

_SHOWN = 20
_NUMBERS = frozenset({"PART", "FROM", "TO", "RECORDS"})


def restore(
    config: ConfigOption = DEFAULT_CONFIG,
    link: LinkOption = None,
    topic: TopicOption = None,
    everything: AllOption = False,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="DIR", help="Save it to files there instead of copying it.")
    ] = None,
    why: WhyOption = "",
    dry_run: DryRunOption = False,
    wait: WaitOption = 60.0,
    yes: YesOption = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """After a failover, with the old source back: find exactly what was written there and never copied; copy it now.

    It comes to stand behind what the copies hold by now. With --export it is saved to files instead.
    """
    logs.configure(level="ERROR")
    choice = Choice.of(topic, everything)
    settings, links, _ = load_links(config, link, ways_back=False)
    if dry_run or not yes:
        found = {item.name: dr.find(settings, item, choice, wait_s=wait) for item in links}
        if output is Output.TEXT:
            for name, stranded in found.items():
                _show(name, stranded)
        if dry_run:
            if output is Output.JSON:
                rows = [{"link": name, "stranded": [asdict(each) for each in all_]} for name, all_ in found.items()]
                print_json({"links": rows, "dry_run": True})
            else:
                console().print("Nothing was changed.")
            return
        records = sum(each.records for stranded in found.values() for each in stranded)
        confirm(f"{count(records)} records will be {'saved' if export else 'copied behind what the copies hold'}.", yes)
    say = console().print if output is Output.TEXT else (lambda text: None)
    done = [
        dr.restore(settings, item, choice, export=export and export / item.name, wait_s=wait, why=why, say=say)
        for item in links
    ]
    if output is Output.JSON:
        print_json({"links": [each.as_json() for each in done], "dry_run": False})
        return
    for each in done:
        console().print(f"{each.link}: {count(each.records)} records restored in {age(each.took_ms)}.")


def _show(name: str, found: list[dr.Stranded]) -> None:
    out = console()
    records = sum(each.records for each in found)
    out.print(f"{name}: {count(records)} records of {len(found)} partitions were never copied")
    if found:
        shown = table("TOPIC", "PART", "RECORDS", "FROM", "TO", numbers=_NUMBERS)
        for each in sorted(found, key=lambda each: -each.records)[:_SHOWN]:
            cells = (count(each.records), count(each.source_from), count(each.source_to))
            shown.add_row(each.topic, str(each.partition), *cells)
        out.print(shown)
