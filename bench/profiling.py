"""`python -m bench.profiling NAME`: where one of our workers spends its time during a copy, function by function."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from bench import table
from bench.brokers import Pair, two_clusters
from bench.contestants import OURS, Replicator
from bench.copying import BenchError, all_records, first_records
from bench.flames import flame_graph
from bench.loads import LOADS, Load, Written, write
from bench.measuring import say, warm_up
from bench.stacks import folded, parse, report, spread
from bench.watching import Watcher
from tests.support import javatools

_PROFILES = Path(__file__).with_name("profiles")
_LOADS = {load.name: load for load in LOADS}
_PROGRAMS = {ours.name: ours for ours in OURS}


def main(
    name: Annotated[str, typer.Argument(help="Of the files: bench/profiles/NAME.txt, .svg and .folded.")],
    load: Annotated[str, typer.Option(help=f"Of {', '.join(_LOADS)}.")] = "1k",
    program: Annotated[str, typer.Option(help=f"Of {'; '.join(_PROGRAMS)}.")] = OURS[0].name,
    records: Annotated[int | None, typer.Option(min=1000, help="Instead of the load's own.")] = None,
    against: Annotated[str | None, typer.Option(help="NAME of an earlier profile to show beside this one.")] = None,
    rate: Annotated[int, typer.Option(min=10, max=1000, help="Samples a second.")] = 200,
    native: Annotated[bool, typer.Option("--native", help="C functions, too (Linux on x86-64).")] = False,
) -> None:
    """Profile one worker from the first record of a copy to its last, with py-spy.

    Times are milliseconds of CPU per gigabyte copied, so that two runs on the same machine can be compared: what the
    kernel says the process used, spread over the samples of working threads. Waiting is left out. Exit code 2 if
    something that is needed isn't there.
    """
    if load not in _LOADS:
        raise typer.BadParameter(f"{load} isn't one of {', '.join(_LOADS)}", param_hint="--load")
    if program not in _PROGRAMS:
        raise typer.BadParameter(f"{program!r} isn't one of {'; '.join(_PROGRAMS)}", param_hint="--program")
    before = parse((_PROFILES / f"{against}.folded").read_text()) if against else None
    spy = _require()
    chosen = _LOADS[load].of(records or _LOADS[load].records)
    directory = Path(tempfile.mkdtemp(prefix="replicator-profile-"))
    try:
        counts, figures = _profile(chosen, _PROGRAMS[program], spy, rate, native, directory)
    except BenchError as error:
        say(str(error))
        raise typer.Exit(1) from error
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    title = f"{program}, {figures}"
    head = f"{title}\n{datetime.now(UTC):%Y-%m-%d}, {table.machine()}; {rate} samples a second (py-spy)"
    if against:
        head += f"\nbefore: {against}"
    text = f"{head}\n\n{report(counts, before)}"
    print(text)
    _PROFILES.mkdir(exist_ok=True)
    for suffix, content in (("txt", text), ("folded", folded(counts)), ("svg", flame_graph(counts, title))):
        (_PROFILES / f"{name}.{suffix}").write_text(content)


def _require() -> str:
    spy = shutil.which("py-spy", path=sysconfig.get_path("scripts")) or shutil.which("py-spy")
    problem = javatools.missing() or (None if spy else "`py-spy` isn't there: make setup installs it")
    if problem or spy is None:
        say(str(problem))
        raise typer.Exit(2)
    return spy


def _profile(
    load: Load, program: Replicator, spy: str, rate: int, native: bool, directory: Path
) -> tuple[dict[tuple[str, ...], float], str]:
    """CPU time per gigabyte by stack, and the copy's own figures in words."""
    output = directory / "raw"
    command = [spy, "record", "--rate", str(rate), "--format", "raw", "--nolineno", "--nonblocking"]
    command += ["--output", str(output), *(["--native"] if native else [])]
    with two_clusters() as pair:
        warm_up(pair, directory)
        say(f"writing {load.title}: {load.records:,} records")
        written = write(load, pair.source)
        say("profiling")
        cpu_s_per_gb, figures = _copy(program, written, pair, directory, command)
    try:
        return spread(parse(output.read_text()), 1000 * cpu_s_per_gb), figures
    except ValueError as error:
        raise BenchError(f"py-spy's samples: {error}") from None


def _copy(program: Replicator, written: Written, pair: Pair, directory: Path, command: list[str]) -> tuple[float, str]:
    """CPU seconds per gigabyte while the profiler watched, and the figures in words."""
    began = time.monotonic()
    with program.copying(written.load.name, pair, directory) as running:
        watcher = Watcher(pair.target, running.remote_topic, len(written.records))
        try:
            first, _ = first_records(running, watcher, began)
            with _spying([*command, "--pid", str(running.pid)]):
                last = all_records(running, watcher, written, began)
        except RuntimeError as error:
            raise BenchError(f"{program.name} on {written.load.name}: {error}\n{running.log()}") from None
        finally:
            watcher.close()
    total = sum(written.records)
    gigabytes = written.on_disk.bytes * (total - first.records) / total / 1e9
    took, cpu = last.at - first.at, last.cost.cpu_s - first.cost.cpu_s
    if gigabytes <= 0 or took <= 0:
        raise BenchError("everything was copied before it could be watched: take more --records")
    return cpu / gigabytes, (
        f"{written.load.title}: {gigabytes:.2f} GB at {gigabytes * 1e3 / took:,.0f} MB/s and {cpu / gigabytes:.2f} "
        "CPU-s/GB while watched"
    )


@contextlib.contextmanager
def _spying(command: list[str]) -> Iterator[None]:
    """The profiler at work; BenchError with its words if it can't or finds nothing."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        yield
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait(timeout=10)
    if process.returncode != 0:
        raise BenchError(f"py-spy ended with {process.returncode}: {said.decode(errors='replace')[-2000:]}")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    typer.run(main)
