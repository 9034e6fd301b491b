"""`python -m bench.scale`: what a wide link costs, simulated. No Kafka, no JVM.

What is simulated is said with each figure; `scale_world` and `scale_parts` say how.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
from typing import Annotated

import structlog
import typer

from bench import scale_parts as parts
from bench.scale_world import Outcome, Size, Stage, run
from replicator.ledger.entry import decode
from replicator.states import Way

_DAY_OF_COMMITS = 8640  # one in ten seconds
_SCRAPE_EVERY_S = 15


def main(
    topics: Annotated[int, typer.Option(min=1)] = 1000,
    partitions: Annotated[int, typer.Option(min=1, help="Of each topic.")] = 50,
    workers: Annotated[int, typer.Option(min=2)] = 20,
    lanes: Annotated[int, typer.Option(min=2)] = 160,
    idle_s: Annotated[float, typer.Option(min=5, help="Virtual seconds of doing nothing.")] = 60.0,
    group: Annotated[bool, typer.Option("--group/--no-group", help="Real members of a group, half a minute.")] = True,
) -> None:
    """One worker of a wide link starts, idles and dies; another one takes over. Then parts of it by themselves."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    size = Size(topics, partitions, workers, lanes)
    print(f"{platform.machine()}, Python {platform.python_version()}, load average {os.getloadavg()[0]:.0f}")
    print(f"{size.total:,} partitions in {topics:,} topics, {workers} workers, {lanes} lanes; idle")
    outcome = run(size, idle_s=idle_s)
    for line in outcome.troubles:
        print(f"  ! {line}")
    _print_world(size, outcome)
    _print_ledger(size, outcome)
    _print_control(size, outcome)
    if group:
        _print_group(size)


def _print_world(size: Size, outcome: Outcome) -> None:
    print(f"\nOne worker of {size.workers}: {outcome.partitions:,} partitions (real code, virtual time and network)")
    assert outcome.first_start is not None
    assert outcome.idle is not None
    assert outcome.takeover is not None
    _print_stage("first start, from nothing in the ledger", outcome.first_start)
    _print_stage(
        f"taking all of them over from a dead worker in fenced writing, {outcome.found_records:,} records found",
        outcome.takeover,
    )
    idle = outcome.idle
    print(f"  idle: {100 * idle.cpu_s / idle.virtual_s:.2f} % of a core; of that")
    for what, seconds in sorted(idle.cpu.items(), key=lambda item: -item[1])[:6]:
        print(f"    {100 * seconds / idle.virtual_s:6.3f} %  {what}")
    print("  idle traffic, requests and answers")
    for api, count in sorted(idle.bytes.items(), key=lambda item: -item[1]):
        print(
            f"    {idle.requests[api] / idle.virtual_s:6.2f} requests/s {count / idle.virtual_s / 1e3:9.1f} kB/s  {api}"
        )
    share = 100 * outcome.scrape_cpu_s / _SCRAPE_EVERY_S
    print(
        f"  one scrape of /metrics: {outcome.scrape_cpu_s * 1000:.0f} ms of CPU, {outcome.scrape_bytes / 1e6:.1f} MB; "
        f"every {_SCRAPE_EVERY_S} s: {share:.2f} % of a core"
    )


def _print_stage(what: str, stage: Stage) -> None:
    moved = sum(stage.bytes.values()) / 1e6
    print(
        f"  {what}: {stage.virtual_s:.2f} s of network and timers, {stage.cpu_s:.2f} s of CPU; "
        f"{sum(stage.requests.values())} requests, {moved:.1f} MB"
    )


def _print_ledger(size: Size, outcome: Outcome) -> None:
    entries = [len(key) + len(value) for key, value in outcome.ledger if decode(key, value) is not None]
    fenced = sum((entry := decode(*pair)) is not None and entry.way is Way.FENCED for pair in outcome.ledger)
    each, runs = sum(entries) / len(entries), outcome.map_bytes / len(entries)
    day = parts.map_bytes(_DAY_OF_COMMITS)
    print(f"\nLedger, compacted (entries as the workers wrote them; {fenced} of {len(entries)} in fenced writing)")
    total = each * size.total
    print(f"  {each:.0f} bytes a partition, {total / 1e6:.1f} MB in all: {total / size.lanes / 1e3:.0f} kB a lane")
    print(f"  offset map beside it: {runs:.0f} bytes a partition in fenced writing; in transactions {day / 1e3:.1f} kB")
    print(f"  after {_DAY_OF_COMMITS:,} commits, {day * size.total / 1e9:.2f} GB in all; never above 1 MiB a partition")


def _print_control(size: Size, outcome: Outcome) -> None:
    found = parts.controller_round(size.topics, size.partitions, outcome.ledger)
    records, sent = parts.trouble_traffic(size.lanes)
    print("\nController (clusters in memory: what librdkafka does for it isn't counted)")
    print(f"  a round with nothing to do, every 5 s: {found.plan_s * 1000:.0f} ms of CPU")
    print(f"  reading the whole ledger once: {found.decode_s:.2f} s of CPU")
    print("\nControl topic")
    print("  nothing while all lanes run: positions are in the ledger, and nobody publishes anything else")
    print(f"  while none of the lanes runs: {records:.1f} records/s, {sent:,.0f} bytes/s")


def _print_group(size: Size) -> None:
    figures = asyncio.run(parts.group(size.workers, size.lanes, 10.0))
    print("\nMembership (real members, bundled broker, real time, all in one process)")
    print(f"  all {size.workers} joined and balanced within {figures.join_s:.1f} s")
    print(f"  steady: {figures.requests_per_s:.0f} requests/s, {figures.bytes_per_s / 1e3:.1f} kB/s")
    print(f"  after an orderly end its lanes had other owners within {figures.leave_s:.1f} s")


if __name__ == "__main__":
    typer.run(main)
