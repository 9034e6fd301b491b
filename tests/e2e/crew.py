"""The workers of a scenario, and what a seed decides shall happen to them."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from tests.e2e.scenario import Scenario
from tests.support.replicator import Worker
from tests.support.waiting import wait_for

TAKEOVER_S = 10.0  # what the product promises after a kill -9
RESTART_S = 40.0  # for new processes on a busy machine, which have to wait for their predecessors' sessions to end
_RECOVERY_S = 0.5
_ASSIGNED = "lanes assigned"


class Crew:
    """Some workers; a context manager that kills them all. Prints a line per event, with the seed.

    `takeover_s`: how soon all that one of them did has to move again.
    """

    def __init__(self, scenario: Scenario, seed: int, *, size: int = 2, takeover_s: float = TAKEOVER_S) -> None:
        self.scenario = scenario
        self.rng = random.Random(seed)
        self.workers: list[Worker] = []
        self.kills = 0
        self.seed = seed
        self._size = size
        self._takeover_s = takeover_s
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.fill_up()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, at)

    def say(self, event: str) -> None:
        """Print it."""
        print(f"{time.strftime('%H:%M:%S')} seed {self.seed}: {event}", flush=True)

    def fill_up(self) -> None:
        """Start as many workers as are missing."""
        while len(self.workers) < self._size:
            self.workers.append(self._stack.enter_context(self.scenario.installation.worker()))
            self.say(f"start {self.workers[-1].name}")

    def wait_ready(self) -> None:
        """Until all of them are."""
        for worker in self.workers:
            worker.wait_ready(within=RESTART_S)

    def kill(self, worker: Worker) -> None:
        """kill -9."""
        self.workers.remove(worker)
        worker.kill()
        self.kills += 1
        self.say(f"kill {self.kills}: {worker.name}")

    def kill_one(self) -> None:
        """One of them: what it did moves again in time. Another one comes."""
        self.wait_ready()
        self.kill(self.rng.choice(self.workers))
        self.scenario.wait_until_all_move(within=self._takeover_s)
        self.fill_up()

    def kill_all(self) -> None:
        """All at once."""
        for worker in list(self.workers):
            self.kill(worker)
        self._begin_again()

    def kill_twice(self) -> None:
        """One of two, and its successor while it recovers."""
        self.wait_ready()
        victim, successor = self.rng.sample(self.workers, 2)
        before = successor.log().count(_ASSIGNED)
        self.kill(victim)
        wait_for(
            lambda: successor.log().count(_ASSIGNED) > before, within=RESTART_S, every=0.01, what="lanes are assigned"
        )
        time.sleep(self.rng.uniform(0, _RECOVERY_S))  # the schedule's own time: somewhere within the recovery
        self.kill(successor)
        self._begin_again()

    def suspend_one(self, seconds: float) -> None:
        """SIGSTOP, others take over, SIGCONT."""
        self.wait_ready()
        victim = self.rng.choice(self.workers)
        until = time.monotonic() + seconds
        victim.freeze()
        self.say(f"suspend {victim.name} for {seconds:.1f} s")
        try:
            self.scenario.wait_until_all_move(within=self._takeover_s)
            wait_for(lambda: time.monotonic() > until, within=seconds + 1, what="its time is over")
        finally:
            victim.thaw()
        self.say(f"{victim.name} goes on")
        self.scenario.wait_until_all_move(within=RESTART_S)

    def stop(self) -> None:
        """SIGTERM for all."""
        for worker in self.workers:
            worker.terminate(within=10)

    def _begin_again(self) -> None:
        self.fill_up()
        self.scenario.wait_until_all_move(within=RESTART_S)
