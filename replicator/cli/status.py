"""`replicator status`: what every partition is doing, read straight from the clusters; no worker needs to run."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from replicator.cli.options import (
    DEFAULT_CONFIG,
    ConfigOption,
    LinkOption,
    Output,
    OutputOption,
    WatchOption,
)
from replicator.cli.output import age, console, count, print_json, table, watch
from replicator.cli.reach import Reach, reach
from replicator.telemetry import logs

REFRESH_S = 2.0
_STYLES = {"COPYING": "green", "PENDING": "dim", "PAUSED": "yellow", "FAULTED": "bold red"}
_COLUMNS = ("TOPIC", "PART", "STATE", "LAG", "BEHIND", "SOURCE", "END", "TARGET", "SINCE")
_NUMBERS = frozenset({"PART", "LAG", "BEHIND", "SOURCE", "END", "TARGET", "SINCE"})

_HELD_SHOWN = 20  # of each syncer, in text

Status = dict[str, Any]


def status(
    config: ConfigOption = DEFAULT_CONFIG,
    link: LinkOption = None,
    output: OutputOption = Output.TEXT,
    follow: WatchOption = False,
) -> None:
    """State, positions and lag of every partition, and for those that stand still why, and what to do."""
    logs.configure(level="ERROR")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(show(reach(config, link), output, follow, render))


async def show(links: Reach, output: Output, follow: bool, render: Any) -> None:
    """Read the status once, or again and again, and show it with `render` or as JSON."""

    async def ask() -> Status:
        return await read(links)

    if follow:
        await watch(ask, render, (lambda found: found) if output is Output.JSON else None, REFRESH_S)
    elif output is Output.JSON:
        print_json(await ask())
    else:
        console().print(render(await ask()))


async def read(links: Reach) -> Status:
    """`{"links": […]}` as scripts rely on it."""
    found = await asyncio.gather(*(asyncio.to_thread(links.view, "", name) for name in links.names))
    return {"links": list(found)}


def render(found: Status) -> RenderableType:
    """The status as text."""
    parts: list[RenderableType] = []
    for link in found["links"]:
        parts += [headline(link), _partitions(link), *_troubles(link), *_syncs(link), *_drill(link), Text()]
    return Group(*parts[:-1])


def headline(link: Status) -> Text:
    """One line that tells how the link is."""
    rows = link["partitions"]
    states = Counter(row["state"] for row in rows)
    workers = link.get("workers") or []
    text = Text(f"{link['name']}: {link['source']} -> {link['target']}", style="bold")
    text.append(f"   {len(workers)} worker{'' if len(workers) == 1 else 's'}", style="red" if not workers else "")
    text.append(f", {len(rows)} partitions")
    for state, many in sorted(states.items()):
        text.append(f", {many} ", style="not bold")
        text.append(state, style=_STYLES.get(state, ""))
    lag = sum(max(0, row["lag"] or 0) for row in rows)
    behind = max((row["lag_ms"] or 0 for row in rows), default=0)
    text.append(f", lag {count(lag)} records" + (f", {age(behind)} behind" if lag else ""), style="not bold")
    if link.get("bandwidth"):
        text.append(f", at most {link['bandwidth'] / 1_000_000:.4g} MB/s", style="not bold")
    return text


def _partitions(link: Status) -> RenderableType:
    shown = table(*_COLUMNS, numbers=_NUMBERS)
    for row in link["partitions"]:
        shown.add_row(
            row["topic"],
            str(row["partition"]),
            Text(row["state"], style=_STYLES.get(row["state"], "")),
            count(row["lag"]),
            age(row["lag_ms"]),
            count(row["source_next"]),
            count(row["source_end"]),
            count(row["target_next"]),
            _ago(row["since"]),
        )
    return shown


def _ago(moment: str | None) -> str:
    if moment is None:
        return "-"
    return age(int((datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds() * 1000))


def _troubles(link: Status) -> list[RenderableType]:
    lines: list[RenderableType] = []
    if link.get("source_error"):
        seen = f"as of {link['source_seen']}, when it was seen last" if link.get("source_seen") else "unknown"
        lines.append(Text(f"positions of the source are {seen}: {link['source_error']}", style="red"))
    for row in link["partitions"]:
        if row["reason"]:
            lines.append(Text(f"{row['topic']}-{row['partition']}: {row['reason']} since {row['since']}", style="red"))
            lines += [Text(f"  {row[key]}") for key in ("detail", "next_step") if row.get(key)]
        lines += [Text(_gap(row, gap), style="yellow") for gap in row.get("gaps") or ()]
    return lines


def _syncs(link: Status) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for sync in link.get("syncs") or ():
        if sync["error"]:
            lines.append(
                Text(f"{sync['syncer']} can't be compared since {sync['since']}: {sync['error']}", style="red")
            )
        shown = sync["held"][:_HELD_SHOWN]
        for held in shown:
            style = "" if held["why"] == "NO_AUTHORIZER" else "yellow"
            lines.append(Text(f"{held['kind']} of {held['resource']} isn't kept in step: {held['why']}", style=style))
            lines.append(Text(f"  {held['detail']}"))
        if sync["count"] > len(shown):
            lines.append(Text(f"{sync['syncer']}: {sync['count'] - len(shown)} more (-o json)"))
    return lines


def _drill(link: Status) -> list[RenderableType]:
    drill = link.get("drill")
    if not drill:
        return []
    if not drill["ok"]:
        text = f"last drill {_ago(drill['at'])} ago failed at “{drill['failed_at']}”: {drill['error']}"
        return [Text(text, style="red")]
    lost = f"RTO {age(drill['rto_ms'])}, RPO {count(drill['rpo_records'])} records"
    return [Text(f"last drill {_ago(drill['at'])} ago passed ({drill['mode']}): {lost}")]


def _gap(row: Status, gap: Status) -> str:
    sides = [
        f"{side} offsets {gap[f'{side}_from']:,} to {gap[f'{side}_to'] - 1:,}"
        for side in ("source", "target")
        if gap[f"{side}_to"] > gap[f"{side}_from"]
    ]
    missing = " and ".join(sides) or "nothing that has offsets"
    where = f"{row['topic']}-{row['partition']}"
    return f"{where}: went on behind a gap ({gap['reason']}): {missing}; {gap['at']}, {gap['by']}"
