"""`replicator restore`: the old source is back; what it had and the copies don't is saved, or copied now."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from replicator.cli.options import DEFAULT_CONFIG, ConfigOption, LinkOption, Output, OutputOption
from replicator.cli.output import age, console, count, print_json, table
from replicator.cli.reach import reach
from replicator.cli.verbs import (
    AllOption,
    DryRunOption,
    TopicOption,
    WaitOption,
    WhyOption,
    YesOption,
    confirm,
    sayer,
)
from replicator.telemetry import logs
from replicator.verbs.moving import RESTORE, RestoreOrder
from replicator.verbs.verb import Hand, Row, make_order

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
    recovery_topic: Annotated[
        str | None,
        typer.Option("--recovery-topic", metavar="NAME", help="Save it to this topic on the target instead."),
    ] = None,
    why: WhyOption = "",
    dry_run: DryRunOption = False,
    wait: WaitOption = 60.0,
    yes: YesOption = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """After a failover, with the old source back: find exactly what was written there and never copied; copy it now.

    It comes to stand behind what the copies hold by now. With --export it is saved to files instead, with
    --recovery-topic to a topic on the target, each record with a header that says where it is from.
    """
    logs.configure(level="ERROR")
    order = make_order(RestoreOrder, topic=topic, all=everything, why=why, wait=wait, recovery_topic=recovery_topic)
    links = reach(config, link, ways_back=False)
    if dry_run or not yes:
        found = [links.ahead(RESTORE, name, order) for name in links.names]
        if output is Output.TEXT:
            for row in found:
                _show(row)
        if dry_run:
            if output is Output.JSON:
                print_json({"links": found, "dry_run": True})
            else:
                console().print("Nothing was changed.")
            return
        records = sum(each["records"] for row in found for each in row["stranded"])
        saved = f"{count(records)} records will be saved."
        confirm(saved if export else RESTORE.consequence(found, order), yes)
    hands = {name: Hand(say=sayer(output), export=export and export / name) for name in links.names}
    done = [links.run(RESTORE, name, order, None, hand) for name, hand in hands.items()]
    if output is Output.JSON:
        print_json({"links": done, "dry_run": False})
        return
    for each in done:
        console().print(f"{each['link']}: {count(each['records'])} records restored in {age(each['took_ms'])}.")


def _show(found: Row) -> None:
    out, stranded = console(), found["stranded"]
    records = sum(each["records"] for each in stranded)
    out.print(f"{found['link']}: {count(records)} records of {len(stranded)} partitions were never copied")
    if stranded:
        shown = table("TOPIC", "PART", "RECORDS", "FROM", "TO", numbers=_NUMBERS)
        for each in sorted(stranded, key=lambda each: -each["records"])[:_SHOWN]:
            cells = (count(each["records"]), count(each["source_from"]), count(each["source_to"]))
            shown.add_row(each["topic"], str(each["partition"]), *cells)
        out.print(shown)
