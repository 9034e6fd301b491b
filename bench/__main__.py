"""`python -m bench`: measure, and print one table."""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from bench import table
from bench.contestants import MM2_DEFAULT, MM2_EXACTLY_ONCE, MM2_TUNED, OURS, RELAY, Contestant
from bench.copying import BenchError
from bench.jars import mirror_jars
from bench.loads import LOADS, Load
from bench.measuring import Plan, measure, say
from bench.relaying import relay_program
from bench.results_file import with_table
from tests.support import javatools

_NAMES = (*(load.name for load in LOADS), "latency", "recovery")
_RESULTS = Path(__file__).with_name("RESULTS.md")
_LATENCY_S = 20.0  # per program and rate, divided over the rounds


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Small loads, one round: does it work, roughly how.")] = False,
    only: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(_NAMES)}; may be repeated.")] = None,
    program: Annotated[
        list[str] | None, typer.Option(help="Only programs with this in their names; may be repeated.")
    ] = None,
    mm2: Annotated[bool, typer.Option("--mm2/--no-mm2", help="Measure MirrorMaker 2 beside us.")] = True,
    mm2_modes: Annotated[bool, typer.Option("--mm2-modes", help="Its defaults and its exactly-once, too.")] = False,
    go: Annotated[bool, typer.Option("--go", help="A record-level relay in Go (bench/relay), too.")] = False,
    records: Annotated[int | None, typer.Option(min=1000, help="Records of every load, instead of its own.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Copies per program and load; 3, with --quick 1.")] = None,
    recovery_limit: Annotated[
        float, typer.Option(min=5, help="Seconds after which a recovery isn't waited for; MM2's takes 5 minutes.")
    ] = 60,
    save: Annotated[
        bool, typer.Option("--save", help="Write the table to bench/RESULTS.md, between its marks.")
    ] = False,
) -> None:
    """Copy the same topics between two real Kafka clusters with this program and with others, in turn.

    Figures are medians of the rounds (peak RSS: the highest), each round beginning with another program; CPU is that of
    the copying process and its children alone. Exit code 1 if a copy has too many or too few records; 2 if something
    that is needed isn't there.
    """
    chosen = only or list(_NAMES)
    for name in chosen:
        if name not in _NAMES:
            raise typer.BadParameter(f"{name} isn't one of {', '.join(_NAMES)}", param_hint="--only")
    times = rounds or (1 if quick else 3)
    beside: list[Contestant] = [MM2_TUNED] if mm2 else []
    beside += [RELAY] if go else []
    modes: list[Contestant] = [MM2_DEFAULT, MM2_EXACTLY_ONCE] if mm2 and mm2_modes else []
    fastest: list[Contestant] = [MM2_DEFAULT] if mm2 and not modes else []  # it doesn't linger: its best latency
    plan = Plan(
        loads=tuple(load.of(records or (load.quick_records if quick else load.records)) for load in _selected(chosen)),
        copying=_named(program, (*OURS, *beside, *modes)),
        rounds=times,
        latency=_named(program, (*OURS, *beside, *fastest, *modes)) if "latency" in chosen else (),
        latency_s=6.0 if quick else _LATENCY_S / times,
        recovery=_named(program, (*OURS, *beside)) if "recovery" in chosen else (),
        recovery_limit_s=recovery_limit,
    )
    if not plan.copying:
        raise typer.BadParameter(f"no program has {' or '.join(program or ())} in its name", param_hint="--program")
    _require(mm2, go)
    began = time.monotonic()
    heading = f"{datetime.now(UTC):%Y-%m-%d}, {table.machine()}; rounds: {plan.rounds}"
    print(heading, flush=True)
    results = _results(plan)
    text = f"\n{table.render(results)}"
    print(text)
    if save:
        command = shlex.join(["python", "-m", "bench", *sys.argv[1:]])
        before = _RESULTS.read_text() if _RESULTS.exists() else ""
        _RESULTS.write_text(with_table(before, f"`{command}`\n\n{heading}\n{text}"))
    say(f"took {time.monotonic() - began:.0f} s")
    if results.problems():
        raise typer.Exit(1)


def _selected(names: Sequence[str]) -> list[Load]:
    return [load for load in LOADS if load.name in names]


def _named(parts: Sequence[str] | None, contestants: Sequence[Contestant]) -> tuple[Contestant, ...]:
    return tuple(one for one in contestants if not parts or any(part in one.name for part in parts))


def _require(mm2: bool, go: bool) -> None:
    """Fetch and build what is needed before anything is measured; exit code 2 if that can't be."""
    try:
        if problem := javatools.missing():
            raise RuntimeError(problem)
        javatools.jars()
        if mm2:
            mirror_jars()
        if go:
            relay_program()
    except RuntimeError as error:
        say(str(error))
        raise typer.Exit(2) from error


def _results(plan: Plan) -> table.Results:
    directory = Path(tempfile.mkdtemp(prefix="replicator-bench-"))
    results = table.Results({MM2_TUNED.name: "MM2's", RELAY.name: "Go's"})
    try:
        measure(plan, directory, results)
    except BaseException as error:
        print(f"\n{table.render(results)}")  # what there is; it isn't saved
        if not isinstance(error, BenchError):
            raise
        say(str(error))
        raise typer.Exit(1) from error
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return results


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends as Ctrl-C does: nothing is left behind
    typer.run(main)
