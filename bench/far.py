"""`python -m bench.far`: copy from a source that is a long way off, with and without parallel fetching."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from bench.brokers import Pair, two_clusters
from bench.contestants import Running
from bench.copying import BenchError, Copy, copy
from bench.loads import LOADS, write
from replicator.ledger.lanes import group_id
from tests.support.kafka import die_with_parent
from tests.support.ports import free_ports
from tests.support.replicator import Installation

_ALIASES = itertools.count(1)
_RECORD_BYTES = 1024
_WITHOUT = "from replicator.flow import round_trip; round_trip.NEAR_S = float('inf'); "
_RUN = "from replicator.cli.main import main; main()"


@dataclass(frozen=True)
class Far:
    """This program, exactly once, one worker; `parallel`: as it is, else with one fetch session per broker for good."""

    parallel: bool

    @property
    def name(self) -> str:
        """As printed."""
        return "parallel fetching" if self.parallel else "one fetch session"

    @contextlib.contextmanager
    def copying(self, topic: str, pair: Pair, directory: Path, workers: int = 1) -> Iterator[Running]:
        """See `bench.contestants.Contestant`; one worker."""
        if workers != 1:
            raise ValueError(f"{workers} workers, where one is measured")
        alias = f"f{next(_ALIASES)}"
        link = {"name": f"{alias}-to-target", "source": alias, "target": "target", "topics": {"include": [topic]}}
        installation = Installation(directory / alias, {alias: pair.source, "target": pair.target}, [link])
        file = installation.write("worker.yaml", f"127.0.0.1:{free_ports(1)[0]}")
        log = installation.directory / "worker.log"
        program = _RUN if self.parallel else _WITHOUT + _RUN
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", program, "run", "-c", str(file)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
            )
        try:
            group = group_id(str(link["name"]))
            yield Running((process.pid,), f"{alias}.{topic}", (log,), group, pair.target)
        finally:
            process.kill()
            process.wait(timeout=20)


def main(
    rtt_ms: Annotated[float, typer.Option(min=0, help="Round trip to the source, beside the real one.")] = 100,
    window_kb: Annotated[int | None, typer.Option(min=16, help="Most under way per connection, as TCP has it.")] = None,
    megabytes: Annotated[int, typer.Option(min=10, help="Of 1 KB records over 8 partitions, 64 KB batches.")] = 400,
    rounds: Annotated[int, typer.Option(min=1)] = 2,
    without: Annotated[bool, typer.Option("--without/--only-with", help="Measure one session beside it.")] = True,
) -> None:
    """Copy a topic from a source behind the delay proxy; both ways in turn, medians of the rounds."""
    load = next(load for load in LOADS if load.name == "1k").of(megabytes * 1_000_000 // _RECORD_BYTES)
    contestants = [Far(parallel=True), *([Far(parallel=False)] if without else [])]
    copies: dict[Far, list[Copy]] = {contestant: [] for contestant in contestants}
    directory = Path(tempfile.mkdtemp(prefix="replicator-bench-far-"))
    try:
        with two_clusters(proxied_source=True) as pair:
            written = write(load, pair.source)
            for proxy in pair.source.proxies:
                proxy.delay(rtt_ms / 2000)
                if window_kb is not None:
                    proxy.window_bytes = window_kb << 10
            for _, contestant in itertools.product(range(rounds), contestants):
                done = copy(contestant, written, pair, directory)
                print(f"{contestant.name}: {_figures([done])}", file=sys.stderr, flush=True)
                copies[contestant].append(done)
    except BenchError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from error
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    for contestant, its in copies.items():
        print(f"{rtt_ms:g} ms, {contestant.name}: {_figures(its)}")
    if any(done.surplus for its in copies.values() for done in its):
        print("a copy has too many or too few records", file=sys.stderr)
        raise typer.Exit(1)


def _figures(copies: list[Copy]) -> str:
    rates = [done.mb_per_s for done in copies if done.mb_per_s is not None]
    rate = f"{median(rates):.0f} MB/s" if rates else "too little to tell MB/s"
    cpu = [done.cpu_s_per_gb for done in copies if done.cpu_s_per_gb is not None]
    cost = f", {median(cpu):.2f} CPU-s/GB" if cpu else ""
    return f"{rate}{cost}, peak RSS {max(done.peak_rss_mb for done in copies):.0f} MB"


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends as Ctrl-C does: nothing is left behind
    typer.run(main)
