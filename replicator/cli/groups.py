"""`replicator groups`: where consumer groups are on both sides, and why one isn't kept in step."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from replicator.cli.options import DEFAULT_CONFIG, ConfigOption, LinkOption, Output, OutputOption
from replicator.cli.output import console, count, print_json, table
from replicator.cli.reach import reach
from replicator.errors import WrongStateError
from replicator.ledger.translation import BEYOND
from replicator.telemetry import logs

_COLUMNS = ("GROUP", "TOPIC", "PART", "POSITION", "LAG", "COPY", "THERE", "TRANSLATED", "STATE")
_NUMBERS = frozenset({"PART", "POSITION", "LAG", "THERE", "TRANSLATED"})


def groups(
    group: Annotated[
        str | None, typer.Argument(metavar="[GROUP]", help="Only this group, with all its topics.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    link: LinkOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Each group's position on the source, on the target, and where it belongs there; and why it isn't kept in step."""
    logs.configure(level="ERROR")
    links = reach(config, link)
    found: list[dict[str, Any]] = []
    missing: list[str] = []
    for name in links.names:
        try:
            found.append(links.view("groups", name, group=group))
        except WrongStateError as error:
            missing.append(str(error))
    if not found:
        raise WrongStateError("\n".join(missing))
    if output is Output.JSON:
        print_json({"links": found})
        return
    for each in found:
        console().print(render(each), soft_wrap=True)


def render(link: dict[str, Any]) -> RenderableType:
    """One link, for people."""
    title = Text(f"{link['name']}: {link['source']} -> {link['target']}", style="bold")
    if not link["synced"]:
        title.append("  sync.groups is false: nothing is written", style="yellow")
    shown = table(*_COLUMNS, numbers=_NUMBERS)
    notes: dict[str, list[str]] = {}
    for group in link["groups"]:
        for row in group["positions"]:
            state, style = _state(row)
            shown.add_row(
                group["group"],
                row["topic"],
                str(row["partition"]),
                count(row["source_offset"]),
                count(row["lag"]),
                row["target_topic"] or "-",
                count(row["target_offset"]),
                count(row["translated"]),
                Text(state, style=style),
            )
            if row["why"]:
                said = f"{row['why']}: {row['detail']}"
                notes.setdefault(said, []).append(f"{group['group']} {row['topic']}-{row['partition']}")
    lines = [Text(f"{_some(of)}: {said}", style="yellow") for said, of in notes.items()]
    lines += [Text(f"{held['group']}: {held['why']}: {held['detail']}", style="yellow") for held in link["held"]]
    nothing = [] if link["groups"] or lines else [Text("no group has a position in a topic that is copied")]
    return Group(title, *([shown] if link["groups"] else []), *lines, *nothing, Text())


def _state(row: dict[str, Any]) -> tuple[str, str]:
    if row["why"]:
        return row["why"], "yellow"
    if not row["synced"]:
        return "to be written", ""
    said = "exact" if row["exact"] else f"within {row['error_bound']:,}"
    if row["where"] == BEYOND:
        said += ", goes on with the copy"
    if row["smaller_of_two"]:
        said += ", the smaller of two"
    return said, "green"


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
