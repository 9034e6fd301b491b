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
from typing import TypeVar

from rich import box
from rich.console import Console
from rich.table import Table

from bench.copying import Copy
from bench.latency import RATES, Latency
from bench.loads import PARTITIONS, Written
from bench.recovery import Recovery
from tests.support.javatools import KAFKA_VERSION

T = TypeVar("T")

_COPY_COLUMNS = (
    *("load", "program", "CPU-s/GB", "MB/s", "records/s", "CPU s in all", "peak RSS MB", "first record s"),
)
_LATENCY_COLUMNS = (*(f"{quantile} ms at {rate:,}/s" for rate in RATES for quantile in ("p50", "p99")),)
_RECOVERY_COLUMNS = ("recovery s", f"of {PARTITIONS} stood still", "lost", "twice")


@dataclass
class Results:
    """What a run has measured; `baselines` are the programs that ratios refer to, with their names in the headings."""

    baselines: dict[str, str]
    loads: list[Written] = field(default_factory=list)
    copies: dict[tuple[str, str], list[Copy]] = field(default_factory=dict)  # by load and program, one per round
    latencies: dict[tuple[str, int], list[Latency]] = field(default_factory=dict)  # by program and rate, one per round
    recoveries: dict[str, Recovery] = field(default_factory=dict)

    def problems(self) -> list[str]:
        """Copies that weren't what they should be, in sentences."""
        found = [
            f"{program}, {load}: {abs(one.surplus)} records {'too many' if one.surplus > 0 else 'missing'}"
            for (load, program), copies in self.copies.items()
            for one in copies
            if one.surplus
        ]
        for (program, rate), rounds in self.latencies.items():
            for late in rounds:
                if late.received != late.sent:
                    found.append(f"{program}, latency at {rate}/s: {late.received} of {late.sent} records received")
        for program, recovery in self.recoveries.items():
            if recovery.lost:
                found.append(f"{program}, recovery: {recovery.lost} records lost")
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
    if results.latencies or results.recoveries:
        parts.append(_by_program(results))
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
    present = {program for _, program in results.copies}
    baselines = {program: title for program, title in results.baselines.items() if program in present}
    rows = []
    for load in results.loads:
        for (name, program), copies in results.copies.items():
            if name == load.load.name and copies:
                beside = (results.copies.get((name, baseline), ()) for baseline in baselines)
                ratios = [cell for others in beside for cell in _ratios(copies, others)]
                rows.append([load.load.title, program, *_figures(copies), *ratios])
    headings = (heading for title in baselines.values() for heading in (f"CPU of {title}", f"speed of {title}"))
    return _table((*_COPY_COLUMNS, *headings), rows)


def _figures(copies: Sequence[Copy]) -> list[str]:
    return [
        _shown(_median(copies, lambda one: one.cpu_s_per_gb), 2),
        _shown(_median(copies, lambda one: one.mb_per_s)),
        _shown(_median(copies, lambda one: one.records_per_s)),
        _shown(_median(copies, lambda one: one.cpu_s), 1),
        _shown(max(one.peak_rss_mb for one in copies)),
        _shown(_median(copies, lambda one: one.first_record_s), 1),
    ]


def _ratios(copies: Sequence[Copy], baseline: Sequence[Copy]) -> list[str]:
    """CPU per byte and records per second as shares of the baseline's; empty for the baseline itself."""
    if not baseline or copies is baseline:
        return ["", ""]
    cpu, base_cpu = (_median(of, lambda one: one.cpu_s_per_gb) for of in (copies, baseline))
    speed, base_speed = (_median(of, lambda one: one.records_per_s) for of in (copies, baseline))
    return [
        _share(cpu, base_cpu) if cpu and base_cpu else "–",
        f"{speed / base_speed:.1f} x" if speed and base_speed else "–",
    ]


def _share(part: float, whole: float) -> str:
    """Of something that is better when it is less."""
    return f"1/{whole / part:.1f}" if part < whole else f"{part / whole:.1f} x"


def _by_program(results: Results) -> str:
    programs = dict.fromkeys((*(program for program, _ in results.latencies), *results.recoveries))
    columns = ["program"]
    columns += _LATENCY_COLUMNS if results.latencies else ()
    columns += _RECOVERY_COLUMNS if results.recoveries else ()
    rows = []
    for program in programs:
        row = [program]
        for rate in RATES if results.latencies else ():
            rounds = results.latencies.get((program, rate), [])
            row += [
                _shown(_median(rounds, lambda one: one.p50_ms), 1),
                _shown(_median(rounds, lambda one: one.p99_ms), 1),
            ]
        if results.recoveries:
            row += _recovered(results.recoveries.get(program))
        rows.append(row)
    return _table(columns, rows)


def _recovered(recovery: Recovery | None) -> list[str]:
    if recovery is None:
        return [""] * len(_RECOVERY_COLUMNS)
    took = f">{recovery.limit_s:.0f}" if recovery.seconds is None else _shown(recovery.seconds, 1)
    return [took, str(recovery.stalled), _shown(recovery.lost), _shown(recovery.twice)]


def _median(measured: Iterable[T], of: Callable[[T], float | None]) -> float | None:
    values = [value for one in measured if (value := of(one)) is not None]
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
