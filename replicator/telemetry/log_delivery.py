"""Log lines for a file, CloudWatch Logs, Firehose or S3: never in the way of what is logged, never without bound.

A line is rendered once and put into the buffer of each destination; a thread for each sends them on. Where a buffer is
full, lines are dropped and counted, and a line says so as soon as there is room again. stderr has them all.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from replicator.config.telemetry import LogDeliveryConfig
from replicator.telemetry.counters import OutboxCounters

MAX_LINE_BYTES = 250_000  # CloudWatch Logs' old limit of an event, 256 KiB, with its overhead
BACKOFF_S = (1.0, 2.0, 5.0, 10.0, 30.0)
_THREADS = "log-delivery "

log = logging.getLogger(__name__)


class Line(NamedTuple):
    """One event as JSON, without a newline; milliseconds since 1970."""

    time_ms: int
    text: bytes


class NotDelivered(Exception):
    """A destination has not taken (all of) a batch; `left` is what to try again, `refused` what it will never take."""

    def __init__(self, why: str, left: Sequence[Line], refused: int = 0) -> None:
        super().__init__(why)
        self.left = list(left)
        self.refused = refused


class Destination(Protocol):
    """Where batches go. Called by one thread; may block."""

    name: str
    max_lines: int
    max_bytes: int  # of a batch, `line_bytes` for each line included
    line_bytes: int
    every_s: float  # how long a line may wait for others to go with it

    def deliver(self, lines: Sequence[Line]) -> None:
        """Hand a batch over. NotDelivered if that isn't possible now."""
        ...


class LogDelivery(logging.Handler):
    """The handler for all destinations. Its formatter is set by `logs.configure`."""

    def __init__(
        self, destinations: Sequence[Destination], *, level: str = "INFO", buffer_bytes: int = 8 << 20
    ) -> None:
        super().__init__(level)
        self._buffers = [Buffer(each, buffer_bytes) for each in destinations]
        self.counters = {buffer.name: buffer.counters for buffer in self._buffers}

    @classmethod
    def of(cls, config: LogDeliveryConfig, worker: str | None) -> LogDelivery:
        """With every destination that is configured; `worker` tells apart the processes of one host."""
        from replicator.telemetry.log_destinations import destinations

        instance = f"{socket.gethostname()}-{worker or 'replicator'}-{os.getpid()}"
        made = destinations(config, instance, worker)
        return cls(made, level=config.level, buffer_bytes=config.buffer_bytes)

    def emit(self, record: logging.LogRecord) -> None:
        """Put it into the buffers. What the delivery itself logs isn't delivered: it would never end."""
        if threading.current_thread().name.startswith(_THREADS):
            return
        try:
            text = self.format(record).encode("utf-8", "replace").replace(b"\n", b" ")
        except Exception:  # noqa: BLE001 - whoever logs must not suffer from what can't be rendered
            self.handleError(record)  # says so on stderr
            for buffer in self._buffers:
                buffer.counters.drop("refused", 1)
            return
        if len(text) > MAX_LINE_BYTES:
            cut = text[: MAX_LINE_BYTES // 8].decode("utf-8", "ignore")  # JSON may need six bytes for one
            text = json.dumps({"event": "log line was too long", "bytes": len(text), "begins": cut}).encode()
        line = Line(int(record.created * 1000), text)
        for buffer in self._buffers:
            buffer.add(line)

    def finish(self, within_s: float) -> None:
        """Send what waits, for so long at most; nothing is taken any more. Blocks."""
        logging.getLogger().removeHandler(self)
        deadline = time.monotonic() + within_s
        for buffer in self._buffers:
            buffer.close()
        for buffer in self._buffers:
            buffer.join(max(0.0, deadline - time.monotonic()))
        self.close()


class Buffer:
    """One destination's lines that wait, and the thread that sends them, which begins with the first line."""

    def __init__(
        self,
        destination: Destination,
        max_bytes: int,
        *,
        backoff_s: Sequence[float] = BACKOFF_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = destination.name
        self.counters = OutboxCounters()
        self._destination = destination
        self._max_bytes = max_bytes
        self._backoff_s = backoff_s
        self._clock = clock
        self._lines: deque[Line] = deque()
        self._bytes = 0
        self._since = 0.0  # when the first of the lines came
        self._unsaid = 0  # dropped, and no line says so yet
        self._closing = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._said = ""

    def add(self, line: Line) -> None:
        """Never blocks for longer than it takes to append."""
        with self._changed:
            if self._closing:
                return
            if self._bytes + len(line.text) > self._max_bytes:
                self.counters.drop("full", 1)
                self._unsaid += 1
                return
            was_empty = not self._lines
            if self._unsaid:
                said = json.dumps({"event": "log lines were dropped", "level": "warning", "lines": self._unsaid})
                self._unsaid = 0
                self._append(Line(line.time_ms, said.encode()))
            self._append(line)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=_THREADS + self.name, daemon=True)
                self._thread.start()
            if was_empty or self._bytes >= self._destination.max_bytes // 2:
                self._changed.notify()

    def close(self) -> None:
        """Take no more; send the rest at once."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    def join(self, within_s: float) -> None:
        """Until the rest is sent, for so long at most."""
        if self._thread is not None:
            self._thread.join(within_s)

    def _append(self, line: Line) -> None:
        if not self._lines:
            self._since = self._clock()
        self._lines.append(line)
        self._bytes += len(line.text)

    def _run(self) -> None:
        tries = 0
        while batch := self._next():
            if self._deliver(batch):
                tries = 0
                continue
            tries += 1
            pause_s = self._backoff_s[min(tries, len(self._backoff_s)) - 1]
            with self._changed:
                if self._closing and tries > 2:
                    return
                self._changed.wait_for(lambda: self._closing, 0.2 if self._closing else pause_s)

    def _next(self) -> list[Line]:
        """The next batch when it is due; nothing when all is over. The lines stay in the buffer until they are sent."""
        there = self._destination
        with self._changed:
            while not self._closing:
                if self._lines:
                    due_s = self._since + there.every_s - self._clock()
                    if due_s <= 0 or self._bytes >= there.max_bytes // 2 or len(self._lines) >= there.max_lines:
                        break
                    self._changed.wait(due_s)
                else:
                    self._changed.wait()
            batch: list[Line] = []
            size = 0
            for line in self._lines:
                size += len(line.text) + there.line_bytes
                if batch and (size > there.max_bytes or len(batch) == there.max_lines):
                    break
                batch.append(line)
            return batch

    def _deliver(self, batch: list[Line]) -> bool:
        left: list[Line] = []
        try:
            self._destination.deliver(batch)
        except NotDelivered as error:
            self.counters.failures += 1
            left = error.left
            self._say(str(error))
            if error.refused:
                self.counters.drop("refused", error.refused)
            self.counters.sent += len(batch) - len(left) - error.refused
        except Exception as error:
            self.counters.failures += 1
            self.counters.drop("refused", len(batch))
            log.exception("log lines couldn't be delivered to %s: %r", self.name, error)
        else:
            self.counters.sent += len(batch)
            self._say("")
        with self._changed:
            for line in batch:
                self._lines.popleft()
                self._bytes -= len(line.text)
            for line in reversed(left):
                self._lines.appendleft(line)
                self._bytes += len(line.text)
            self._since = self._clock() if len(left) < len(batch) else self._since
        return not left

    def _say(self, why: str) -> None:
        if why == self._said:
            return
        self._said = why
        if why:
            log.warning("log lines aren't delivered to %s: %s", self.name, why)
        else:
            log.info("log lines are delivered to %s again", self.name)
