"""One thing that `replicator check` looked at, and what came of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """How bad it is. A warning is of something beside the copying, which goes on."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """`exit_code` is what the program should end with because of it, `command` one that would put it right."""

    level: Level
    where: str
    what: str
    why: str = ""
    next_step: str = ""
    exit_code: int = 0
    command: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def ok(where: str, what: str) -> Finding:
    """As it should be."""
    return Finding(Level.OK, where, what)


def warning(where: str, what: str, why: str = "", next_step: str = "") -> Finding:
    """Something that the links can do without."""
    return Finding(Level.WARNING, where, what, why, next_step)


def problem(
    where: str, what: str, why: str = "", next_step: str = "", exit_code: int = 1, command: str = ""
) -> Finding:
    """Something that stops a link, or a topic of it."""
    return Finding(Level.PROBLEM, where, what.removeprefix(f"{where}: "), why, next_step, exit_code, command)
