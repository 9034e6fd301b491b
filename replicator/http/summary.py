"""What a link looks like from afar, and how fast it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import TypedDict

from replicator.http.reader import Answer
from replicator.states import State

Counts = Mapping[str, tuple[int, int]]  # link -> records and bytes that workers of this service have copied so far

_AT_LEAST_S = 0.5  # between two looks, for a rate


class Worst(TypedDict):
    """The partition that is furthest behind."""

    topic: str
    partition: int
    lag: int
    lag_ms: int | None


class Summary(TypedDict):
    """One link. `at` is when it was looked at, in ms since 1970; `error` says why that isn't now. Rates are None until
    two looks tell them."""

    name: str
    source: str
    target: str
    at: int | None
    workers: int
    partitions: int
    states: dict[str, int]
    lag: int
    lag_ms: int
    faults: int
    worst: Worst | None
    records_per_s: float | None
    bytes_per_s: float | None
    source_error: str | None
    error: str | None


def unseen(name: str, source: str, target: str, error: str | None) -> Summary:
    """A link that nobody could look at yet."""
    return {
        "name": name, "source": source, "target": target, "at": None, "workers": 0, "partitions": 0, "states": {},
        "lag": 0, "lag_ms": 0, "faults": 0, "worst": None, "records_per_s": None, "bytes_per_s": None,
        "source_error": None, "error": error,
    }  # fmt: skip


@dataclass(slots=True)
class Pace:
    """How fast a link is: positions and counts at the last look, and what came of comparing them."""

    at_ms: int = -1
    places: dict[tuple[str, int], int] = field(default_factory=dict)
    counted: tuple[int, int] | None = None
    records: float | None = None
    bytes: float | None = None

    def look(self, rows: list[Mapping[str, Any]], counted: tuple[int, int] | None, at_ms: int) -> None:
        """Take these positions, and what our own workers have counted, as those of `at_ms`."""
        seconds = (at_ms - self.at_ms) / 1000
        if 0 <= seconds < _AT_LEAST_S and self.at_ms >= 0:
            return
        places = {(row["topic"], row["partition"]): row["source_next"] for row in rows if row["source_next"] >= 0}
        if self.at_ms >= 0 and seconds > 0:
            copied = sum(max(0, place - self.places.get(at, place)) for at, place in places.items())
            self.records = copied / seconds
            self.bytes = self.records * size if (size := self._record_size(counted)) is not None else None
            if copied == 0:
                self.bytes = 0.0
        self.at_ms, self.places, self.counted = at_ms, places, counted

    def _record_size(self, counted: tuple[int, int] | None) -> float | None:
        """Of what our own workers have copied since the last look: others' records are as large, as far as we know."""
        if counted is None or self.counted is None or counted[0] <= self.counted[0]:
            return None
        return (counted[1] - self.counted[1]) / (counted[0] - self.counted[0])


def summary(found: Answer, pace: Pace) -> Summary:
    """Of a link's status."""
    status = found.value
    rows = status["partitions"]
    behind = max((row for row in rows if row["lag"]), key=lambda row: (row["lag_ms"] or 0, row["lag"]), default=None)
    states = Counter(row["state"] for row in rows)
    return {
        "name": status["name"],
        "source": status["source"],
        "target": status["target"],
        "at": found.at_ms,
        "workers": len(status["workers"]),
        "partitions": len(rows),
        "states": dict(sorted(states.items())),
        "lag": sum(row["lag"] or 0 for row in rows),
        "lag_ms": max((row["lag_ms"] or 0 for row in rows), default=0),
        "faults": states[State.FAULTED],
        "worst": None if behind is None else {
            "topic": behind["topic"],
            "partition": behind["partition"],
            "lag": behind["lag"],
            "lag_ms": behind["lag_ms"],
        },
        "records_per_s": pace.records,
        "bytes_per_s": pace.bytes,
        "source_error": status["source_error"],
        "error": None,
    }  # fmt: skip
