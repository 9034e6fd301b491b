"""One exposition of several workers', for a parent of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest

from replicator.telemetry import catalogue
from replicator.telemetry.prometheus import counter, gauge


def merged(expositions: Mapping[str, str | None], restarts: Mapping[str, int] | None = None) -> bytes:
    """One exposition of several workers', each sample with the label `worker`; None: that one didn't answer.

    `restarts`: how often each was started again.

    Works on lines, as `exposition` writes them: parsing and writing a large one again takes ten times as long.
    """
    labels = ("worker",)
    up = gauge(
        replace(catalogue.WORKER_UP, labels=labels),
        [((worker,), 0 if text is None else 1) for worker, text in sorted(expositions.items())],
    )
    started = counter(
        replace(catalogue.WORKER_RESTARTS, labels=labels),
        [((worker,), times) for worker, times in sorted((restarts or {}).items())],
    )
    families: dict[str, list[str]] = {}  # name -> its HELP and TYPE lines, then samples
    for worker, text in sorted(expositions.items()):
        samples: list[str] = []
        known = False
        for line in (text or "").splitlines():
            if line.startswith("# HELP "):
                name = line.split(" ", 3)[2]
                known = name in families
                samples = families.setdefault(name, [])
            if not line.startswith("#"):
                samples.append(_labelled(line, worker))
            elif not known:
                samples.append(line)
    lines = [line for family in families.values() for line in family]
    return generate_latest(_Ready([up, started])) + "".join(f"{line}\n" for line in lines).encode()


def _labelled(line: str, worker: str) -> str:
    """The sample with one more label; a `{` before the first space opens the others."""
    name, space, value = line.partition(" ")
    bare, brace, labels = name.partition("{")
    if brace:
        return f'{bare}{{worker="{worker}",{labels}{space}{value}'
    return f'{name}{{worker="{worker}"}}{space}{value}'


class _Ready(CollectorRegistry):
    """Families that are there already, in the shape `generate_latest` takes."""

    def __init__(self, families: list[Metric]) -> None:
        super().__init__(auto_describe=False)
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """The families as they are."""
        return iter(self._families)
