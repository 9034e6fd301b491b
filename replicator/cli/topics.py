"""`replicator topics`: which topics a link copies, under which names, and why not the others."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from replicator.cli.options import DEFAULT_CONFIG, ConfigOption, LinkOption, Output, OutputOption, load_links
from replicator.cli.output import console, print_json, table
from replicator.config.librdkafka import client_properties
from replicator.config.models import LinkConfig, Settings
from replicator.sync.admin import Admin
from replicator.sync.topics import TopicPlan, TopicSync
from replicator.telemetry import logs


def topics(
    config: ConfigOption = DEFAULT_CONFIG,
    link: LinkOption = None,
    output: OutputOption = Output.TEXT,
    everything: Annotated[bool, typer.Option("--all", help="In text, the topics that aren't selected, too.")] = False,
) -> None:
    """Which source topics are copied, under which names, whether the copies exist, and why others aren't copied."""
    logs.configure(level="ERROR")
    settings, links, _ = load_links(config, link)
    found = [(item, rows(asyncio.run(_plan(settings, item)))) for item in links]
    if output is Output.JSON:
        print_json({"links": [{"name": item.name, "topics": topics} for item, topics in found]})
        return
    for item, listed in found:
        _show(item, listed, everything)


async def _plan(settings: Settings, link: LinkConfig) -> TopicPlan:
    source, target = (
        Admin(client_properties(settings.clusters[alias], client_id="replicator-topics"), alias)
        for alias in (link.source, link.target)
    )
    return await TopicSync(link, source, target).plan()


def rows(plan: TopicPlan) -> list[dict[str, Any]]:
    """One dictionary per source topic, by name: `topic, selected, remote, created, partitions, reason, detail`."""
    listed: list[dict[str, Any]] = []
    for name, pair in plan.pairs.items():
        problem = plan.problems.get(name)
        listed.append(
            {
                "topic": name,
                "selected": True,
                "remote": pair.remote_name,
                "created": pair.target is not None,
                "partitions": pair.source.partitions,
                "remote_partitions": pair.target.partitions if pair.target is not None else 0,
                "reason": str(problem.reason) if problem else None,
                "detail": problem.detail if problem else "",
            }
        )
    for name, problem in plan.problems.items():
        if name not in plan.pairs:
            listed.append(_row(name, selected=True, reason=str(problem.reason), detail=problem.detail))
    for name, why in plan.skipped.items():
        listed.append(_row(name, selected=False, reason=None, detail=why))
    return sorted(listed, key=lambda row: (not row["selected"], row["topic"]))


def _row(name: str, *, selected: bool, reason: str | None, detail: str) -> dict[str, Any]:
    return {
        "topic": name,
        "selected": selected,
        "remote": None,
        "created": False,
        "partitions": None,
        "remote_partitions": None,
        "reason": reason,
        "detail": detail,
    }


def _show(link: LinkConfig, listed: list[dict[str, Any]], everything: bool) -> None:
    out = console()
    selected = [row for row in listed if row["selected"]]
    others = [row for row in listed if not row["selected"]]
    shown = table("TOPIC", "COPY", "PARTS", "STATE", "WHY", numbers=frozenset({"PARTS"}))
    for row in selected + (others if everything else []):
        shown.add_row(row["topic"], row["remote"] or "-", str(row["partitions"] or "-"), _state(row), row["detail"])
    out.print(f"{link.name}: {link.source} -> {link.target}", style="bold")
    out.print(shown)
    if others and not everything:
        out.print(f"{len(others)} other topics aren't copied; --all says why.")
    out.print()


def _state(row: dict[str, Any]) -> str:
    if row["reason"]:
        return str(row["reason"])
    if not row["selected"]:
        return "not copied"
    if not row["created"]:
        return "to be created"
    if row["remote_partitions"] < row["partitions"]:
        return f"to grow from {row['remote_partitions']}"
    return "created"
