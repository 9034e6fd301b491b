"""`replicator promote`: a planned move to the copies, with nothing lost."""

from __future__ import annotations

from typing import Annotated

import typer

from replicator.cli.options import DEFAULT_CONFIG, ConfigOption, LinkOption, Output, OutputOption
from replicator.cli.output import age, console, print_json
from replicator.cli.reach import reach
from replicator.cli.verbs import AllOption, DryRunOption, TopicOption, WhyOption, YesOption, confirm, sayer
from replicator.telemetry import logs
from replicator.verbs.moving import PROMOTE, PromoteOrder
from replicator.verbs.verb import Hand, make_order

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
    order = make_order(PromoteOrder, topic=topic, all=everything, why=why, quiet=quiet, wait=wait)
    links = reach(config, link, ways_back=False)
    found = {name: links.ahead(PROMOTE, name, order) for name in links.names}
    if dry_run:
        if output is Output.JSON:
            print_json({"links": list(found.values()), "dry_run": True})
        else:
            count = sum(row["partitions"] for row in found.values())
            console().print(f"{count} partitions would be promoted. Nothing was changed.")
        return
    confirm(PROMOTE.consequence(list(found.values()), order), yes)
    done = [links.run(PROMOTE, name, order, row, Hand(say=sayer(output))) for name, row in found.items()]
    if output is Output.JSON:
        print_json({"links": done, "dry_run": False})
        return
    for each in done:
        for line in each["differences"][:_SHOWN]:
            console().print(f"{each['link']}: not in step: {line}")
        after = age(each["after_quiet_ms"])
        console().print(
            f"{each['link']}: promoted, {after} after the source was quiet. Let clients use the copies now."
        )
