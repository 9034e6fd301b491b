"""What the controller couldn't bring into step, in the link's control topic: where `status` finds it.

One record per syncer, written when it changes; it decides nothing. A large report keeps its first lines and all counts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

_PREFIX = b"sync/"
_VERSION = 1
_LINES_MAX = 500
_DETAIL_MAX = 600
_NAME_MAX = 300


@dataclass(frozen=True, slots=True)
class HeldBack:
    """One thing that differs and stays so, as words of `replicator.sync.plan`."""

    kind: str
    resource: str
    why: str
    detail: str


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What `syncer` found at `at_ms`: `held` may be shorter than `count`. `error`: why it couldn't look at all."""

    syncer: str
    at_ms: int
    held: tuple[HeldBack, ...]
    count: int
    error: str = ""


def encode_report(report: SyncReport) -> tuple[bytes, bytes]:
    """Key and value for the control topic."""
    held = {
        "version": _VERSION,
        "at_ms": report.at_ms,
        "count": report.count,
        "error": report.error[:_DETAIL_MAX],
        "held": [[h.kind, h.resource[:_NAME_MAX], h.why, h.detail[:_DETAIL_MAX]] for h in report.held[:_LINES_MAX]],
    }
    return _PREFIX + report.syncer.encode(), json.dumps(held, separators=(",", ":")).encode()


def take_report(reports: dict[str, SyncReport], key: bytes | None, value: bytes | None) -> None:
    """Apply one control record to `reports`, by syncer; records of other kinds change nothing."""
    if key is None or not key.startswith(_PREFIX):
        return
    syncer = key[len(_PREFIX) :].decode(errors="replace")
    if value is None:
        reports.pop(syncer, None)
        return
    try:
        found = json.loads(value)
        if found["version"] != _VERSION:
            raise ValueError(found["version"])
        held = tuple(HeldBack(*map(str, line[:4])) for line in _lines(found["held"]))
        reports[syncer] = SyncReport(syncer, int(found["at_ms"]), held, int(found["count"]), str(found["error"]))
    except (ValueError, KeyError, TypeError):
        reports[syncer] = SyncReport(syncer, 0, (), 0, "It is described in a form that isn't known here.")


def _lines(held: Sequence[Sequence[object]]) -> list[list[object]]:
    return [list(line) for line in held if len(line) >= 4]
