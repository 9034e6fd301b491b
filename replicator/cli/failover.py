"""`replicator failover`: the source is gone; use the copies on their own from now on."""

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
from replicator.errors import ConfigurationError
from replicator.telemetry import logs
from replicator.verbs.moving import FAILOVER, FailoverOrder
from replicator.verbs.verb import Hand, Row, make_order

_SHOWN = 20
_NUMBERS = frozenset({"PART", "LOST", "SECONDS", "COPIED TO", "SOURCE END"})


def failover(
    config: ConfigOption = DEFAULT_CONFIG,
    link: LinkOption = None,
    topic: TopicOption = None,
    everything: AllOption = False,
    why: WhyOption = "",
    snapshot: Annotated[
        Path | None, typer.Option("--snapshot", metavar="FILE", help="Where to save the status as it was.")
    ] = None,
    dry_run: DryRunOption = False,
    wait: WaitOption = 10.0,
    yes: YesOption = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """End copying where it has got to, because the source is gone: the copies are used on their own from now on.

    Shows what is lost before it asks. Deletes nothing, needs neither the source nor a running worker. For a planned
    move, with nothing lost, there is `replicator promote`.
    """
    logs.configure(level="ERROR")
    order = make_order(FailoverOrder, topic=topic, all=everything, why=why, wait=wait)
    links = reach(config, link, ways_back=False)
    found = {name: links.ahead(FAILOVER, name, order) for name in links.names}
    if output is Output.TEXT:
        for row in found.values():
            _show(row)
    if dry_run:
        if output is Output.JSON:
            print_json({"links": list(found.values()), "dry_run": True})
        else:
            console().print("Nothing was changed.")
        return
    if snapshot is not None and len(found) > 1:
        raise ConfigurationError("--snapshot names one file: choose one link with --link")
    confirm(FAILOVER.consequence(list(found.values()), order), yes)
    hand = Hand(say=sayer(output), snapshot=snapshot)
    done = [links.run(FAILOVER, name, order, row, hand) for name, row in found.items()]
    if output is Output.JSON:
        print_json({"links": done, "dry_run": False})
        return
    for each in done:
        console().print(f"{each['link']}: failed over in {age(each['took_ms'])}. Let clients use the copies now.")


def _show(found: Row) -> None:
    out, name, source = console(), found["link"], found["source"]
    if found["source_error"] is not None:
        seen = found["source_seen"]
        out.print(f"{name}: {source} can't be reached: {found['source_error']}")
        later = f"{name}: it was seen last at {seen}; what was written there later comes on top, nobody knows how much"
        out.print(later if seen else f"{name}: nobody knows where it ended", soft_wrap=True)
    else:
        out.print(f"{name}: {source} answers. With `replicator promote` nothing would be lost.")
    lost = sorted(
        (loss for loss in found["losses"] if loss["records"] != 0), key=lambda loss: -(loss["records"] or 1 << 60)
    )
    known = len(lost) - found["unknown_partitions"]
    out.print(
        f"{name}: {count(found['lost_records'])} records in {known} of {len(found['losses'])} partitions are lost"
    )
    if lost:
        shown = table("TOPIC", "PART", "LOST", "SECONDS", "COPIED TO", "SOURCE END", numbers=_NUMBERS)
        for loss in lost[:_SHOWN]:
            shown.add_row(loss["topic"], str(loss["partition"]), *_cells(loss))
        out.print(shown)
    if len(lost) > _SHOWN:
        out.print(f"{len(lost) - _SHOWN} more (-o json)")


def _cells(loss: Row) -> tuple[str, str, str, str]:
    seconds = "-" if loss["seconds"] is None else f"{loss['seconds']:.1f}"
    return (
        "unknown" if loss["records"] is None else count(loss["records"]),
        seconds,
        count(loss["copied_to"]),
        count(loss["source_end"]),
    )
