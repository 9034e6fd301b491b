"""`replicator verify`: compare every record of both sides, through a client that isn't the one that copied them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from pydantic import Field, TypeAdapter, ValidationError
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from replicator.cli.options import DEFAULT_CONFIG, ConfigOption, LinkOption, Output, OutputOption, load_links
from replicator.cli.output import console, count, errors, print_json, table
from replicator.config.fields import Size
from replicator.config.models import LinkConfig, Settings
from replicator.dr import verify as comparison
from replicator.dr.desk import note_in_trail, operator
from replicator.dr.report import PartitionReport, VerifyReport
from replicator.dr.sign_off import SignOff, read_key, write
from replicator.dr.sign_off import check as check_signed
from replicator.dr.span import Span, parse_bound
from replicator.dr.verify_state import VerifyState
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
    partition: Annotated[int | None, typer.Option("--partition", min=0, help="Only this partition of each.")] = None,
    first: Annotated[
        str | None, typer.Option("--from", metavar="OFFSET|TIME", help="Only from there on, on the source.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="OFFSET|TIME", help="Only before that.")] = None,
    rate: Annotated[
        str | None, typer.Option("--rate", metavar="SIZE", help="Read so much a second at most, as in 20MiB.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="FILE", help="Keep the state there; go on where it stopped.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="DIR|FILE", help="Write a signed-off report: .json, .html, both.")
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option("--key-file", metavar="FILE", help="Sign with this key, or check with it.")
    ] = None,
    check_report: Annotated[
        Path | None, typer.Option("--check-report", metavar="FILE", help="Only say whether this report is unchanged.")
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Compare every record of both sides: order, key, value, headers, timestamp. Exit code 1 on any difference.

    Producers and workers may go on meanwhile: compared is what was copied when it began.
    """
    logs.configure(level="ERROR")
    key = None if key_file is None else read_key(key_file)
    if check_report is not None:
        _check(check_report, key, output)
        return
    settings, links, _ = load_links(config, link)
    if len(links) > 1 and (resume is not None or (report is not None and report.suffix in (".json", ".html"))):
        raise ConfigurationError("--resume and --report name one file: choose one link with --link")
    asked = _Asked(
        _pattern(topic),
        partition,
        Span(parse_bound("--from", first), parse_bound("--to", end)),
        None if rate is None else _size(rate),
    )
    reports = []
    signed: dict[str, SignOff] = {}
    for item in links:
        state = None if resume is None else VerifyState(resume)
        done = _compare(settings, item, asked, state)
        reports.append(done)
        if report is not None:
            signed[item.name], files = write(done, report, key)
            _enter(settings, item, done, signed[item.name])
            for file in files if output is Output.TEXT else ():
                console().print(f"{item.name}: report: {file}", soft_wrap=True)
        if state is not None:
            state.forget()
    if output is Output.JSON:
        documents = [
            each.model_dump(mode="json") | ({"sign_off": signed[each.link].as_json()} if each.link in signed else {})
            for each in reports
        ]
        print_json(documents[0] if len(documents) == 1 else {"ok": all(r.ok for r in reports), "links": documents})
    else:
        for each in reports:
            _show(each)
            if each.link in signed:
                console().print(f"{each.link}: signed off: SHA-256 {signed[each.link].sha256}", soft_wrap=True)
    raise typer.Exit(0 if all(each.ok for each in reports) else 1)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be compared, and how fast."""

    topic: re.Pattern[str] | None
    partition: int | None
    span: Span
    rate_bytes: int | None


def _check(file: Path, key: bytes | None, output: Output) -> None:
    report, signed, wrong = check_signed(file, key)
    if output is Output.JSON:
        print_json({"unchanged": not wrong, "wrong": wrong, "ok": report.ok, "sign_off": signed.as_json()})
    elif wrong:
        for text in wrong:
            console().print(f"{file}: {text}", style="bold red", soft_wrap=True)
    else:
        verdict = "equal" if report.ok else f"{count(report.differences)} differences"
        keyed = ", with this key" if key is not None else ""
        console().print(
            f"{file}: unchanged{keyed}: link {report.link}, {report.finished}, by {report.by}: {verdict}; "
            f"SHA-256 {signed.sha256}",
            soft_wrap=True,
        )
    raise typer.Exit(1 if wrong else 0)


def _enter(settings: Settings, link: LinkConfig, report: VerifyReport, signed: SignOff) -> None:
    verdict = "equal" if report.ok else f"{report.differences} differences"
    detail = f"{report.records} records, {verdict}; report signed off: SHA-256 {signed.sha256}"
    took_ms = int(report.seconds * 1000)
    note_in_trail(settings, link, "verify", report.what, detail, by=report.by, took_ms=took_ms)


def _size(text: str) -> int:
    try:
        return int(TypeAdapter(Annotated[Size, Field(ge=1)]).validate_python(text))
    except ValidationError:
        raise ConfigurationError(f"--rate {text!r}: write bytes, or such as 20MiB") from None


def _pattern(topic: str | None) -> re.Pattern[str] | None:
    if topic is None:
        return None
    try:
        return re.compile(topic)
    except re.error as error:
        raise ConfigurationError(f"--topic {topic!r}: isn't a regular expression: {error}") from None


def _compare(settings: Settings, link: LinkConfig, asked: _Asked, state: VerifyState | None) -> VerifyReport:
    def run(progress: Callable[[comparison.Progress], None]) -> VerifyReport:
        return comparison.verify(
            settings,
            link,
            topic=asked.topic,
            partition=asked.partition,
            span=asked.span,
            rate_bytes=asked.rate_bytes,
            state=state,
            by=operator(),
            progress=progress,
        )

    if not sys.stderr.isatty():
        return run(comparison.saying(lambda text: errors().print(f"{link.name}: {text}", soft_wrap=True)))
    columns = (TextColumn("{task.description}"), BarColumn(None), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors(), transient=True) as bar:
        task = bar.add_task(link.name, total=None)

        def progress(at: comparison.Progress) -> None:
            bar.update(task, description=f"{at.topic}-{at.partition}", completed=at.done, total=max(at.total, 1))

        return run(progress)


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
