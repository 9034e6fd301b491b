"""What a process and its children have cost so far, from /proc (Linux)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """CPU time, user and system, and the highest resident memory since the start."""

    cpu_s: float
    peak_rss_mb: float


def cost(pid: int) -> Cost:
    """Of the process and its living descendants, and the CPU of those that ended and were waited for.

    RuntimeError if the process itself is gone.
    """
    try:
        own = _own(pid)
    except (FileNotFoundError, ProcessLookupError):
        raise RuntimeError(f"process {pid} has ended while it was measured") from None
    cpu, peak = own.cpu_s, own.peak_rss_mb
    for child in _children(pid):
        try:
            below = cost(child)
        except RuntimeError:
            continue  # ended in between: now in its parent's figures
        cpu += below.cpu_s
        peak += below.peak_rss_mb
    return Cost(cpu, peak)


def _own(pid: int) -> Cost:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    if fields[0] in "ZX":  # it has ended, and nobody has waited for it yet
        raise ProcessLookupError(pid)
    ticks = sum(int(field) for field in fields[11:15])  # utime, stime, and both of waited-for children
    status = Path(f"/proc/{pid}/status").read_text()
    peak_kib = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)
    return Cost(ticks / _TICKS_PER_S, peak_kib / 1024)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in path.read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue  # that thread has ended
    return found
