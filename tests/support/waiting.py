"""Waiting for a condition, with a deadline: what tests do instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(condition: Callable[[], T], *, within: float, what: str, every: float = 0.05) -> T:
    """Call `condition` until it returns something true, and return that; AssertionError naming `what` otherwise.

    An AssertionError raised by `condition` itself counts as "not yet", and is shown if time runs out.
    """
    deadline = time.monotonic() + within
    while True:
        last = ""
        try:
            result = condition()
        except AssertionError as error:
            last = f": {error}"
        else:
            if result:
                return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what}{last}")
        time.sleep(every)
