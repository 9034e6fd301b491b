"""How people say how long something takes, or how old it is."""

from __future__ import annotations


def age(milliseconds: int | None) -> str:
    """A duration as people say it: `340 ms`, `12 s`, `3 min`, `5 h`, `2 d`; `-` when unknown."""
    if milliseconds is None or milliseconds < 0:
        return "-"
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    seconds = milliseconds / 1000
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"
