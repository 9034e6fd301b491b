"""What a link's control topic says of its configuration: the one in force, the order to read it anew, the answers.

Each worker reads its own file: the topic carries no settings to anybody, it only tells whether all have the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from replicator.ledger.log import KeyValue

IN_FORCE_KEY = b"configuration"
_RELOAD = b"reload/"
_RELOADED = b"reloaded/"
_VERSION = 1
_DETAIL_MAX = 2000


@dataclass(frozen=True, slots=True)
class Reload:
    """Read the file again. It is answered by every worker that hears of it, and may be obeyed twice."""

    id: UUID
    by: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Reloaded:
    """A worker's answer: the fingerprint of the section that it now works by, and what was wrong, if anything."""

    id: UUID
    worker: str
    fingerprint: str
    error: str = ""


@dataclass(slots=True)
class ConfigurationRecords:
    """What of this kind stands in a control topic; `take` applies one record after the other."""

    in_force: Mapping[str, Any] | None = None  # the link's section, as the worker that started last had it
    reloads: dict[UUID, Reload] = field(default_factory=dict)
    answers: dict[tuple[UUID, str], Reloaded] = field(default_factory=dict)

    def take(self, key: bytes | None, value: bytes | None) -> None:
        """Apply a record. One of another kind, or that can't be read, changes nothing."""
        if key is None:
            return
        try:
            held = None if value is None else json.loads(value)
            if key == IN_FORCE_KEY:
                self.in_force = held["section"] if held else None
            elif key.startswith(_RELOAD):
                self._take_reload(UUID(key.removeprefix(_RELOAD).decode()), held)
            elif key.startswith(_RELOADED):
                command, _, worker = key.removeprefix(_RELOADED).decode().partition("/")
                self._take_answer(UUID(command), worker, held)
        except (ValueError, KeyError, TypeError):
            return

    def _take_reload(self, command: UUID, held: Mapping[str, Any] | None) -> None:
        if held is None:
            self.reloads.pop(command, None)
        else:
            self.reloads[command] = Reload(command, str(held["by"]), int(held["at_ms"]))

    def _take_answer(self, command: UUID, worker: str, held: Mapping[str, Any] | None) -> None:
        if held is None:
            self.answers.pop((command, worker), None)
        else:
            answer = Reloaded(command, worker, str(held["fingerprint"]), str(held["error"]))
            self.answers[command, worker] = answer


def encode_in_force(section: Mapping[str, Any]) -> KeyValue:
    """Key and value for the control topic."""
    return IN_FORCE_KEY, _json({"section": section})


def encode_reload(command: Reload) -> KeyValue:
    """Key and value for the control topic."""
    return reload_key(command.id), _json({"by": command.by, "at_ms": command.at_ms})


def encode_answer(answer: Reloaded) -> KeyValue:
    """Key and value for the control topic."""
    return answer_key(answer.id, answer.worker), _json(
        {"fingerprint": answer.fingerprint, "error": answer.error[:_DETAIL_MAX]}
    )


def reload_key(command: UUID) -> bytes:
    """The key; with no value, the command is over."""
    return _RELOAD + str(command).encode()


def answer_key(command: UUID, worker: str) -> bytes:
    """The key; with no value, the answer was read."""
    return _RELOADED + f"{command}/{worker}".encode()


def _json(held: Mapping[str, Any]) -> bytes:
    return json.dumps({"version": _VERSION, **held}, separators=(",", ":")).encode()
