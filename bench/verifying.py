"""How fast `verify` compares: megabytes of source records per second of CPU time, with both sides read.

python -m bench.verifying [--records 1000000]
"""

from __future__ import annotations

import json
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from bench.brokers import two_clusters
from bench.loads import LOADS, write
from tests.support.replicator import Installation

_MB = 1_000_000


def main(
    records: Annotated[int, typer.Option(help="How many.")] = 1_000_000,
    load: Annotated[str, typer.Option(help="Which of bench.loads.")] = "1k",
) -> None:
    """Write records, copy them, compare them, and print one line."""
    (chosen,) = [each for each in LOADS if each.name == load]
    with two_clusters() as pair, tempfile.TemporaryDirectory() as directory:
        written = write(chosen.of(records), pair.source)
        size = sum(len(written.load.value(index)) for index in range(0, records, 1000)) * 1000
        link = {"name": "l", "source": "us", "target": "eu", "topics": {"include": [load]}}
        installation = Installation(Path(directory), {"us": pair.source, "eu": pair.target}, [link])
        with installation.worker() as worker:
            worker.wait_ready()
            installation.wait_until_copied(len(written.records), within=300)
            worker.terminate(within=20)
        before, began = _cpu(), time.monotonic()
        done = installation.run("verify", "-o", "json", timeout=600)
        took, spent = time.monotonic() - began, _cpu() - before
        report = json.loads(done.stdout)
        if not report["ok"] or report["records"] != records:
            raise RuntimeError(f"the copy differs: {done.stdout[:2000]}")
    typer.echo(
        f"verify, {written.load.title}, {records:,} records: {size / _MB / spent:.0f} MB of source records per second "
        f"of CPU time, {size / _MB / took:.0f} MB/s by the clock, {spent:.1f} s of CPU in {took:.1f} s, "
        f"{os.cpu_count()} cores with both brokers on them"
    )


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    typer.run(main)
