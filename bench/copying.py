"""One copy of one load by one contestant, timed."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from bench.brokers import Pair, clear
from bench.contestants import Contestant, Running
from bench.loads import Written
from bench.ondisk import on_disk
from bench.processes import Cost, cost
from bench.watching import Watcher

TIMEOUT_S = 600.0
_EVERY_S = 0.03
_ENOUGH = 0.5  # of a load must be copied after the first look: otherwise the rates would be guesses


class BenchError(RuntimeError):
    """A contestant didn't copy; the message ends with its log."""


@dataclass(frozen=True)
class Copy:
    """Figures of one copy.

    Rates and CPU per GB are those after the first records arrived, the start of the process left out, of as many
    records and bytes as were copied from then on; None if too little was left by then.
    """

    records_per_s: float | None
    mb_per_s: float | None
    cpu_s_per_gb: float | None
    cpu_s: float  # from the start of the process until the last record could be read
    peak_rss_mb: float
    first_record_s: float  # from the start of the process until a reader of committed records saw one
    surplus: int  # records too many in the target's log; negative: missing


@dataclass(frozen=True)
class Sample:
    """Where a copy stood, and what it had cost."""

    at: float
    cost: Cost
    records: int


def copy(contestant: Contestant, written: Written, pair: Pair, directory: Path) -> Copy:
    """Copy the load from its start; leaves the target cluster empty again."""
    began = time.monotonic()
    with contestant.copying(written.load.name, pair, directory) as running:
        watcher = Watcher(pair.target, running.remote_topic, len(written.records))
        try:
            try:
                first, seen_s = first_records(running, watcher, began)
                last = all_records(running, watcher, written, began)
            except RuntimeError as error:
                log = running.log()[-3000:]
                raise BenchError(f"{contestant.name} on {written.load.name}: {error}\n{log}") from None
        finally:
            watcher.close()
        stored = on_disk(pair.target, running.remote_topic, len(written.records)).records
    clear(pair.target.admin())
    clear(pair.source.admin(), keep=frozenset({written.load.name}))
    return _figures(first, last, written, seen_s - began, stored)


def settle() -> None:
    """Write what the last copy left in the page cache, so that it isn't the next one's burden."""
    os.sync()


def first_records(running: Running, watcher: Watcher, began: float) -> tuple[Sample, float]:
    """Wait for the target's first records; what had been spent then, and when a reader of committed records saw one."""
    first: Sample | None = None
    while True:
        arrived = sum(watcher.ends(committed=False)) if first is None else 0
        if arrived:
            first = Sample(time.monotonic(), cost(running.pid), arrived)
        if first is not None and any(watcher.ends(committed=True)):
            return first, time.monotonic()
        _pause(running, began, "no record arrived")


def all_records(running: Running, watcher: Watcher, written: Written, began: float) -> Sample:
    """Wait until readers of committed records see the whole load; what had been spent then."""
    while True:
        ends = watcher.ends(committed=True)
        sample = Sample(time.monotonic(), cost(running.pid), sum(written.records))
        complete = len(ends) == len(written.records) and all(
            end >= wanted for end, wanted in zip(ends, written.records, strict=True)
        )
        if complete and tuple(watcher.last_values(ends)) == written.last_values:
            return sample
        _pause(running, began, f"not all records arrived; ends {ends}")


def _pause(running: Running, began: float, problem: str) -> None:
    if time.monotonic() - began > TIMEOUT_S:
        raise RuntimeError(f"{problem} within {TIMEOUT_S:g} s")
    cost(running.pid)  # RuntimeError if it has ended
    time.sleep(_EVERY_S)


def _figures(first: Sample, last: Sample, written: Written, first_record_s: float, stored: int) -> Copy:
    total = sum(written.records)
    share = (total - first.records) / total
    took = last.at - first.at
    enough = share >= _ENOUGH and took > 0
    gigabytes = written.on_disk.bytes * share / 1e9
    return Copy(
        records_per_s=total * share / took if enough else None,
        mb_per_s=gigabytes * 1e3 / took if enough else None,
        cpu_s_per_gb=(last.cost.cpu_s - first.cost.cpu_s) / gigabytes if enough else None,
        cpu_s=last.cost.cpu_s,
        peak_rss_mb=last.cost.peak_rss_mb,
        first_record_s=first_record_s,
        surplus=stored - total,
    )
