"""The table: one row per load and contestant, as Markdown that also reads well in a terminal."""

from __future__ import annotations

import io
import math
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from bench.copying import Copy
from bench.latency import Latency
from bench.loads import PARTITIONS, Written
from tests.support.javatools import KAFKA_VERSION

_COPY_COLUMNS = (
    *("load", "program", "CPU-s/GB", "MB/s", "records/s", "CPU s in all", "peak RSS MB", "first record s"),
    *("CPU of MM2's", "speed of MM2's"),
)
_LATENCY_COLUMNS = ("program", "p50 ms", "p99 ms", "sent", "received")


@dataclass
class Results:
    """What a run has measured; `baseline` names the program that ratios refer to, if it took part."""

    baseline: str
    loads: list[Written] = field(default_factory=list)
    copies: dict[tuple[str, str], list[Copy]] = field(default_factory=dict)  # by load and program, one per round
    latencies: dict[str, Latency] = field(default_factory=dict)

    def problems(self) -> list[str]:
        """Copies that weren't what they should be, in sentences."""
        found = [
            f"{program}, {load}: {abs(one.surplus)} records {'too many' if one.surplus > 0 else 'missing'}"
            for (load, program), copies in self.copies.items()
            for one in copies
            if one.surplus
        ]
        for program, late in self.latencies.items():
            if late.received != late.sent:
                found.append(f"{program}, latency: {late.received} of {late.sent} records received")
        return found


def machine() -> str:
    """What it ran on."""
    java = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr.partition("\n")[0]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB, {platform.system()} {platform.release()}; "
        f"Python {platform.python_version()}; Apache Kafka {KAFKA_VERSION}, two clusters of one node on this machine; "
        f"{java}; load average at the start {os.getloadavg()[0]:.1f}"
    )


def render(results: Results) -> str:
    """Loads, figures, latencies and problems as Markdown."""
    parts = []
    if results.copies:
        parts += ["\n".join(f"- {_describe(load)}" for load in results.loads), _copies(results)]
    if results.latencies:
        parts.append(_latencies(results))
    problems = results.problems()
    if problems:
        parts.append("\n".join(f"- **{problem}**" for problem in problems))
    return "\n\n".join(parts) + "\n"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _describe(written: Written) -> str:
    disk = written.on_disk
    return (
        f"{written.load.title}: {disk.records:,} records, {PARTITIONS} partitions, {disk.bytes / 1e6:,.0f} MB in "
        f"{disk.batches:,} batches of {disk.records / disk.batches:,.0f} records and "
        f"{disk.bytes / disk.batches:,.0f} B on average; values of {len(written.last_values[0]):,} B"
    )


def _copies(results: Results) -> str:
    rows = []
    for load in results.loads:
        baseline = results.copies.get((load.load.name, results.baseline))
        for (name, program), copies in results.copies.items():
            if name == load.load.name:
                rows.append([load.load.title, program, *_figures(copies), *_ratios(copies, baseline)])
    return _table(_COPY_COLUMNS, rows)


def _figures(copies: Sequence[Copy]) -> list[str]:
    return [
        _shown(_median(copies, lambda one: one.cpu_s_per_gb), 2),
        _shown(_median(copies, lambda one: one.mb_per_s)),
        _shown(_median(copies, lambda one: one.records_per_s)),
        _shown(_median(copies, lambda one: one.cpu_s), 1),
        _shown(max(one.peak_rss_mb for one in copies)),
        _shown(_median(copies, lambda one: one.first_record_s), 1),
    ]


def _ratios(copies: Sequence[Copy], baseline: Sequence[Copy] | None) -> list[str]:
    if baseline is None or copies is baseline:
        return ["", ""]
    cpu, base_cpu = (_median(of, lambda one: one.cpu_s_per_gb) for of in (copies, baseline))
    speed, base_speed = (_median(of, lambda one: one.records_per_s) for of in (copies, baseline))
    return [
        f"1/{base_cpu / cpu:.1f}" if cpu and base_cpu else "–",
        f"{speed / base_speed:.1f} x" if speed and base_speed else "–",
    ]


def _latencies(results: Results) -> str:
    rows = [
        [program, _shown(late.p50_ms, 1), _shown(late.p99_ms, 1), f"{late.sent:,}", f"{late.received:,}"]
        for program, late in results.latencies.items()
    ]
    return _table(_LATENCY_COLUMNS, rows)


def _median(copies: Iterable[Copy], of: Callable[[Copy], float | None]) -> float | None:
    values = [value for one in copies if (value := of(one)) is not None]
    return statistics.median(values) if values else None


def _shown(value: float | None, digits: int = 0) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:,.{digits}f}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    table = Table(box=box.MARKDOWN)
    for column in columns:
        table.add_column(column, justify="left" if column in ("load", "program") else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    text = io.StringIO()
    Console(file=text, width=400, color_system=None).print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines() if line.strip())
