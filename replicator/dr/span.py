"""Which part of the source's partitions is compared, as a user says it: by offsets, or by times."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from replicator.errors import ConfigurationError

_OFFSET = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Bound:
    """A source offset, or a time in ms since 1970; the other one is -1."""

    offset: int = -1
    time_ms: int = -1

    def __str__(self) -> str:
        if self.offset >= 0:
            return str(self.offset)
        return datetime.fromtimestamp(self.time_ms / 1000, UTC).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Span:
    """From `first` on and before `end`; None: where the log begins, or as far as it was copied."""

    first: Bound | None = None
    end: Bound | None = None

    def __bool__(self) -> bool:
        return self.first is not None or self.end is not None


def parse_bound(option: str, text: str | None) -> Bound | None:
    """A number is an offset, anything else a time in ISO 8601, UTC unless it says otherwise. ConfigurationError."""
    if text is None:
        return None
    if _OFFSET.fullmatch(text):
        return Bound(offset=int(text))
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        example = "2026-01-31T12:00:00Z"
        raise ConfigurationError(f"{option} {text!r} is neither an offset nor a time such as {example}") from None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return Bound(time_ms=int(at.timestamp() * 1000))
