"""What verbs print: text for people on stdout, JSON for programs on stdout, problems on stderr."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table

from replicator.durations import age as age  # verbs have it from here, as all that they print with
from replicator.errors import ReplicatorError

T = TypeVar("T")

_WIDE = 500  # columns where nobody looks: a pipe's reader wants whole lines


_FLEXIBLE = ("TOPIC", "COPY", "WHY")  # give way on a narrow terminal, by going over several lines


def console() -> Console:
    """The console for results; wide and plain where stdout is no terminal."""
    if sys.stdout.isatty():
        return Console(highlight=False, markup=False, emoji=False)
    return Console(highlight=False, markup=False, emoji=False, width=_WIDE, color_system=None, soft_wrap=True)


def errors() -> Console:
    """The console for problems, on stderr."""
    if sys.stderr.isatty():
        return Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    return Console(
        stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True, color_system=None, width=_WIDE
    )


def complain(text: str, *, word: str = "error", style: str = "bold red") -> None:
    """A problem on stderr, each line of it."""
    out = errors()
    for line in text.splitlines():
        out.print(f"{word}: ", style=style, end="")
        out.print(line)


def warn(warnings: tuple[str, ...]) -> None:
    """Warnings on stderr."""
    for warning in warnings:
        complain(warning, word="warning", style="yellow")


def table(*columns: str, numbers: frozenset[str] = frozenset()) -> Table:
    """An empty table without lines; the columns named in `numbers` are set to the right."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left", no_wrap=column not in _FLEXIBLE)
    return made


def print_json(value: Any, *, compact: bool = False) -> None:
    """One JSON document on stdout; `compact`: on one line."""
    print(json.dumps(value, ensure_ascii=False, indent=None if compact else 2, default=str), flush=True)


async def watch(
    ask: Callable[[], Awaitable[T]],
    render: Callable[[T], RenderableType],
    as_json: Callable[[T], Any] | None,
    every_s: float,
) -> None:
    """Ask and show again and again until cancelled: a table that stays in place, or a JSON line each time.

    The first question must succeed; when a later one fails, that is shown, and asked again.
    """
    out = console()
    found = await ask()
    live = Live(console=out, auto_refresh=False) if out.is_terminal and as_json is None else None
    with live or contextlib.nullcontext():
        while True:
            if as_json is not None:
                print_json(as_json(found), compact=True)
            elif live is not None:
                live.update(render(found), refresh=True)
            else:
                out.print(render(found))
            while True:
                await asyncio.sleep(every_s)
                try:
                    found = await ask()
                    break
                except ReplicatorError as error:
                    complain(str(error))


def count(number: int | None) -> str:
    """A number with thousands separated; `-` when unknown."""
    return "-" if number is None or number < 0 else f"{number:,}"
