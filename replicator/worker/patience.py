"""Waiting for clusters at the start: they and the daemon often start together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from replicator.errors import AuthenticationError, ConfigurationError, ReplicatorError

START_LIMIT_S = 30.0
PREPARE_LIMIT_S = 120.0  # both clusters answer: it may take them this long to find another controller
RETRY_S = 1.0


class Patience:
    """Of one link. `trouble` is what it waits for; "" once nothing is in the way."""

    def __init__(self, link: str) -> None:
        self.trouble = "not connected yet"
        self._log = structlog.get_logger(__name__).bind(link=link)

    async def until(self, connect: Callable[[], Awaitable[object]], limit_s: float | None = None) -> None:
        """Try for a while. Wrong settings fail at once; ReplicatorError if it can't be done within `limit_s`."""
        deadline = time.monotonic() + (START_LIMIT_S if limit_s is None else limit_s)
        while True:
            try:
                await connect()
                return
            except (AuthenticationError, ConfigurationError):
                raise
            except ReplicatorError as error:
                if not error.retriable or time.monotonic() > deadline:
                    raise
                if self.trouble != str(error):
                    self.trouble = str(error)
                    left_s = round(deadline - time.monotonic())
                    self._log.warning("not connected yet", error=self.trouble, giving_up_in_s=left_s)
                await asyncio.sleep(RETRY_S)
