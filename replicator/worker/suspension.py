"""Notices that this process was suspended: by SIGSTOP, a hypervisor, a laptop's lid, or a loop that hung (rule G).

While it was away another worker may have taken its lanes over. Fences hold that off; this is the second line, for
where they can't: nothing is written before ownership is confirmed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

LIMIT_S = 3.0  # half the session timeout
TURN_S = 0.5


def boot_time() -> float:
    """Seconds since the machine booted, the time it was suspended included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Suspension:
    """Compares two clocks with what they showed at the loop's last turn: one that counts the machine's sleep, and the
    wall clock, which also jumps when a virtual machine is restored from a snapshot."""

    def __init__(self, boot_time: Callable[[], float] = boot_time, wall_time: Callable[[], float] = time.time) -> None:
        self._boot_time = boot_time
        self._wall_time = wall_time
        self._timer: asyncio.TimerHandle | None = None
        self._found_s = 0.0
        self._note()

    def start(self) -> None:
        """Begin to count the turns of the running loop."""
        self._turn()

    def stop(self) -> None:
        """End counting."""
        if self._timer is not None:
            self._timer.cancel()

    def away_s(self) -> float:
        """For how long it was suspended; 0 if it wasn't. Stays so until `confirmed`."""
        away = max(self._boot_time() - self._boot, self._wall_time() - self._wall)
        if away > LIMIT_S:
            self._found_s = max(self._found_s, away)
        return self._found_s

    def confirmed(self) -> None:
        """What had to be confirmed is: count anew."""
        self._found_s = 0.0
        self._note()

    def _turn(self) -> None:
        self.away_s()
        self._note()
        self._timer = asyncio.get_running_loop().call_later(TURN_S, self._turn)

    def _note(self) -> None:
        self._boot, self._wall = self._boot_time(), self._wall_time()
