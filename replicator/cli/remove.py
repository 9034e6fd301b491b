"""`replicator remove`: end a link for good."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from replicator.cli.options import DEFAULT_CONFIG, ConfigOption, Output, OutputOption, load_links
from replicator.cli.output import console, print_json
from replicator.cli.reach import Direct, Reach, reach
from replicator.cli.verbs import DryRunOption, WaitOption, YesOption, confirm, sayer
from replicator.dr import remove as dr
from replicator.errors import ConfigurationError
from replicator.telemetry import logs
from replicator.verbs.ending import REMOVE, RemoveOrder, audit_name, consequence
from replicator.verbs.verb import Hand, Row, make_order


def remove(
    config: ConfigOption = DEFAULT_CONFIG,
    link: Annotated[
        list[str] | None, typer.Option("--link", metavar="NAME", help="The link; may be given more than once.")
    ] = None,
    save_audit: Annotated[
        Path | None,
        typer.Option("--save-audit", metavar="FILE", help="Where the audit trail goes; else removed-LINK-TIME.json."),
    ] = None,
    dry_run: DryRunOption = False,
    wait: WaitOption = 30.0,
    yes: YesOption = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """End a link for good: delete its internal topics, the ACLs that it created, and its consumer groups.

    Copies stay, with their data, settings and positions. It is the whole link that goes, so there are no --topic and
    --all: single topics leave it by the configuration's filters. No worker may run for it: on the clusters this is
    refused while one does; through the API the link's workers leave it first. Harmless to run again.
    """
    logs.configure(level="ERROR")
    if not link:
        raise ConfigurationError("name the link that is to go: --link NAME")
    if save_audit is not None and len(link) > 1:
        raise ConfigurationError("--save-audit names one file: remove one link at a time")
    ways = {name: reach(config, name) for name in dict.fromkeys(link)}
    if all(isinstance(way, Direct) for way in ways.values()):
        removal: _Removal = _Direct(config, list(ways))
    else:
        removal = _Remote(ways, make_order(RemoveOrder, wait=wait))
    rows = removal.ahead()
    if output is Output.TEXT:
        for row in rows:
            _show(row)
    if dry_run:
        if output is Output.JSON:
            print_json({"links": rows, "dry_run": True})
        else:
            console().print("Nothing was changed.")
        return
    removal.check()
    if any(row["topics"] or row["groups"] or row["acls"] for row in rows):
        workers = removal.leaving(rows)
        confirm(consequence(sum(len(row["topics"]) for row in rows), workers), yes)
    hand = partial(Hand, say=sayer(output))
    done = [removal.run(row, hand(snapshot=save_audit or Path(audit_name(row["link"])))) for row in rows]
    if output is Output.JSON:
        print_json({"links": done, "dry_run": False})
    else:
        console().print("Now take it out of the configuration." if len(rows) == 1 else "Now take them out of it.")


class _Direct:
    """On the clusters: several links together, since one of them may need another's ledger; while no worker runs."""

    def __init__(self, config: Path, names: list[str]) -> None:
        self._settings = load_links(config, None)[0]
        self._links = {name: load_links(config, name)[1][0] for name in names}
        self._found: dict[str, dr.Belongings] = {}

    def ahead(self) -> list[dict[str, Any]]:
        for item in self._links.values():
            dr.refuse_needed(self._settings, item, self._links.keys())
        self._found = {name: dr.belongings(self._settings, item) for name, item in self._links.items()}
        return [{"link": name, **each.as_json()} for name, each in self._found.items()]

    def check(self) -> None:
        for name, item in self._links.items():
            dr.refuse_running(item, self._found[name])

    def leaving(self, rows: list[dict[str, Any]]) -> int:
        return 0

    def run(self, row: Row, hand: Hand) -> dict[str, Any]:
        link = self._links[row["link"]]
        assert hand.snapshot is not None
        return {"link": link.name, **dr.remove(self._settings, link, save_audit=hand.snapshot, say=hand.say).as_json()}


class _Remote:
    """Through the API: its workers leave each link first."""

    def __init__(self, ways: dict[str, Reach], order: RemoveOrder) -> None:
        self._ways = ways
        self._order = order

    def ahead(self) -> list[dict[str, Any]]:
        return [way.ahead(REMOVE, name, self._order) for name, way in self._ways.items()]

    def check(self) -> None:
        """The workers see to it."""

    def leaving(self, rows: list[dict[str, Any]]) -> int:
        return sum(len(row["workers"]) for row in rows)

    def run(self, row: Row, hand: Hand) -> dict[str, Any]:
        return self._ways[row["link"]].run(REMOVE, row["link"], self._order, row, hand)


_Removal = _Direct | _Remote


def _show(row: Row) -> None:
    """What goes, one thing a line."""
    out, name = console(), row["link"]
    if not (row["topics"] or row["groups"] or row["acls"]):
        out.print(f"{name}: nothing is left of it.")
    for topic in row["topics"]:
        out.print(f"{name}: topic {topic}")
    for each in row["groups"]:
        out.print(f"{name}: group {each['group']} on {each['cluster']}")
    for acl in row["acls"]:
        out.print(f"{name}: ACL on {acl['resource']}: {acl['permission']} {acl['what']}", soft_wrap=True)
    for worker in row.get("workers", ()):
        out.print(f"{name}: worker {worker} leaves it", soft_wrap=True)
    for note in row["notes"]:
        out.print(f"{name}: {note}", soft_wrap=True)
