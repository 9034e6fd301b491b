"""`replicator verify`: compare every record of both sides, through a client that isn't the one that copied them."""

from __future__ import annotations

import re
import sys
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from replicator.cli.options import DEFAULT_CONFIG, ConfigOption, LinkOption, Output, OutputOption, load_links
from replicator.cli.output import console, count, errors, print_json, table
from replicator.config.models import LinkConfig, Settings
from replicator.dr import verify as comparison
from replicator.dr.report import PartitionReport, VerifyReport
from replicator.errors import ConfigurationError
from replicator.telemetry import logs

_NUMBERS = frozenset({"PART", "RECORDS", "DIFFERENCES", "NOT-COPIED"})

_SHOWN = 5  # differences of a partition, in text


def verify(
    config: ConfigOption = DEFAULT_CONFIG,
    link: LinkOption = None,
    topic: Annotated[
        str | None, typer.Option("--topic", metavar="REGEX", help="Only topics that this matches in full.")
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Compare every record of both sides: order, key, value, headers, timestamp. Exit code 1 on any difference."""
    logs.configure(level="ERROR")
    settings, links, _ = load_links(config, link)
    pattern = _pattern(topic)
    reports = [_compare(settings, item, pattern) for item in links]
    if output is Output.JSON:
        documents = [report.model_dump(mode="json") for report in reports]
        print_json(documents[0] if len(documents) == 1 else {"ok": all(r.ok for r in reports), "links": documents})
    else:
        for report in reports:
            _show(report)
    raise typer.Exit(0 if all(report.ok for report in reports) else 1)


def _pattern(topic: str | None) -> re.Pattern[str] | None:
    if topic is None:
        return None
    try:
        return re.compile(topic)
    except re.error as error:
        raise ConfigurationError(f"--topic {topic!r}: isn't a regular expression: {error}") from None


def _compare(settings: Settings, link: LinkConfig, topic: re.Pattern[str] | None) -> VerifyReport:
    if not sys.stderr.isatty():
        return comparison.verify(settings, link, topic=topic)
    columns = (TextColumn("{task.description}"), BarColumn(None), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors(), transient=True) as bar:
        task = bar.add_task(link.name, total=None)

        def progress(at: comparison.Progress) -> None:
            bar.update(task, description=f"{at.topic}-{at.partition}", completed=at.done, total=max(at.total, 1))

        return comparison.verify(settings, link, topic=topic, progress=progress)


def _show(report: VerifyReport) -> None:
    out = console()
    shown = table("TOPIC", "PART", "RECORDS", "DIFFERENCES", "NOT-COPIED", "RESULT", numbers=_NUMBERS)
    for part in report.partitions:
        result = Text("equal", style="green") if part.ok else Text("different", style="bold red")
        shown.add_row(
            part.topic, str(part.partition), count(part.records), count(part.found), count(part.uncopied), result
        )
    out.print(shown)
    for part in report.partitions:
        for line in _details(part):
            out.print(line, soft_wrap=True)
    verdict = "equal" if report.ok else f"{count(report.differences)} differences"
    late = f"; {count(report.uncopied)} source offsets aren't copied yet" if report.uncopied else ""
    out.print(
        f"{report.link}: {count(report.records)} records compared in {report.seconds:.1f} s: {verdict}{late}",
        style="bold green" if report.ok else "bold red",
    )


def _details(part: PartitionReport) -> list[str]:
    name = f"{part.topic}-{part.partition}"
    lines = [f"{name}: {note}" for note in part.notes]
    for difference in part.differences[:_SHOWN]:
        fields = f" ({', '.join(difference.fields)})" if difference.fields else ""
        places = ", ".join(
            f"{side} offset {offset}"
            for side, offset in (("source", difference.source_offset), ("target", difference.target_offset))
            if offset >= 0
        )
        lines.append(
            f"{name}: {difference.kind}{fields} at {places}" + (f": {difference.detail}" if difference.detail else "")
        )
    if part.found > _SHOWN:
        lines.append(
            f"{name}: and {count(part.found - min(_SHOWN, len(part.differences)))} more (-o json has more of them)"
        )
    if not part.complete:
        lines.append(f"{name}: given up after too many differences")
    return lines
