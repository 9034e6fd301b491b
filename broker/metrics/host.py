"""The machine's CPU, memory and disks, from Linux' /proc; other systems have the disks alone.

All brokers of a local cluster share one machine, so that each shows the same.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_PROC = Path("/proc")
_MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_TICKS_PER_S = 100  # USER_HZ, which is part of Linux' interface


@dataclass(frozen=True, slots=True)
class Host:
    """A look at it. `cpu_s`: by CPU and mode, since it started; `memory_bytes`: by /proc/meminfo's names."""

    cpu_s: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    memory_bytes: Mapping[str, int] = field(default_factory=dict)
    disks: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # by path: total and free bytes
    load: tuple[float, float, float] | None = None

    def cpu_percent(self, since: Host) -> dict[str, float]:
        """Of all CPUs together, by mode, since an earlier look; empty where that isn't known, or too soon."""
        spent = {
            mode: sum(cpu.get(mode, 0.0) - since.cpu_s.get(name, {}).get(mode, 0.0) for name, cpu in self.cpu_s.items())
            for mode in _MODES
        }
        total = sum(spent.values())
        return {mode: max(0.0, 100 * seconds / total) for mode, seconds in spent.items()} if total > 0 else {}


def look(data_dir: Path | None, proc: Path = _PROC) -> Host:
    """What there is to see now."""
    disks = {}
    for path in ("/", *([str(data_dir)] if data_dir is not None else [])):
        usage = shutil.disk_usage(path)
        disks[path] = usage.total, usage.free
    return Host(_cpus(proc), _memory(proc), disks, _load(proc))


def _cpus(proc: Path) -> dict[str, dict[str, float]]:
    found = {}
    for line in _lines(proc / "stat"):
        name, *values = line.split()
        if name.startswith("cpu") and name != "cpu":
            found[name[3:]] = {mode: int(value) / _TICKS_PER_S for mode, value in zip(_MODES, values, strict=False)}
    return found


def _memory(proc: Path) -> dict[str, int]:
    found = {}
    for line in _lines(proc / "meminfo"):
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            found[name] = int(words[0]) * (1024 if words[1:] == ["kB"] else 1)
    return found


def _load(proc: Path) -> tuple[float, float, float] | None:
    for line in _lines(proc / "loadavg"):
        one, five, fifteen = map(float, line.split()[:3])
        return one, five, fifteen
    return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:  # not Linux
        return []
