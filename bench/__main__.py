"""`python -m bench`: measure, and print one table."""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from bench import table
from bench.brokers import Pair, clear, two_clusters
from bench.contestants import MM2_OTHERS, MM2_TUNED, OURS, Contestant
from bench.copying import BenchError, copy, settle
from bench.jars import mirror_jars
from bench.latency import RECORDS_PER_S, latency
from bench.loads import LOADS, Load, write
from tests.support import javatools

_NAMES = (*(load.name for load in LOADS), "latency")
_RESULTS = Path(__file__).with_name("RESULTS.md")
_WARM_UP = LOADS[0].of(50_000)


@dataclass(frozen=True)
class Plan:
    """What is to be measured."""

    loads: tuple[Load, ...]
    contestants: tuple[Contestant, ...]
    rounds: int
    latency_s: float | None


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Small loads, one round: does it work, roughly how.")] = False,
    only: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(_NAMES)}; may be repeated.")] = None,
    mm2: Annotated[bool, typer.Option("--mm2/--no-mm2", help="Measure MirrorMaker 2 beside us.")] = True,
    mm2_modes: Annotated[bool, typer.Option("--mm2-modes", help="Its defaults and its exactly-once, too.")] = False,
    records: Annotated[int | None, typer.Option(min=1000, help="Records of every load, instead of its own.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Copies per program and load; 3, with --quick 1.")] = None,
    save: Annotated[bool, typer.Option("--save", help="Write the table to bench/RESULTS.md.")] = False,
) -> None:
    """Copy the same topics between two real Kafka clusters with this program and with MirrorMaker 2, in turn.

    Figures are medians of the rounds; CPU is that of the copying process and its children alone. Exit code 1 if a
    copy has too many or too few records.
    """
    chosen = only or list(_NAMES)
    for name in chosen:
        if name not in _NAMES:
            raise typer.BadParameter(f"{name} isn't one of {', '.join(_NAMES)}", param_hint="--only")
    plan = Plan(
        loads=tuple(load.of(records or (load.quick_records if quick else load.records)) for load in _selected(chosen)),
        contestants=(*OURS, *((MM2_TUNED,) if mm2 else ()), *(MM2_OTHERS if mm2 and mm2_modes else ())),
        rounds=rounds or (1 if quick else 3),
        latency_s=(6.0 if quick else 30.0) if "latency" in chosen else None,
    )
    _require(mm2)
    began = time.monotonic()
    heading = f"{datetime.now(UTC):%Y-%m-%d}, {table.machine()}; rounds: {plan.rounds}"
    print(heading, flush=True)
    results = _measure(plan)
    text = f"\n{table.render(results)}"
    print(text)
    if save:
        command = shlex.join(["python", "-m", "bench", *sys.argv[1:]])
        _RESULTS.write_text(f"# Results\n\n`{command}`\n\n{heading}\n{text}")
    _say(f"took {time.monotonic() - began:.0f} s")
    if results.problems():
        raise typer.Exit(1)


def _selected(names: Sequence[str]) -> list[Load]:
    return [load for load in LOADS if load.name in names]


def _require(mm2: bool) -> None:
    """Fetch what is needed before anything is measured; exit code 2 if that can't be."""
    try:
        if problem := javatools.missing():
            raise RuntimeError(problem)
        javatools.jars()
        if mm2:
            mirror_jars()
    except RuntimeError as error:
        _say(str(error))
        raise typer.Exit(2) from error


def _measure(plan: Plan) -> table.Results:
    results = table.Results(baseline=MM2_TUNED.name)
    directory = Path(tempfile.mkdtemp(prefix="replicator-bench-"))
    try:
        with two_clusters() as pair:
            _say("warming the brokers up")
            _copy_load(_WARM_UP, OURS, 1, pair, directory, table.Results(""))
            for load in plan.loads:
                _copy_load(load, plan.contestants, plan.rounds, pair, directory, results)
            for contestant in plan.contestants if plan.latency_s is not None else ():
                _say(f"latency at {RECORDS_PER_S} records/s: {contestant.name}")
                results.latencies[contestant.name] = latency(contestant, pair, directory, plan.latency_s or 0)
    except BenchError as error:
        _say(str(error))
        raise typer.Exit(1) from error
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return results


def _copy_load(
    load: Load, contestants: Sequence[Contestant], rounds: int, pair: Pair, directory: Path, results: table.Results
) -> None:
    """Write the load once, and have everybody copy it in turn, `rounds` times."""
    _say(f"writing {load.title}: {load.records:,} records")
    written = write(load, pair.source)
    results.loads.append(written)
    for number in range(rounds):
        for contestant in contestants:
            settle()
            _say(f"copying {load.title}, round {number + 1} of {rounds}: {contestant.name}")
            done = copy(contestant, written, pair, directory)
            results.copies.setdefault((load.name, contestant.name), []).append(done)
    clear(pair.source.admin())


def _say(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends as Ctrl-C does: nothing is left behind
    typer.run(main)
