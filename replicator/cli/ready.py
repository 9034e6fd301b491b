"""`replicator ready`: could the copies be used on their own now, and what is missing for that?"""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import typer

from replicator.cli.options import DEFAULT_CONFIG, ConfigOption, LinkOption, Output, OutputOption, load_links
from replicator.cli.output import console, count, print_json, table
from replicator.cli.plan import read_plan
from replicator.cli.verbs import TopicOption
from replicator.config.models import LinkConfig, Settings
from replicator.dr import ready as dr
from replicator.dr.holds import Choice
from replicator.errors import ReplicatorError
from replicator.ledger.status import read_status_blocking
from replicator.telemetry import logs

_NOT_READY = 1
_SHOWN = 50


def ready(
    config: ConfigOption = DEFAULT_CONFIG,
    link: LinkOption = None,
    topic: TopicOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Whether the copies could be used on their own now, with nothing missing; if not, everything that is in the way.

    Exit code 0: ready for `promote`; 1: not ready. Changes nothing.
    """
    logs.configure(level="ERROR")
    choice = Choice.of(topic, topic is None)
    settings, links, _ = load_links(config, link, ways_back=False)
    found = {item.name: _obstacles(settings, item, choice) for item in links}
    if output is Output.JSON:
        rows = [
            {"link": name, "ready": dr.ready(each), "obstacles": [asdict(obstacle) for obstacle in each]}
            for name, each in found.items()
        ]
        print_json({"links": rows})
    else:
        for name, each in found.items():
            _show(name, each)
    if not all(map(dr.ready, found.values())):
        raise typer.Exit(_NOT_READY)


def _obstacles(settings: Settings, link: LinkConfig, choice: Choice) -> list[dr.Obstacle]:
    status = read_status_blocking(settings, link)
    if status.source_error is not None:
        return dr.obstacles(status, choice, (), ())
    try:
        changes, held = asyncio.run(read_plan(settings, link))
    except ReplicatorError as error:
        return [*dr.obstacles(status, choice, (), ()), dr.Obstacle("plan", link.name, str(error))]
    return [*dr.obstacles(status, choice, changes, held), *dr.missing_users(settings, link)]


def _show(name: str, found: list[dr.Obstacle]) -> None:
    out = console()
    blocking = sum(each.blocks for each in found)
    if not found:
        out.print(f"{name}: ready: nothing is missing on the target.")
        return
    out.print(f"{name}: {'not ready' if blocking else 'ready'}, {count(len(found))} things are worth knowing:")
    shown = table("KIND", "WHERE", "WHY", "NEXT")
    for each in found[:_SHOWN]:
        shown.add_row(each.kind, each.where, each.what, each.next_step)
    out.print(shown)
    if len(found) > _SHOWN:
        out.print(f"{len(found) - _SHOWN} more (-o json)")
