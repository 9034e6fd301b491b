"""`replicator failover`: the source is gone; use the copies on their own from now on."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from replicator.cli.options import DEFAULT_CONFIG, ConfigOption, LinkOption, Output, OutputOption, load_links
from replicator.cli.output import age, console, count, print_json, table
from replicator.cli.verbs import AllOption, DryRunOption, TopicOption, WaitOption, WhyOption, YesOption, confirm
from replicator.config.models import LinkConfig
from replicator.dr import failover as dr
from replicator.dr.holds import Choice
from replicator.dr.loss import Loss, total
from replicator.errors import ConfigurationError
from replicator.telemetry import logs

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
    choice = Choice.of(topic, everything)
    settings, links, _ = load_links(config, link, ways_back=False)
    found = [(item, dr.outlook(settings, item, choice)) for item in links]
    if output is Output.TEXT:
        for item, each in found:
            _show(item, each)
    if dry_run:
        if output is Output.JSON:
            print_json({"links": [_expected(item, each) for item, each in found], "dry_run": True})
        else:
            console().print("Nothing was changed.")
        return
    if snapshot is not None and len(found) > 1:
        raise ConfigurationError("--snapshot names one file: choose one link with --link")
    records = sum(total(each.losses)[0] for _, each in found)
    parts = sum(len(each.due) for _, each in found)
    lost = f"{count(records)} records or more stay behind on the source"
    confirm(f"Copying of {parts} partitions ends for good, and {lost}.", yes)
    say = console().print if output is Output.TEXT else (lambda text: None)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    results = []
    for item, each in found:
        reached = each.status.source_error is None
        file = snapshot or Path(f"failover-{item.name}-{stamp}.json")
        results.append(
            dr.failover(settings, item, choice, snapshot=file, wait_s=wait, why=why, ask_source=reached, say=say)
        )
    if output is Output.JSON:
        print_json({"links": [result.as_json() for result in results], "dry_run": False})
        return
    for result in results:
        console().print(f"{result.link}: failed over in {age(result.took_ms)}. Let clients use the copies now.")


def _show(link: LinkConfig, found: dr.Outlook) -> None:
    out = console()
    if found.status.source_error is not None:
        seen = found.status.source_seen
        out.print(f"{link.name}: {link.source} can't be reached: {found.status.source_error}")
        out.print(f"{link.name}: it was seen last at {seen}" if seen else f"{link.name}: nobody knows where it ended")
    else:
        out.print(f"{link.name}: {link.source} answers. With `replicator promote` nothing would be lost.")
    lost = sorted((loss for loss in found.losses if loss.records != 0), key=lambda loss: -(loss.records or 1 << 60))
    records, unknown = total(found.losses)
    out.print(
        f"{link.name}: {count(records)} records in {len(lost) - unknown} of {len(found.losses)} partitions are lost"
    )
    if lost:
        shown = table("TOPIC", "PART", "LOST", "SECONDS", "COPIED TO", "SOURCE END", numbers=_NUMBERS)
        for loss in lost[:_SHOWN]:
            shown.add_row(loss.topic, str(loss.partition), *_cells(loss))
        out.print(shown)
    if len(lost) > _SHOWN:
        out.print(f"{len(lost) - _SHOWN} more (-o json)")


def _cells(loss: Loss) -> tuple[str, str, str, str]:
    seconds = "-" if loss.seconds is None else f"{loss.seconds:.1f}"
    return (
        "unknown" if loss.records is None else count(loss.records),
        seconds,
        count(loss.copied_to),
        count(loss.source_end),
    )


def _expected(link: LinkConfig, found: dr.Outlook) -> dict[str, object]:
    records, unknown = total(found.losses)
    return {
        "link": link.name,
        "lost_records": records,
        "unknown_partitions": unknown,
        "losses": [asdict(loss) for loss in found.losses],
        "source_seen": found.status.source_seen,
        "source_error": found.status.source_error,
    }
