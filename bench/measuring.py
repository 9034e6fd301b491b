"""The run: brokers up, warm, and then everything of a plan in turn."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.brokers import Pair, clear, two_clusters
from bench.contestants import OURS, Contestant
from bench.copying import copy, settle
from bench.latency import latency
from bench.loads import LOADS, Load, Written, write
from bench.order import rotated, settled
from bench.recovery import recovery
from bench.table import Results

_WARM_UP = LOADS[0].of(300_000)  # 300 MB
_WARMS_UP = OURS[0]


@dataclass(frozen=True)
class Plan:
    """What is to be measured, and with whom."""

    loads: tuple[Load, ...]
    copying: tuple[Contestant, ...]
    rounds: int
    latency: tuple[Contestant, ...]
    latency_s: float
    recovery: tuple[Contestant, ...]
    recovery_limit_s: float


def measure(plan: Plan, directory: Path, results: Results) -> None:
    """Fill `results`; BenchError, with what has been measured until then in `results`, if somebody doesn't copy."""
    with two_clusters() as pair:
        warm_up(pair, directory)
        for load in plan.loads:
            _copy_load(load, plan, pair, directory, results)
        if plan.latency:
            say("a trickle, not counted: small requests take other ways through the brokers than large ones")
            latency(_WARMS_UP, pair, directory, plan.latency_s)
        for number in range(plan.rounds if plan.latency else 0):
            for contestant in rotated(plan.latency, number):
                say(f"latency, round {number + 1} of {plan.rounds}: {contestant.name}")
                for rate, late in latency(contestant, pair, directory, plan.latency_s).items():
                    results.latencies.setdefault((contestant.name, rate), []).append(late)
        for contestant in plan.recovery:
            say(f"recovery: {contestant.name}")
            results.recoveries[contestant.name] = recovery(contestant, pair, directory, plan.recovery_limit_s)


def say(text: str) -> None:
    """Progress, on stderr."""
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)


def warm_up(pair: Pair, directory: Path) -> None:
    """Copy until the brokers don't get faster: their JVMs compile for the first gigabyte or so, on our processors."""
    written = _write(_WARM_UP, pair)
    speeds: list[float] = []
    while not settled(speeds):
        speeds.append(copy(_WARMS_UP, written, pair, directory).mb_per_s or 0.0)
        say(f"warming the brokers up: {speeds[-1]:.0f} MB/s")
    clear(pair.source.admin())


def _copy_load(load: Load, plan: Plan, pair: Pair, directory: Path, results: Results) -> None:
    """Write the load once, and have everybody copy it in turn in each round."""
    written = _write(load, pair)
    results.loads.append(written)
    say(f"copying {load.title}, not counted: brokers handle every shape of records in other code")
    copy(_WARMS_UP, written, pair, directory)
    for contestant in plan.copying:
        results.copies[load.name, contestant.name] = []
    for number in range(plan.rounds):
        for contestant in rotated(plan.copying, number):
            settle()
            say(f"copying {load.title}, round {number + 1} of {plan.rounds}: {contestant.name}")
            results.copies[load.name, contestant.name].append(copy(contestant, written, pair, directory))
    clear(pair.source.admin())


def _write(load: Load, pair: Pair) -> Written:
    say(f"writing {load.title}: {load.records:,} records")
    return write(load, pair.source)
