"""Logs: one event per line, for a human on a terminal and as JSON otherwise; secrets never get through.

Own code logs with `structlog.get_logger()`: the event is a short sentence, what varies is in keys
(`log.info("lane taken over", link=…, lane=3)`). The standard library's loggers (aiohttp, librdkafka) come out the same.
"""

from __future__ import annotations

import io
import logging
import re
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, TextIO

import structlog
from pydantic import SecretBytes, SecretStr

MASK = "***"
_SECRET_KEY = re.compile(r"password|passwd|secret|token|credential|authorization|private.?key", re.IGNORECASE)
_SECRET_IN_TEXT = re.compile(
    r"(?i)\b((?:sasl\.|ssl\.key\.)?(?:password|secret|token)|authorization)(\s*[=:]\s*)(?:bearer\s+)?[^\s,;'\"]+"
)
_MAX_DEPTH = 6
_MAX_KINDS = 1000
_NUMBER = re.compile(r"\d+")
LIBRDKAFKA = "replicator.librdkafka"  # the logger that `config.librdkafka` gives it


def configure(
    *,
    level: str = "INFO",
    json: bool | None = None,
    stream: TextIO | None = None,
    worker: str | None = None,
    delivery: logging.Handler | None = None,
) -> None:
    """Send all logs of this process to `stream` (default: stderr); `json` None means: unless that's a terminal.

    `worker` is added to every line: the children of one parent share its stderr. `delivery` gets every line, too, as
    JSON, with errors' tracebacks in it.
    """
    stream = stream or sys.stderr
    as_json = not stream.isatty() if json is None else json
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        *([_Bind("worker", worker)] if worker is not None else []),
        *([structlog.processors.format_exc_info] if as_json else []),
        redact,
        *([_event_first] if as_json else []),
    ]
    for_delivery: list[Any] = [structlog.processors.format_exc_info, redact, _event_first]
    renderer: Any = (
        structlog.processors.JSONRenderer(default=str)
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=stream.isatty(),
            pad_event_to=30,
            exception_formatter=_traceback,  # the default shows local variables, secrets among them
        )
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    if delivery is not None:
        as_lines = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *for_delivery]
        as_lines.append(structlog.processors.JSONRenderer(default=str))
        delivery.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=as_lines))
        root.addHandler(delivery)
    root.setLevel(level)
    for noisy in ("aiohttp.access", "asyncio", "boto3", "botocore", "urllib3"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    librdkafka = logging.getLogger(LIBRDKAFKA)
    librdkafka.filters[:] = [Seldom()]
    # What it calls errors are failed connections, of which it makes many; those who asked are told in any case.
    librdkafka.setLevel(logging.CRITICAL if root.level >= logging.ERROR else root.level)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


class Seldom(logging.Filter):
    """Lets a line through that wasn't there within the last half minute; numbers don't make a line another one."""

    def __init__(self, every_s: float = 30.0, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._every_s = every_s
        self._clock = clock
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is to be written."""
        now = self._clock()
        kind = _NUMBER.sub("", record.getMessage())
        last = self._last.get(kind)
        if last is not None and now - last < self._every_s:
            return False
        if len(self._last) >= _MAX_KINDS:
            self._last.clear()
        self._last[kind] = now
        return True


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: what is secret by its type, by its key, or by `password=…` within text, becomes `***`."""
    for key in list(event):
        event[key] = _redacted(key, event[key], 0)
    return event


def _event_first(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What people look for first stands first in the line."""
    return {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event} | dict(event)


def _traceback(output: TextIO, exc_info: Any) -> None:
    text = io.StringIO()
    structlog.dev.plain_traceback(text, exc_info)
    output.write(_SECRET_IN_TEXT.sub(rf"\1\2{MASK}", text.getvalue()))


def _redacted(key: str, value: Any, depth: int) -> Any:
    if isinstance(value, SecretStr | SecretBytes):
        return MASK
    if _SECRET_KEY.search(key) and isinstance(value, str | bytes):
        return MASK
    if isinstance(value, str):
        return _SECRET_IN_TEXT.sub(rf"\1\2{MASK}", value)
    if depth >= _MAX_DEPTH:
        return value if isinstance(value, int | float | bool | None) else "…"
    if isinstance(value, Mapping):
        return {name: _redacted(str(name), item, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(key, item, depth + 1) for item in value]
    return value


class _Bind:
    def __init__(self, key: str, value: str) -> None:
        self._key = key
        self._value = value

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event[self._key] = self._value
        return event
