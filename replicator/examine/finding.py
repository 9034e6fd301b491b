"""One thing that `replicator check` or `doctor` looked at, and what came of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
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

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Finding:
        """As it was before `as_dict`. What a newer Replicator says besides is left out."""
        known = {each.name: row[each.name] for each in fields(cls) if each.name in row}
        return cls(**{**known, "level": Level(row["level"])})


def as_json(findings: Collection[Finding]) -> dict[str, Any]:
    """`{"ok", "findings": [{level, where, what, why, next_step, exit_code, command}]}`"""
    return {"ok": exit_code(findings) == 0, "findings": [finding.as_dict() for finding in findings]}


def exit_code(findings: Iterable[Finding]) -> int:
    """Of all of them: the worst."""
    return max((finding.exit_code for finding in findings), default=0)


def of_configuration(warnings: Iterable[str]) -> list[Finding]:
    """What the configuration's warnings say."""
    return [Finding(Level.WARNING, "configuration", text) for text in warnings]


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
