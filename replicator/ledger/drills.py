"""What drills have shown, in the control topic of their link: the last ones, and whether one runs now."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from replicator.ledger.log import KeyValue

KEPT = 20
RUNNING_MS = 180_000  # a drill says at each step that it goes on
_KEY, _RUNNING = b"drill/", b"drill/running"
_VERSION = 1
_TEXT_MAX = 500


@dataclass(frozen=True, slots=True)
class DrillResult:
    """One drill. `rto_ms`: how long clients could write nowhere; `rpo_records` and `rpo_ms`: what the copy hadn't at
    that moment, and how old the oldest of it was; None where it didn't come so far. `failed_at`: the step, if one did.
    """

    at_ms: int
    mode: str
    by: str
    ok: bool
    took_ms: int
    rto_ms: int | None = None
    rpo_records: int | None = None
    rpo_ms: int | None = None
    failed_at: str = ""
    error: str = ""
    steps: tuple[tuple[str, int], ...] = ()  # what, and how many ms it took


@dataclass(slots=True)
class DrillRecords:
    """What of this kind stands in a control topic; `take` applies one record after the other."""

    results: dict[bytes, DrillResult] = field(default_factory=dict)  # by key, which is in the order of time
    running_by: str = ""
    running_ms: int = -1

    def take(self, key: bytes | None, value: bytes | None) -> None:
        """Apply a record. One of another kind, or that can't be read, changes nothing."""
        if key is None or not key.startswith(_KEY):
            return
        try:
            held: dict[str, Any] | None = None if value is None else json.loads(value)
            if key == _RUNNING:
                self.running_by, self.running_ms = ("", -1) if held is None else (str(held["by"]), int(held["at_ms"]))
                return
            self.results.pop(key, None)
            if held is not None and held.pop("version") == _VERSION:
                steps = tuple((str(name), int(took)) for name, took in held.pop("steps"))
                self.results[key] = DrillResult(**held, steps=steps)
        except (ValueError, KeyError, TypeError):
            return

    @property
    def last(self) -> DrillResult | None:
        """The newest."""
        return self.results[max(self.results)] if self.results else None

    @property
    def last_good_ms(self) -> int | None:
        """When the last one that succeeded was."""
        return max((each.at_ms for each in self.results.values() if each.ok), default=None)

    def runs(self, now_ms: int) -> bool:
        """Whether one is under way."""
        return now_ms - self.running_ms < RUNNING_MS


def encode_running(by: str, at_ms: int) -> KeyValue:
    """That a drill is under way, as of now."""
    return _RUNNING, json.dumps({"by": by, "at_ms": at_ms}).encode()


def encode_result(result: DrillResult, known: DrillRecords) -> list[KeyValue]:
    """The records that add this one, and say that none runs any more."""
    held = {"version": _VERSION, **asdict(result), "error": result.error[:_TEXT_MAX]}
    surplus = sorted(known.results)[: max(0, len(known.results) + 1 - KEPT)]
    key = b"%s%015d" % (_KEY, result.at_ms)
    return [
        (key, json.dumps(held, separators=(",", ":")).encode()),
        (_RUNNING, None),
        *((old, None) for old in surplus),
    ]
