"""`python -m bench.secured`: what TLS and SCRAM on both sides cost, beside plaintext; 1 KB records, in turn."""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from bench.brokers import two_clusters
from bench.contestants import OURS
from bench.copying import Copy, copy, settle
from bench.loads import LOADS, Load, write
from tests.support.kafka import Security

_WAYS: tuple[tuple[str, Security | None], ...] = (("plaintext", None), ("TLS, SCRAM", "scram_tls"))


def main(
    records: Annotated[int, typer.Option(min=10_000, help="Of 1 KB.")] = 1_500_000,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
) -> None:
    """Copy the same load between clusters with and without TLS."""
    load = LOADS[0].of(records)
    found = {title: median(_figures(load, security, rounds)) for title, security in _WAYS}
    plain, secured = found.values()
    print(f"CPU of TLS: {secured / plain:.2f} times that of plaintext")


def _figures(load: Load, security: Security | None, rounds: int) -> list[float]:
    with tempfile.TemporaryDirectory(prefix="replicator-secured-") as home, two_clusters(security=security) as pair:
        written = write(load, pair.source)
        copies = [copy(OURS[0], written, pair, _new(home, number)) for number in range(rounds + 1)]
        settle()
    for each in copies[1:]:  # the first one warms the brokers up
        print(f"{security or 'plaintext'}: {_line(each)}", flush=True)
    return [each.cpu_s_per_gb for each in copies[1:] if each.cpu_s_per_gb is not None]


def _new(home: str, number: int) -> Path:
    directory = Path(home) / str(number)
    directory.mkdir()
    return directory


def _line(found: Copy) -> str:
    return f"{found.cpu_s_per_gb or 0:.2f} CPU-s/GB, {found.mb_per_s or 0:.0f} MB/s, {found.surplus} too many"


if __name__ == "__main__":
    typer.run(main)
