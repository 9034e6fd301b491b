"""Verbs that run for somebody who asked over HTTP: each in a thread of its own, with its progress and its end.

What is told here is of this process: it is gone when the process ends. What was done is in the link's audit trail,
and a verb that was interrupted is finished by giving the order again.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import structlog
from typing_extensions import TypedDict

from replicator.config.models import LinkConfig, Settings
from replicator.errors import ReplicatorError, WrongStateError
from replicator.verbs.moving import snapshot_name
from replicator.verbs.verb import Hand, Order, Row, Verb
from replicator.views.audit import iso

log = structlog.get_logger(__name__)

KEPT = 100
RUNNING_AT_MOST = 8
LINES = 1_000

State = Literal["running", "done", "failed", "refused"]


class OperationShape(TypedDict):
    """An operation; `lines` is what it said on its way, `result` what the verb answers when it is done."""

    id: str
    link: str
    verb: str
    by: str
    arguments: dict[str, Any]
    started: str
    ended: str | None
    state: State
    lines: list[str]
    result: dict[str, Any] | None
    error: str | None
    exit_code: int | None


class OperationRow(TypedDict):
    """An operation without what it said."""

    id: str
    link: str
    verb: str
    by: str
    arguments: dict[str, Any]
    started: str
    ended: str | None
    state: State
    error: str | None
    exit_code: int | None


@dataclass(slots=True)
class Operation:
    """One of them; written by its thread, read by the event loop."""

    id: str
    link: str
    verb: str
    by: str
    arguments: dict[str, Any]
    started_ms: int
    ended_ms: int | None = None
    state: State = "running"
    lines: list[str] = field(default_factory=list)
    result: dict[str, Any] | None = None
    error: str | None = None
    exit_code: int | None = None
    snapshot: Path | None = None

    def say(self, text: str) -> None:
        """Progress. The first thousand lines are kept."""
        if len(self.lines) < LINES:
            self.lines.append(text)
        elif len(self.lines) == LINES:
            self.lines.append("what comes after this isn't kept")

    def row(self) -> OperationRow:
        """For lists."""
        return {
            "id": self.id,
            "link": self.link,
            "verb": self.verb,
            "by": self.by,
            "arguments": self.arguments,
            "started": iso(self.started_ms),
            "ended": None if self.ended_ms is None else iso(self.ended_ms),
            "state": self.state,
            "error": self.error,
            "exit_code": self.exit_code,
        }

    def shape(self, after: int = 0) -> OperationShape:
        """All of it, but for the first `after` lines."""
        state = self.row()  # the state first: what was said before the end is in the lines then
        return {**state, "lines": self.lines[after:], "result": self.result}


class OperationsDesk:
    """Starts and remembers them. For the event loop's thread."""

    def __init__(self, now_ms: Callable[[], int] = lambda: int(time.time() * 1000)) -> None:
        self._now_ms = now_ms
        self._known: dict[str, Operation] = {}

    def get(self, operation: str) -> Operation | None:
        """One of those that are remembered."""
        return self._known.get(operation)

    def rows(self) -> list[OperationRow]:
        """The newest first."""
        return [each.row() for each in reversed(self._known.values())]

    def refuse_second(self, link: str) -> None:
        """WrongStateError if one runs for this link here, or too many do."""
        running = [each for each in self._known.values() if each.state == "running"]
        for each in running:
            if each.link == link:
                raise WrongStateError(
                    f"link {link}: {each.by} is at work on it: `{each.verb}` since {iso(each.started_ms)} (operation "
                    f"{each.id}); wait until it is done. Nothing was changed"
                )
        if len(running) >= RUNNING_AT_MOST:
            raise WrongStateError(f"{len(running)} operations run here already; wait until one is done")

    def start(
        self, settings: Settings, link: LinkConfig, verb: Verb[Any], order: Order, found: Row | None, by: str
    ) -> Operation:
        """Run it from now on. WrongStateError as `refuse_second`."""
        self.refuse_second(link.name)
        arguments = order.model_dump(mode="json")
        operation = Operation(str(uuid4()), link.name, verb.name, by, arguments, self._now_ms())
        self._known[operation.id] = operation
        over = [each.id for each in self._known.values() if each.state != "running"]
        for old in over[: max(0, len(self._known) - KEPT)]:
            del self._known[old]

        def run() -> None:
            self._run(operation, lambda hand: verb.run(settings, link, order, found, hand))

        log.info("operation started", link=link.name, verb=verb.name, by=by, operation=operation.id)
        threading.Thread(target=run, name=f"{verb.name} {link.name}", daemon=True).start()
        return operation

    def _run(self, operation: Operation, run: Callable[[Hand], dict[str, Any]]) -> None:
        state: State = "failed"
        try:
            folder = Path(tempfile.gettempdir()) / f"replicator-operation-{operation.id}"
            operation.snapshot = folder / snapshot_name(operation.link)
            operation.result = run(Hand(operation.by, operation.say, operation.snapshot))
            state = "done"
            operation.exit_code = 0
        except ReplicatorError as error:
            state = "refused" if isinstance(error, WrongStateError) else "failed"
            operation.error, operation.exit_code = str(error), error.exit_code
        except Exception as error:
            log.exception("operation failed", link=operation.link, verb=operation.verb)
            operation.error, operation.exit_code = f"a mistake in Replicator, its log says more: {error!r}", 1
        operation.ended_ms = self._now_ms()
        operation.state = state
        log.info("operation ended", link=operation.link, verb=operation.verb, state=state, operation=operation.id)
